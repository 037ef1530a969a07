"""Conversions of ONNX files for other runtimes, a file each; `compress.backends.converted.convert` calls them."""
