"""The probe of a file: which inputs ran, what the runtime refused, and zeros where nobody gave inputs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from compress.backends import crash_probe
from compress.backends.check_file import PROBE


@pytest.fixture
def total(tmp_path: Path) -> Path:
    """y = a + b, a float (n, 3), b int64 (3,) cast to float."""
    nodes = [helper.make_node("Cast", ["b"], ["c"], to=TensorProto.FLOAT), helper.make_node("Add", ["a", "c"], ["y"])]
    value = helper.make_tensor_value_info
    inputs = [value("a", TensorProto.FLOAT, ["n", 3]), value("b", TensorProto.INT64, [3])]
    graph = helper.make_graph(nodes, "g", inputs, [value("y", TensorProto.FLOAT, None)])
    path = tmp_path / "total.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10), path)
    return path


def feeds(columns: int) -> dict[str, crash_probe.Feed]:
    return {"a": ([2, columns], "float32", 0.5), "b": ([3], "int64", 1)}


def test_zeros_of_the_files_shapes_are_fed_without_inputs(total: Path) -> None:
    assert crash_probe.run_first(str(total), []) == 0


@pytest.mark.parametrize(("tries", "ran"), [([3], 0), ([4, 3], 1), ([4, 5, 1, 3], 3)])
def test_the_first_inputs_that_run_are_named(total: Path, tries: list[int], ran: int) -> None:
    assert crash_probe.run_first(str(total), [feeds(columns) for columns in tries]) == ran


def test_the_refusal_of_the_last_inputs_is_raised(total: Path) -> None:
    with pytest.raises(Exception, match="INVALID_ARGUMENT"):
        crash_probe.run_first(str(total), [feeds(5), feeds(4)])


def probe(path: Path, tries: list[dict[str, crash_probe.Feed]]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", str(PROBE), str(path), json.dumps(tries)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=path.parent)


def test_as_a_program_it_prints_the_number_or_the_refusal(total: Path) -> None:
    done = probe(total, [feeds(4), feeds(3)])
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "1", "")
    refused = probe(total, [feeds(4)])
    assert (refused.returncode, refused.stdout) == (0, "")
    assert "INVALID_ARGUMENT" in refused.stderr
