from __future__ import annotations

import json
import sys
import sysconfig
from importlib import metadata
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from compress.verify import machines
from tests.verify.stand_ins import SHAPE, emulator, made


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A linear network on (N, 3, 8, 8), ten classes."""
    weights = np.random.default_rng(0).normal(size=(192, 10)).astype(np.float32)
    nodes = [helper.make_node("Flatten", ["input"], ["flat"]), helper.make_node("MatMul", ["flat", "w"], ["logits"])]
    path = tmp_path_factory.mktemp("model") / "model.onnx"
    onnx.save(made(nodes, ["batch", *SHAPE], [numpy_helper.from_array(weights, "w")]), path)
    return path


@pytest.fixture
def inputs() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(5, *SHAPE)).astype(np.float32)


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A set-up cache whose emulator is a shell script and whose Arm Python is this one."""
    monkeypatch.setenv("COMPRESS_CACHE", str(tmp_path / "cache"))
    base = machines.cache_folder()
    (base / "root" / "usr" / "bin").mkdir(parents=True)
    (base / "root" / "usr" / "bin" / "python3.11").symlink_to(sys.executable)
    (base / "root" / "site").symlink_to(sysconfig.get_path("purelib"))
    machines.link_roots(base)
    (base / machines.READY).write_text(json.dumps({"onnxruntime": metadata.version("onnxruntime")}))
    emulator(tmp_path, f'shift 5\nexec {sys.executable} "$@"')
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return tmp_path
