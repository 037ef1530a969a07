"""Decoders of text in ONNX Runtime: graphs with past keys and values, and texts from them."""
