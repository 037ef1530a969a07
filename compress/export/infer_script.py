"""Generate `infer.py`, the script of an artifact that runs the network on an image and imports nothing of `compress`.

The scripts of all runtimes have the same parts: constants, decoding and resizing as in training, `preprocess`, `run`, and the
code of the task for the outputs.
"""

from __future__ import annotations

import inspect
import json

from compress.core.network_spec import NetworkSpec
from compress.data import decode_image
from compress.export.infer_audio import audio_preprocessing
from compress.export.infer_image_text import APART, PARTS, image_text_preprocessing
from compress.export.infer_text import text_preprocessing
from compress.tasks.image_text.infer_code import ANSWER, RANK
from compress.tasks.infer_code import CLASSIFY, InferCode

HEAD = '''"""{purpose}

{input}
{needs}
"""

from __future__ import annotations

{imports}

HERE = Path(__file__).resolve().parent
'''
IMAGE_INPUT = "INPUT is an image, or a .npy file with an array of pixels in [0, 1], (C, H, W), of the network's size."
IMAGE = '''CHANNELS, HEIGHT, WIDTH = {shape}
RESIZE = "{resize}"
MEAN = np.array({mean}, dtype=np.float32).reshape(-1, 1, 1)
STD = np.array({std}, dtype=np.float32).reshape(-1, 1, 1)
{decode}

def preprocess(path):
    """An image as {{name: float32 (1, C, H, W)}}: resized as in training, scaled to [0, 1], normalised."""
    if str(path).endswith(".npy"):
        pixels = np.load(path).astype(np.float32).reshape(CHANNELS, HEIGHT, WIDTH)
    else:
        image = resize_image(open_image(path, CHANNELS), HEIGHT, WIDTH, RESIZE)
        pixels = np.asarray(image, dtype=np.float32).reshape(HEIGHT, WIDTH, CHANNELS).transpose(2, 0, 1) / np.float32(255)
    return {{"{name}": ((pixels - MEAN) / STD)[None]}}


'''
ARRAYS_INPUT = "INPUT is an .npz file of named arrays, batch first:"
ARRAYS = '''INPUTS = {inputs}


def preprocess(path):
    """Arrays of an .npz file, by the names of the inputs."""
    if not str(path).endswith(".npz"):
        raise ValueError(f"it is not an .npz file; give one with the arrays {{', '.join(INPUTS)}}")
    with np.load(path) as arrays:
        if missing := [name for name in INPUTS if name not in arrays]:
            raise ValueError(f"it has no array {{', '.join(missing)}}; give {{', '.join(INPUTS)}}")
        return {{name: np.ascontiguousarray(arrays[name], dtype=dtype) for name, dtype in INPUTS.items()}}


'''


ONNX_NEEDS = "Needs: pip install numpy {package} pillow"
ONNX_IMPORTS = """import json
import os
import sys
import warnings
from os import PathLike
from pathlib import Path

import numpy as np

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read when onnxruntime is imported
import onnxruntime
from PIL import Image"""
ONNX_RUN = '''def run(feeds, threads=1):
    """Outputs by name for inputs by name."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 3
    session = onnxruntime.InferenceSession(str(HERE / "model.onnx"), options, providers={providers})
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, feeds)))
'''

