"""Fused operators of ONNX Runtime in place of the nodes that exporters write for a transformer."""
