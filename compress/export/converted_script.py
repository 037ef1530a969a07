"""The function `run` of `infer.py` for converted files, by runtime; names and shapes come from the sidecar of the file."""

from __future__ import annotations

from typing import NamedTuple

from compress.backends.converted.convert import target_name
from compress.core.network_spec import NetworkSpec
from compress.export.infer_script import script_of
from compress.tasks.infer_code import CLASSIFY, InferCode

IMPORTS = """import json
import sys
import warnings
from os import PathLike
from pathlib import Path

import numpy as np
{runtime}
from PIL import Image"""
NEEDS = "Needs: pip install numpy {package} pillow"
RUN = '''LAYOUT = json.loads((HERE / "{file}.json").read_text(encoding="utf-8"))


def run(feeds, threads=1):
    """Outputs by name for inputs by name, of one sample."""
    arrays = [np.ascontiguousarray(feeds[name], each["dtype"]) for name, each in LAYOUT["inputs"].items()]
    outputs = compute(str(HERE / "{file}"), arrays, threads)
    layouts = LAYOUT["outputs"].items()
    return {{name: np.asarray(array).reshape(each["shape"]) for (name, each), array in zip(layouts, outputs, strict=True)}}


{compute}
'''


class RuntimeCode(NamedTuple):
    """Code of one runtime.

    Attributes:
        package: Packages to install.
        imports: Import statement.
        compute: The function `compute`, from the path of the file, arrays in order and threads to outputs in order.
    """

    package: str
    imports: str
    compute: str


CODES = {
    "ort": RuntimeCode(
        "onnxruntime",
        "import onnxruntime",
        '''def compute(path, arrays, threads):
    """Run the file once."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return session.run([*LAYOUT["outputs"]], dict(zip(LAYOUT["inputs"], arrays, strict=True)))''',
    ),
    "ncnn": RuntimeCode(
        "ncnn",
        "import ncnn",
        '''def compute(path, arrays, threads):
    """Run the file once; blobs have no axis of samples."""
    network = ncnn.Net()
    network.opt.num_threads = threads
    network.opt.use_fp16_packed = network.opt.use_fp16_storage = network.opt.use_fp16_arithmetic = False
    network.load_param(path)
    network.load_model(path.removesuffix("param") + "bin")
    with network.create_extractor() as extractor:
        for index, array in enumerate(arrays):
            kind = np.int32 if array.dtype.kind in "iu" else np.float32
            extractor.input(f"in{index}", ncnn.Mat(np.ascontiguousarray(array[0], kind)).clone())
        return [np.array(extractor.extract(f"out{index}")[1]) for index in range(len(LAYOUT["outputs"]))]''',
    ),
    "mnn": RuntimeCode(
        "mnn",
        "from MNN import expr, nn",
        '''def compute(path, arrays, threads):
    """Run the file once."""
    memory = "normal" if LAYOUT["carried"] == "nothing" else "low"
    settings = {"precision": "high", "memory": memory, "backend": 0, "numThread": threads}
    manager = nn.create_runtime_manager((settings,))
    names = [[*LAYOUT["inputs"]], [*LAYOUT["outputs"]]]
    module = nn.load_module_from_file(path, *names, runtime_manager=manager)
    variables = []
    for array in arrays:
        integers = array.dtype.kind in "iu"
        variable = expr.placeholder([*array.shape], expr.NCHW, expr.int if integers else expr.float)
        variable.write(array.astype(np.int32) if integers else array)
        variables.append(variable)
    return [np.array(expr.convert(output, expr.NCHW).read()) for output in module.forward(variables)]''',
    ),
    "litert": RuntimeCode(
        "ai-edge-litert",
        "from ai_edge_litert.interpreter import Interpreter",
        '''def compute(path, arrays, threads):
    """Run the file once; integers of inputs and outputs are converted with the scales of the file."""
    interpreter = Interpreter(path, num_threads=threads)
    interpreter.allocate_tensors()
    signature = interpreter.get_signature_runner()
    inputs, outputs = signature.get_input_details(), signature.get_output_details()
    del signature  # the interpreter does not run while another object refers to it
    for array, name in zip(arrays, sorted(inputs, key=lambda name: int(name.rpartition("_")[2])), strict=True):
        (scale, point), kind = inputs[name]["quantization"], inputs[name]["dtype"]
        if scale and array.dtype.kind == "f":
            array = np.clip(np.rint(array / scale) + point, np.iinfo(kind).min, np.iinfo(kind).max)
        interpreter.set_tensor(inputs[name]["index"], array.astype(kind))
    interpreter.invoke()
    results = []
    for name in sorted(outputs, key=lambda name: int(name.rpartition("_")[2])):
        (scale, point), array = outputs[name]["quantization"], interpreter.get_tensor(outputs[name]["index"])
        results.append((array.astype(np.float32) - point) * scale if scale else array)
    return results''',
    ),
    "executorch": RuntimeCode(
        "executorch torch",
        "import torch\nfrom executorch.runtime import Runtime",
        '''def compute(path, arrays, threads):
    """Run the program once, with the threads of the runtime."""
    method = Runtime.get().load_program(path).load_method("forward")
    return [output.numpy() for output in method.execute([torch.from_numpy(array) for array in arrays])]''',
    ),
    "coreml": RuntimeCode(
        "coremltools",
        "import tempfile\nimport zipfile\n\nimport coremltools",
        '''def compute(path, arrays, threads):
    """Run the program once, on macOS; the system decides on threads."""
    with tempfile.TemporaryDirectory() as folder:
        zipfile.ZipFile(path).extractall(folder)
        model = coremltools.models.MLModel(str(next(Path(folder).glob("*.mlpackage"))))
        description = model.get_spec().description
        feeds = [array.astype(np.int32) if array.dtype.kind in "iu" else array for array in arrays]
        outputs = model.predict({each.name: array for each, array in zip(description.input, feeds, strict=True)})
    return [outputs[each.name] for each in description.output]''',
    ),
    "inductor": RuntimeCode(
        "torch",
        "import torch",
        '''def compute(path, arrays, threads):
    """Run the package once."""
    torch.set_num_threads(threads)
    with torch.inference_mode():
        outputs = torch._inductor.aoti_load_package(path)(*(torch.from_numpy(array) for array in arrays))
    return [output.numpy() for output in (outputs if isinstance(outputs, (list, tuple)) else (outputs,))]''',
    ),
}


def converted_script(spec: NetworkSpec, runtime: str, code: InferCode = CLASSIFY) -> str:
    """Python source of `infer.py` for the converted file, its sidecar and `labels.json` in the same folder.

    Args:
        spec: Inputs of the network.
        runtime: Name of a converter.
        code: Code of the task for the outputs.
    """
    own = CODES[runtime]
    imports = IMPORTS.format(runtime=own.imports)
    run = RUN.format(file=target_name(runtime), compute=own.compute)
    return script_of(spec, code, NEEDS.format(package=own.package), imports, run)
