"""The agent, which runs on the machine under test."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from onnx import helper, save

from compress.verify import agent
from tests.verify.stand_ins import SHAPE, made


@pytest.mark.parametrize("batch", ["batch", 1, 2, 4])
def test_agent_fills_fixed_batches_and_drops_the_rest(inputs: np.ndarray, batch: object, tmp_path: Path) -> None:
    nodes = [helper.make_node("Flatten", ["input"], ["logits"])]
    save(made(nodes, [batch, *SHAPE], [], (batch, 192)), tmp_path / "m.onnx")
    result = agent.run_batches(onnxruntime.InferenceSession(tmp_path / "m.onnx"), inputs)
    np.testing.assert_array_equal(result, inputs.reshape(5, -1))


def test_agent_writes_outputs_and_versions(model: Path, inputs: np.ndarray, tmp_path: Path) -> None:
    np.save(tmp_path / "inputs.npy", inputs)
    command = (sys.executable, "-I", agent.__file__, "", str(model), str(tmp_path / "inputs.npy"), str(tmp_path))
    assert subprocess.run(command, check=False).returncode == 0
    assert np.load(tmp_path / "outputs.npy").shape == (5, 10)
    assert json.loads((tmp_path / "facts.json").read_text())["onnxruntime"] == onnxruntime.__version__


def test_agent_refuses_what_the_runtime_does_not_run(model: Path, inputs: np.ndarray, tmp_path: Path) -> None:
    np.save(tmp_path / "inputs.npy", inputs[:, :2])
    command = (sys.executable, "-I", agent.__file__, "", str(model), str(tmp_path / "inputs.npy"), str(tmp_path))
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == agent.REFUSED
    assert len(done.stderr.splitlines()) == 1