OPENVINO_IMPORTS = """import json
import sys
import warnings
from os import PathLike
from pathlib import Path

import numpy as np
import openvino
from PIL import Image"""
OPENVINO_RUN = '''def run(feeds, threads=1):
    """Outputs by name for inputs by name."""
    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": str(threads)}
    model = openvino.Core().compile_model(str(HERE / "model.onnx"), "CPU", settings)
    results = model(feeds)
    return {output.get_any_name(): results[output] for output in model.outputs}
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
ENGINE_RUN = '''def run(feeds):
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
'''

MARKER = "# --- copied into infer.py from here on ---\n"


def infer_script(spec: NetworkSpec, *, runtime: str = "onnxruntime", code: InferCode = CLASSIFY) -> str:
    """Python source of `infer.py` for `model.onnx` and `labels.json` in the same folder.

    Args:
        spec: Inputs of the network.
        runtime: `openvino`, `onnxruntime`, or `onnxruntime:` and an execution provider.
        code: Code of the task for the outputs.
    """
    if runtime == "openvino":
        return script_of(spec, code, ONNX_NEEDS.format(package="openvino"), OPENVINO_IMPORTS, OPENVINO_RUN)
    from compress.backends.onnxruntime_runner import PROVIDERS

    name, package = PROVIDERS[runtime.partition(":")[2] or "cpu"]
    providers = json.dumps(list(dict.fromkeys((name, "CPUExecutionProvider"))))
    return script_of(spec, code, ONNX_NEEDS.format(package=package), ONNX_IMPORTS, ONNX_RUN.format(providers=providers))


def tower_script(spec: NetworkSpec) -> str:
    """Python source of `infer.py` for `image.onnx`, `text.onnx` and `tokenizer.json` in the same folder.

    Args:
        spec: Of a network with both towers.
    """
    return script_of(spec, RANK, ONNX_NEEDS.format(package="onnxruntime"), ONNX_IMPORTS, APART)


def answer_script(spec: NetworkSpec) -> str:
    """Python source of `infer.py` for `vision.onnx`, `language.onnx` and `tokenizer.json` in the same folder.

    Args:
        spec: Of the whole network.
    """
    return script_of(spec, ANSWER, ONNX_NEEDS.format(package="onnxruntime"), ONNX_IMPORTS, PARTS)


def engine_script(spec: NetworkSpec, code: InferCode = CLASSIFY) -> str:
    """Python source of `infer.py` for `model.engine` and `labels.json` in the same folder.

    Args:
        spec: Inputs of the network.
        code: Code of the task for the outputs.
    """
    return script_of(spec, code, ENGINE_NEEDS, ENGINE_IMPORTS, ENGINE_RUN)


def example_input(spec: NetworkSpec) -> str:
    """Example of an input file, for the help text of the script."""
    if spec.image_text is not None:
        return 'image.png "A question"' if spec.image_text.writes else 'image.png "A text" "Another text"'
    if spec.text is not None:
        return '"A text" "Another text"' if spec.text.pairs else '"A text"'
    if spec.audio is not None:
        return "clip.wav"
    return "image.png" if spec.takes_images else "inputs.npz"


def script_of(spec: NetworkSpec, code: InferCode, needs: str, imports: str, run: str) -> str:
    """Source of a script with the function `run` of a runtime.

    Args:
        spec: Inputs of the network.
        code: Code of the task for the outputs.
        needs: Lines on what the script needs.
        imports: Its import statements.
        run: Source of `run`, from inputs by name to outputs by name.
    """
    if spec.image_text is not None:
        about, body, run = image_text_preprocessing(spec, image_preprocessing, run)
        needs, imports = f"{needs} tokenizers", f"{imports}\nfrom tokenizers import Tokenizer"
    elif spec.text is not None:
        about, body = text_preprocessing(spec, spec.text)
        needs = needs.replace(" pillow", " tokenizers")
        imports = imports.replace("from PIL import Image", "from tokenizers import Tokenizer")
        imports = imports.replace("import warnings\nfrom os import PathLike\n", "")
    elif spec.audio is not None:
        about, body = audio_preprocessing(spec.audio, spec.signature)
        needs = needs.replace(" pillow", " soundfile scipy")
        imports = imports.replace("from PIL import Image", "import soundfile").replace("import warnings\n", "")
        imports = imports.replace("import sys\n", "import sys\nfrom math import gcd\n")
    elif not spec.takes_images:
        inputs = {tensor.name: tensor.dtype for tensor in spec.signature.inputs}
        about = "\n".join((ARRAYS_INPUT, *(f"  {tensor}" for tensor in spec.signature.inputs)))
        body = ARRAYS.format(inputs=json.dumps(inputs))
    else:
        about, body = IMAGE_INPUT, image_preprocessing(spec)
    purpose = code.purpose.replace("INPUT", example_input(spec))
    head = HEAD.format(purpose=purpose, input=about, needs=needs, imports=imports)
    return head + body + run + code.source


def image_preprocessing(spec: NetworkSpec) -> str:
    """Source of `preprocess` for an image.

    Args:
        spec: Inputs of the network.
    """
    return IMAGE.format(
        shape=spec.shape,
        resize=spec.resize or "squash",
        mean=list(spec.mean),
        std=list(spec.std),
        decode=inspect.getsource(decode_image).partition(MARKER)[2],
        name=spec.signature.only_input.name,
    )
