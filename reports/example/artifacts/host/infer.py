"""Classify an image:  python infer.py image.png

Needs: pip install numpy onnxruntime pillow
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
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


def run(batch, threads=1):
    """Logits of a batch, (N, K)."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(HERE / "model.onnx"), options, providers=["CPUExecutionProvider"])
    return session.run(["logits"], {"input": batch})[0]


def classify(path, top=5):
    """The `top` classes with their probabilities, the likeliest first."""
    logits = run(preprocess(path))[0]
    chances = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
    labels = json.loads((HERE / "labels.json").read_text(encoding="utf-8"))
    return [(labels[k], float(chances[k])) for k in np.argsort(-chances)[:top]]


if __name__ == "__main__":
    for label, probability in classify(sys.argv[1] if len(sys.argv) == 2 else sys.exit(__doc__)):
        print(f"{probability:6.1%}  {label}")
