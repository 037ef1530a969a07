"""The runner against a stand-in for TensorRT that computes 2 x on memory of the host. It shows the order of calls."""

import ctypes
import enum
import sys
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from compress.backends import tensorrt_runner
from compress.backends.tensorrt_runner import TensorRTRunner
from compress.core.errors import ConversionError, DeviceError, MissingPackageError


class Mode(enum.Enum):
    INPUT = 1
    OUTPUT = 2


Kind = enum.Enum("Kind", ["FLOAT", "HALF", "INT64", "INT32", "INT8", "UINT8", "BOOL", "BF16"])


class Context:
    def __init__(self):
        self.shape = (-1, 3)
        self.addresses = {}
        self.refuses = False

    def set_input_shape(self, _name, shape):
        self.shape = shape if shape[0] <= 8 and shape[1:] == (3,) else self.shape
        return self.shape == shape

    def get_tensor_shape(self, _name):
        return self.shape

    def set_tensor_address(self, name, address):
        self.addresses[name] = address
        return True

    def execute_async_v3(self, _stream):
        count = int(np.prod(self.shape))
        read, write = ((ctypes.c_float * count).from_address(self.addresses[name]) for name in ("x", "y"))
        for index in range(count):
            write[index] = 2 * read[index]
        return not self.refuses


class Engine:
    kind = Kind.FLOAT
    num_io_tensors = 2

    def __init__(self):
        self.context = Context()

    def get_tensor_name(self, index):
        return "xy"[index]

    def get_tensor_mode(self, name):
        return Mode.INPUT if name == "x" else Mode.OUTPUT

    def get_tensor_dtype(self, _name):
        return self.kind

    def get_tensor_shape(self, _name):
        return (-1, 3)

    def create_execution_context(self):
        return self.context


class Logger:
    WARNING = 1

    def __init__(self, severity):
        assert severity == Logger.WARNING


class Runtime:
    engine = None

    def __init__(self, logger):
        assert isinstance(logger, Logger)

    def deserialize_cuda_engine(self, plan):
        return self.engine if plan == b"engine" else None


class Event:
    clock = 0

    def __init__(self, **_):
        self.at = 0

    def record(self):
        Event.clock += 1
        self.at = Event.clock

    def synchronize(self):
        pass

    def elapsed_time(self, other):
        return float(other.at - self.at)


@pytest.fixture
def engine(monkeypatch):
    made = Engine()
    fake = SimpleNamespace(__version__="11.4", Logger=Logger, Runtime=Runtime, TensorIOMode=Mode, DataType=Kind)
    monkeypatch.setattr(Runtime, "engine", made)
    stream = SimpleNamespace(cuda_stream=7, synchronize=lambda: None)
    monkeypatch.setitem(sys.modules, "tensorrt", fake)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a GPU")
    monkeypatch.setattr(torch.cuda, "stream", lambda _stream: nullcontext())
    monkeypatch.setattr(tensorrt_runner, "CUDA", SimpleNamespace(Stream=lambda: stream, Event=Event))
    plain = torch.empty
    monkeypatch.setattr(torch, "empty", lambda shape, dtype, **_: plain(shape, dtype=dtype))
    return made


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "model.engine"
    path.write_bytes(b"engine")
    return path


def inputs(batch):
    return {"x": np.arange(3 * batch, dtype=np.float32).reshape(batch, 3)}


def test_it_copies_runs_and_copies_back(engine, path):
    with TensorRTRunner(path) as runner:
        assert runner.shapes() == {"x": ((None, 3), "float32")}
        for batch in (2, 5, 5):
            (found,) = runner.run(inputs(batch))
            np.testing.assert_array_equal(found, 2 * inputs(batch)["x"])
        assert runner.describe()["runtime"] == "TensorRT 11.4"
        assert runner.describe()["device"] == "a GPU"


def test_answers_stay_when_the_next_run_fills_the_buffers(engine, path):
    with TensorRTRunner(path) as runner:
        (first,) = runner.run(inputs(2))
        runner.run({"x": -inputs(2)["x"]})
    np.testing.assert_array_equal(first, 2 * inputs(2)["x"])


def test_parts_lie_between_their_events(engine, path):
    with TensorRTRunner(path) as runner:
        parts = runner.time_phases(inputs(1))
    assert (parts.copy_in_ms, parts.compute_ms, parts.copy_out_ms) == (1.0, 1.0, 1.0)


def test_it_is_freed_by_with(engine, path):
    runner = TensorRTRunner(path)
    with runner:
        runner.run(inputs(1))
    assert runner._buffers == {}
    assert runner._context is runner._engine is runner._runtime is None


def test_shapes_outside_the_profile_are_told(engine, path):
    with TensorRTRunner(path) as runner:
        with pytest.raises(ConversionError, match=r"does not run on inputs x \(9, 3\).*no optimization profile"):
            runner.run(inputs(9))
        with pytest.raises(ConversionError, match="does not run on inputs z"):
            runner.run({"z": inputs(1)["x"]})
        engine.context.refuses = True
        with pytest.raises(ConversionError, match="TensorRT did not run"):
            runner.run(inputs(1))


def test_an_engine_of_another_release_is_told(engine, tmp_path):
    other = tmp_path / "other.engine"
    other.write_bytes(b"something else")
    with pytest.raises(ConversionError, match=r"11\.4 cannot load .*other\.engine: an engine runs only on"):
        TensorRTRunner(other).__enter__()


def test_no_memory_for_a_context_is_told(engine, path):
    engine.context = None
    with pytest.raises(DeviceError, match="out of memory: no execution context"):
        TensorRTRunner(path).__enter__()


def test_a_type_that_numpy_lacks_is_told(engine, path):
    engine.kind = Kind.BF16
    with TensorRTRunner(path) as runner, pytest.raises(ConversionError, match="a type that NumPy lacks"):
        runner.shapes()


def test_without_a_gpu_or_the_package_the_reason_is_told(engine, path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(DeviceError, match=r"TensorRT 11\.4 needs an NVIDIA GPU"):
        TensorRTRunner(path).__enter__()
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'compress\[tensorrt\]'"):
        TensorRTRunner(path).__enter__()


def test_an_onnx_file_is_built_into_an_engine_first(engine, tiny, monkeypatch):
    from compress.backends import tensorrt_engine as builder

    asked = []

    def build(onnx_path, engine_path, samples):
        asked.append((onnx_path, samples))
        engine_path.write_bytes(b"engine")

    monkeypatch.setattr(builder, "build_engine", build)
    with TensorRTRunner(tiny) as runner:
        assert runner.run(inputs(1))
    assert asked == [(tiny, {"x": ((1, 3, 8, 8), (1, 3, 8, 8), (8, 3, 8, 8))})]
