"""ONNX operators as torch functions with gradients, one file per family of operators."""
