"""The script that ships beside an artifact: it runs the network on an image and depends on nothing of `compress`.

One script per runtime, of the same parts: constants, decoding and resizing as for training, `preprocess`, `run`, `classify`.
"""

from __future__ import annotations

import inspect
import json

from compress.core.network_spec import NetworkSpec
from compress.data import decode_image

HEAD = '''"""Classify an image:  python infer.py image.png

An array of pixels in [0, 1], (C, H, W) of the network's size, is read from a .npy file.
{needs}
"""

from __future__ import annotations

{imports}

HERE = Path(__file__).resolve().parent
CHANNELS, HEIGHT, WIDTH = {shape}
RESIZE = "{resize}"
MEAN = np.array({mean}, dtype=np.float32).reshape(-1, 1, 1)
STD = np.array({std}, dtype=np.float32).reshape(-1, 1, 1)
{decode}

def preprocess(path):
    """A file as float32 (1, C, H, W): resized as for training, scaled to [0, 1], normalised."""
    if str(path).endswith(".npy"):
        pixels = np.load(path).astype(np.float32).reshape(CHANNELS, HEIGHT, WIDTH)
    else:
        image = resize_image(open_image(path, CHANNELS), HEIGHT, WIDTH, RESIZE)
        pixels = np.asarray(image, dtype=np.float32).reshape(HEIGHT, WIDTH, CHANNELS).transpose(2, 0, 1) / np.float32(255)
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
    try:
        answers = classify(sys.argv[1] if len(sys.argv) == 2 else sys.exit(__doc__))
    except (OSError, ValueError) as error:
        sys.exit(f"cannot classify {sys.argv[1]}: {error}")
    for label, probability in answers:
        print(f"{probability:6.1%}  {label}")
'''

ONNX_NEEDS = "Needs: pip install numpy {package} pillow"
ONNX_IMPORTS = """import json
import sys
import warnings
from os import PathLike
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
import warnings
from os import PathLike
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
import warnings
from os import PathLike
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

MARKER = "# --- copied into infer.py from here on ---\n"


def infer_script(spec: NetworkSpec, *, runtime: str = "onnxruntime") -> str:
    """Python source of `infer.py`, for `model.onnx` and `labels.json` in the same folder.

    Args:
        spec: Input of the network.
        runtime: `openvino`, or `onnxruntime` with an execution provider after a colon where that is not the CPU's.
    """
    if runtime == "openvino":
        return _script(spec, ONNX_NEEDS.format(package="openvino"), OPENVINO_IMPORTS, OPENVINO_RUN)
    from compress.backends.onnxruntime_runner import PROVIDERS

    name, package = PROVIDERS[runtime.partition(":")[2] or "cpu"]
    providers = json.dumps(list(dict.fromkeys((name, "CPUExecutionProvider"))))
    return _script(spec, ONNX_NEEDS.format(package=package), ONNX_IMPORTS, ONNX_RUN.format(providers=providers))


def engine_script(spec: NetworkSpec) -> str:
    """Python source of `infer.py`, for `model.engine` and `labels.json` in the same folder.

    Args:
        spec: Input of the network.
    """
    return _script(spec, ENGINE_NEEDS, ENGINE_IMPORTS, ENGINE_RUN)


def _script(spec: NetworkSpec, needs: str, imports: str, run: str) -> str:
    head = HEAD.format(
        needs=needs,
        imports=imports,
        shape=spec.shape,
        resize=spec.resize or "squash",
        mean=list(spec.mean),
        std=list(spec.std),
        decode=inspect.getsource(decode_image).partition(MARKER)[2],
    )
    return head + run + TAIL
