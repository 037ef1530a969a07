"""Time of each layer, from the profiler of ONNX Runtime."""
