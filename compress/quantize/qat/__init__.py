"""Quantization-aware training of an ONNX graph in torch."""
