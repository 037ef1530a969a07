"""The script that ships for TensorRT, run whole against stand-ins for TensorRT and the CUDA runtime library."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from compress.export import ship_onnx as onnx_format
from compress.export import tensorrt_build_script as tensorrt_format
from compress.export.infer_script import engine_script
from compress.export.manifest import write_labels
from tests.export.tiny import SPEC

NAMES = set(Path(__file__).with_name("tensorrt_names.txt").read_text(encoding="utf-8").split())
STAND_IN = '''
"""As much of TensorRT as the script needs: the engine is the ONNX file, GPU memory is the C library's."""
import ctypes, io
import numpy as np
import onnxruntime

libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p

class Cudart:
    def cudaMalloc(self, place, size):
        place._obj.value = libc.malloc(size)
        return 0
    def cudaMemcpy(self, target, source, size, kind):
        assert kind in (1, 2)
        ctypes.memmove(target, source, size.value)
        return 0

real = ctypes.CDLL
ctypes.CDLL = lambda name: Cudart() if name == "libcudart.so" else real(name)

class Logger:
    WARNING = 1
    def __init__(self, level): pass

class TensorIOMode:
    INPUT, OUTPUT = 0, 1

nptype = np.dtype

class Context:
    def __init__(self, session):
        self.session, self.at = session, {}
    def set_input_shape(self, name, shape): self.shape = tuple(shape)
    def get_tensor_shape(self, name): return (self.shape[0], 4)
    def set_tensor_address(self, name, address): self.at[name] = address
    def execute_async_v3(self, stream):
        size = int(np.prod(self.shape))
        given = np.ctypeslib.as_array((ctypes.c_float * size).from_address(self.at["input"])).reshape(self.shape)
        found = np.ascontiguousarray(self.session.run(None, {"input": given.copy()})[0])
        ctypes.memmove(self.at["logits"], found.ctypes.data, found.nbytes)
        return True

class Engine:
    num_io_tensors = 2
    def __init__(self, plan): self.session = onnxruntime.InferenceSession(plan)
    def create_execution_context(self): return Context(self.session)
    def get_tensor_name(self, index): return ("input", "logits")[index]
    def get_tensor_mode(self, name): return TensorIOMode.OUTPUT if name == "logits" else TensorIOMode.INPUT
    def get_tensor_dtype(self, name): return np.float32

class Runtime:
    def __init__(self, logger): pass
    def deserialize_cuda_engine(self, plan): return Engine(plan)
'''


def infer(folder: Path, path: Path, extra: str = "") -> list[str]:
    environment = os.environ | {"PYTHONPATH": extra, "PYTHONUTF8": "1"}
    done = subprocess.run(
        [sys.executable, folder / "infer.py", path], capture_output=True, text=True, env=environment, cwd="/", check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_script_for_the_engine_answers_as_the_one_for_onnx(exported: Path, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (20, 30, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "image.png")
    (tmp_path / "stand_in").mkdir()
    (tmp_path / "stand_in" / "tensorrt.py").write_text(STAND_IN)
    answers = []
    for name, form in (("onnx", onnx_format), ("trt", tensorrt_format)):
        form.write(exported, tmp_path / name, SPEC)
        write_labels(tmp_path / name, SPEC)
        (tmp_path / name / "model.engine").write_bytes(exported.read_bytes())
        answers.append(infer(tmp_path / name, tmp_path / "image.png", str(tmp_path / "stand_in")))
        assert len((tmp_path / name / "infer.py").read_text(encoding="utf-8").splitlines()) < 160
    assert answers[0] == answers[1]
    assert len(answers[0]) == 4


def test_script_uses_public_names_and_says_that_it_was_not_run() -> None:
    source = engine_script(SPEC)
    assert "has not been run on a GPU" in source
    used = {node.attr for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Attribute)}
    methods = {
        "deserialize_cuda_engine": "Runtime",
        "create_execution_context": "ICudaEngine",
        "set_input_shape": "IExecutionContext",
        "get_tensor_shape": "IExecutionContext",
        "set_tensor_address": "IExecutionContext",
        "execute_async_v3": "IExecutionContext",
        "get_tensor_name": "ICudaEngine",
        "get_tensor_mode": "ICudaEngine",
        "get_tensor_dtype": "ICudaEngine",
        "num_io_tensors": "ICudaEngine",
    }
    assert set(methods) <= used
    assert {f"{owner}.{name}" for name, owner in methods.items()} <= NAMES
