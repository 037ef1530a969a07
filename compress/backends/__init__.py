"""ONNX graph, exporter, and one runner a runtime."""
