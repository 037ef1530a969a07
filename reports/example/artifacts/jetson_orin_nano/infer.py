"""Classify an image:  python infer.py image.png

Needs: TensorRT and the CUDA runtime library, numpy, pillow; model.engine, built by: sh build_engine.sh
Written by compress; it has not been run on a GPU.
"""

import ctypes
import json
import sys
from pathlib import Path

import numpy as np
import tensorrt as trt
from PIL import Image

HERE = Path(__file__).resolve().parent
CHANNELS, HEIGHT, WIDTH = (3, 64, 64)
MEAN = np.array([0.304, 0.304, 0.304], dtype=np.float32).reshape(-1, 1, 1)
STD = np.array([0.3754, 0.3754, 0.3754], dtype=np.float32).reshape(-1, 1, 1)


def preprocess(path):
    """An image file as float32 (1, C, H, W): scaled to the network's size and to [0, 1], then normalised."""
    image = Image.open(path).convert("RGB" if CHANNELS == 3 else "L").resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR)
    pixels = np.asarray(image, dtype=np.float32).reshape(HEIGHT, WIDTH, CHANNELS).transpose(2, 0, 1) / 255.0
    return ((pixels - MEAN) / STD)[None]


def run(batch):
    """Logits of a batch, (N, K). Copies wait for the default stream, on which the engine runs."""
    cuda, runtime = ctypes.CDLL("libcudart.so"), trt.Runtime(trt.Logger(trt.Logger.WARNING))
    context = runtime.deserialize_cuda_engine((HERE / "model.engine").read_bytes()).create_execution_context()
    context.set_input_shape("input", batch.shape)
    batch, logits = np.ascontiguousarray(batch), np.empty(tuple(context.get_tensor_shape("logits")), np.float32)
    copies = []
    for name, array in (("input", batch), ("logits", logits)):
        host, place, size = ctypes.c_void_p(array.ctypes.data), ctypes.c_void_p(), ctypes.c_size_t(array.nbytes)
        cuda.cudaMalloc(ctypes.byref(place), size)
        context.set_tensor_address(name, place.value or sys.exit("no memory on the GPU"))
        copies.append(((place, host, size, 1), (host, place, size, 2)))
    if cuda.cudaMemcpy(*copies[0][0]) or not context.execute_async_v3(0) or cuda.cudaMemcpy(*copies[1][1]):
        sys.exit("the engine did not run; its messages above say why")
    return logits


def classify(path, top=5):
    """The `top` classes with their probabilities, the likeliest first."""
    logits = run(preprocess(path))[0]
    chances = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
    labels = json.loads((HERE / "labels.json").read_text(encoding="utf-8"))
    return [(labels[k], float(chances[k])) for k in np.argsort(-chances)[:top]]


if __name__ == "__main__":
    for label, probability in classify(sys.argv[1] if len(sys.argv) == 2 else sys.exit(__doc__)):
        print(f"{probability:6.1%}  {label}")
