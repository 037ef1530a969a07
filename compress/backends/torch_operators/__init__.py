"""ONNX operators as torch functions with gradients, one file for each family of operators."""
