"""Print the likeliest classes:  python infer.py image.png

INPUT is an image, or a .npy file with an array of pixels in [0, 1], (C, H, W), of the network's size.
Needs: TensorRT and the CUDA runtime library, numpy, pillow; model.engine, built by: sh build_engine.sh
Written by compress; it has not been run on a GPU.
"""

from __future__ import annotations

import ctypes
import json
import sys
import warnings
from os import PathLike
from pathlib import Path

import numpy as np
import tensorrt as trt
from PIL import Image

HERE = Path(__file__).resolve().parent
CHANNELS, HEIGHT, WIDTH = (3, 64, 64)
RESIZE = "squash"
MEAN = np.array([0.304, 0.304, 0.304], dtype=np.float32).reshape(-1, 1, 1)
STD = np.array([0.3754, 0.3754, 0.3754], dtype=np.float32).reshape(-1, 1, 1)
MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
"""Pillow's 8-bit mode for each number of channels."""
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""The operation that makes an image upright, by EXIF orientation; 1 is upright."""
ORIENTATION = 0x0112


def open_image(path: str | PathLike[str], channels: int) -> Image.Image:
    """The first frame of an image file, upright, with 8 bits per channel.

    Raises:
        ValueError: The image cannot be decoded or converted.
        OSError: The file cannot be read, or is no image.
    """
    try:
        with warnings.catch_warnings(action="ignore", category=UserWarning), Image.open(path) as image:
            return convert_image(image, channels)
    except (OSError, ValueError):
        raise
    except Exception as error:  # Pillow's error for a damaged file depends on its format
        raise ValueError(f"cannot be decoded ({type(error).__name__}: {error})") from error


def convert_image(image: Image.Image, channels: int) -> Image.Image:
    """An image, upright, in the 8-bit mode of this number of channels; transparency is dropped where that mode has none.

    Integers of more than 8 bits keep the upper 8 of 16 bits. Floating-point values are scaled from [0, 1].

    Raises:
        ValueError: There is no mode with this number of channels, or values are outside these ranges.
    """
    if channels not in MODES:
        raise ValueError(f"no image has {channels} channels; give the samples as a .npy array")
    image.load()  # a TIFF is made upright here
    try:
        with warnings.catch_warnings(action="ignore", category=UserWarning):
            turn = TURNS.get(image.getexif().get(ORIENTATION, 1))
    except Exception:  # a damaged EXIF block
        turn = None
    if turn is not None:
        image = image.transpose(turn)
    if image.mode == "F" or image.mode.startswith("I"):
        values, largest = np.asarray(image), 1 if image.mode == "F" else 65535
        if not (values.min() >= 0 and values.max() <= largest):
            interval = f"{values.min():g} to {values.max():g}"
            raise ValueError(f"values from {interval} in mode {image.mode}; scale them to the range from 0 to {largest}")
        levels = np.rint(values * 255) if image.mode == "F" else values.astype(np.int64) >> 8
        image = Image.fromarray(levels.astype(np.uint8))
    elif "transparency" in image.info:
        image = image.convert("RGBA")
    return image.convert(MODES[channels])


def resize_image(image: Image.Image, height: int, width: int, resize: str) -> Image.Image:
    """Scale an image to the input of a network; bilinear, antialiased.

    Args:
        image: In an 8-bit mode.
        height: Pixels.
        width: Pixels.
        resize: `squash` ignores the aspect ratio. `center_crop` scales the image until it covers 256/224 of the input and takes
            the centre. `center_crop_unless_square` squashes images of the aspect ratio of the input, such as square ones for a
            square input, and crops others.
    """
    box = (0.0, 0.0, float(image.width), float(image.height))
    excess = image.width * height - image.height * width  # above 0 where the image is wider than the input
    if resize == "center_crop" or (resize == "center_crop_unless_square" and excess != 0):
        columns, rows = round(width * 256 / 224), round(height * 256 / 224)
        if excess > 0:
            columns = rows * image.width // image.height
        else:
            rows = columns * image.height // image.width
        left, top = round((columns - width) / 2), round((rows - height) / 2)
        x, y = image.width / columns, image.height / rows
        box = (left * x, top * y, min((left + width) * x, box[2]), min((top + height) * y, box[3]))
    return image.resize((width, height), Image.Resampling.BILINEAR, box=box)


def preprocess(path):
    """An image as {name: float32 (1, C, H, W)}: resized as in training, scaled to [0, 1], normalised."""
    if str(path).endswith(".npy"):
        pixels = np.load(path).astype(np.float32).reshape(CHANNELS, HEIGHT, WIDTH)
    else:
        image = resize_image(open_image(path, CHANNELS), HEIGHT, WIDTH, RESIZE)
        pixels = np.asarray(image, dtype=np.float32).reshape(HEIGHT, WIDTH, CHANNELS).transpose(2, 0, 1) / np.float32(255)
    return {"input": ((pixels - MEAN) / STD)[None]}


def run(feeds):
    """Outputs by name for inputs by name. Copies wait for the default stream, on which the engine runs."""
    cuda, runtime = ctypes.CDLL("libcudart.so"), trt.Runtime(trt.Logger(trt.Logger.WARNING))
    engine = runtime.deserialize_cuda_engine((HERE / "model.engine").read_bytes())
    context, outputs = engine.create_execution_context(), {}
    feeds = {name: np.ascontiguousarray(array) for name, array in feeds.items()}
    for name, array in feeds.items():
        context.set_input_shape(name, array.shape)
    for name in (engine.get_tensor_name(index) for index in range(engine.num_io_tensors)):
        if engine.get_tensor_mode(name) == trt.TensorIOMode.OUTPUT:
            outputs[name] = np.empty(tuple(context.get_tensor_shape(name)), trt.nptype(engine.get_tensor_dtype(name)))
    copies = {}
    for name, array in {**feeds, **outputs}.items():
        host, device, size = ctypes.c_void_p(array.ctypes.data), ctypes.c_void_p(), ctypes.c_size_t(array.nbytes)
        cuda.cudaMalloc(ctypes.byref(device), size)
        context.set_tensor_address(name, device.value or sys.exit("out of memory on the GPU"))
        copies[name] = ((device, host, size, 1), (host, device, size, 2))
    failed = any(cuda.cudaMemcpy(*copies[name][0]) for name in feeds) or not context.execute_async_v3(0)
    if failed or any(cuda.cudaMemcpy(*copies[name][1]) for name in outputs):
        sys.exit("the engine did not run; see its messages above")
    return outputs


def classify(path, top=5):
    """The `top` classes with their probabilities, the likeliest first."""
    logits = next(iter(run(preprocess(path)).values()))[0]
    chances = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
    labels = json.loads((HERE / "labels.json").read_text(encoding="utf-8"))
    return [(labels[k], float(chances[k])) for k in np.argsort(-chances)[:top]]


if __name__ == "__main__":
    try:
        answers = classify(sys.argv[1] if len(sys.argv) == 2 else sys.exit(__doc__))
    except (OSError, ValueError) as error:
        sys.exit(f"cannot classify {sys.argv[1]}: {error}")
    for label, probability in answers:
        print(f"{probability:6.1%}  {label}")
