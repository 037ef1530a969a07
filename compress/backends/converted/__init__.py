"""Files of runtimes that do not read ONNX: their conversion in a process of its own, and a runner for each."""
