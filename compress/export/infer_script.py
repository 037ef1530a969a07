"""The script that ships beside an artifact: it runs the network on an image and depends on nothing of `compress`.

One script a runtime, of the same parts: constants, `preprocess`, `run`, `classify`.
"""

from __future__ import annotations

import json

from compress.core.record import InputSpec

HEAD = '''"""Classify an image:  python infer.py image.png

{needs}
"""

{imports}

HERE = Path(__file__).resolve().parent
CHANNELS, HEIGHT, WIDTH = {shape}
MEAN = np.array({mean}, dtype=np.float32).reshape(-1, 1, 1)
STD = np.array({std}, dtype=np.float32).reshape(-1, 1, 1)


def preprocess(path):
    """An image file as float32 (1, C, H, W): scaled to the network's size and to [0, 1], then normalised."""
    image = {fit}
    pixels = np.asarray(image, dtype=np.float32).reshape(HEIGHT, WIDTH, CHANNELS).transpose(2, 0, 1) / 255.0
    return ((pixels - MEAN) / STD)[None]


'''
TAIL = '''

def classify(path, top=5):
    """The `top` classes with their probabilities, the likeliest first."""
    logits = run(preprocess(path))[0]
    chances = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
    labels = json.loads((HERE / "labels.json").read_text(encoding="utf-8"))
    return [(labels[k], float(chances[k])) for k in np.argsort(-chances)[:top]]


if __name__ == "__main__":
    for label, probability in classify(sys.argv[1] if len(sys.argv) == 2 else sys.exit(__doc__)):
        print(f"{probability:6.1%}  {label}")
'''

ONNX_NEEDS = "Needs: pip install numpy {package} pillow"
ONNX_IMPORTS = """import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image"""
ONNX_RUN = '''def run(batch, threads=1):
    """Logits of a batch, (N, K)."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(HERE / "model.onnx"), options, providers={providers})
    return session.run(["logits"], {{"input": batch}})[0]
'''

OPENVINO_IMPORTS = """import json
import sys
from pathlib import Path

import numpy as np
import openvino
from PIL import Image"""
OPENVINO_RUN = '''def run(batch, threads=1):
    """Logits of a batch, (N, K)."""
    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": str(threads)}
    model = openvino.Core().compile_model(str(HERE / "model.onnx"), "CPU", settings)
    return model({"input": batch})["logits"]
'''

ENGINE_NEEDS = """Needs: TensorRT and the CUDA runtime library, numpy, pillow; model.engine, built by: sh build_engine.sh
Written by compress; it has not been run on a GPU."""
ENGINE_IMPORTS = """import ctypes
import json
import sys
from pathlib import Path

import numpy as np
import tensorrt as trt
from PIL import Image"""
ENGINE_RUN = '''def run(batch):
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
'''

OPEN = 'Image.open(path).convert("RGB" if CHANNELS == 3 else "L")'
SQUEEZE = OPEN + ".resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR)"
CROP = """{open}
    size = [round(side * {short} / min(image.size)) for side in image.size]
    left, top = (size[0] - WIDTH) // 2, (size[1] - HEIGHT) // 2
    image = image.resize(size, Image.Resampling.BILINEAR).crop((left, top, left + WIDTH, top + HEIGHT))"""


def infer_script(spec: InputSpec, *, crop: bool, runtime: str = "onnxruntime") -> str:
    """Python source of `infer.py`, for `model.onnx` and `labels.json` in the same folder.

    Args:
        spec: Input of the network.
        crop: Resize the shorter side to 256/224 of the input and take the middle, ImageNet's evaluation; otherwise squeeze.
        runtime: `openvino`, or `onnxruntime` with an execution provider after a colon where that is not the CPU's.
    """
    if runtime == "openvino":
        return _script(spec, ONNX_NEEDS.format(package="openvino"), OPENVINO_IMPORTS, OPENVINO_RUN, crop=crop)
    from compress.backends.onnxruntime_runner import PROVIDERS

    name, package = PROVIDERS[runtime.partition(":")[2] or "cpu"]
    providers = json.dumps(list(dict.fromkeys((name, "CPUExecutionProvider"))))
    return _script(spec, ONNX_NEEDS.format(package=package), ONNX_IMPORTS, ONNX_RUN.format(providers=providers), crop=crop)


def engine_script(spec: InputSpec, *, crop: bool) -> str:
    """Python source of `infer.py`, for `model.engine` and `labels.json` in the same folder.

    Args:
        spec: Input of the network.
        crop: As for `infer_script`.
    """
    return _script(spec, ENGINE_NEEDS, ENGINE_IMPORTS, ENGINE_RUN, crop=crop)


def _script(spec: InputSpec, needs: str, imports: str, run: str, *, crop: bool) -> str:
    fit = CROP.format(open=OPEN, short=round(spec.height * 256 / 224)) if crop else SQUEEZE
    head = HEAD.format(needs=needs, imports=imports, shape=spec.shape, mean=list(spec.mean), std=list(spec.std), fit=fit)
    return head + run + TAIL
