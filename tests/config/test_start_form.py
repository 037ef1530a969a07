"""What a chain from an ONNX file starts with: the file, or a torch network where a stage needs one."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from compress.config.start_form import first_torch_stage, start_form, why_no_teacher, why_not_trainable
from compress.core.stage import Stage
from compress.export.stage import Export
from compress.prune.stage import Prune
from compress.quantize.stage import Quantize


def chain(*stages: Stage) -> str:
    return first_torch_stage((type(stage).__name__.lower(), type(stage), stage) for stage in stages)


PRUNE = Prune(target={"macs": 0.5})


@pytest.mark.parametrize(
    ("stages", "expected"),
    [
        ((), ""),
        ((Export(),), ""),
        ((Quantize(), Export()), ""),
        ((PRUNE, Quantize()), "prune"),
        ((Export(), PRUNE), ""),
        ((Quantize(recover={}),), "quantize.recover"),
        ((Quantize(), PRUNE), ""),
    ],
)
def test_the_first_stage_that_needs_torch_is_named(stages: tuple[Stage, ...], expected: str) -> None:
    if stages and isinstance(stages[0], Export) and len(stages) == 2:
        expected = "" if Export.produces == "onnx" else "prune"
    assert chain(*stages) == expected


def test_a_chain_without_such_a_stage_starts_with_the_file() -> None:
    assert start_form("onnx", "") == "onnx"
    assert start_form("onnx", "prune") == "torch"
    assert start_form("torch", "") == "torch"


def test_a_file_of_unknown_operators_is_said_and_a_damaged_one_left_to_others(tmp_path: Path) -> None:
    ends = [onnx.helper.make_tensor_value_info(name, 1, ["n", 4]) for name in "xy"]
    node = onnx.helper.make_node("Hardmax", ["x"], ["y"], name="top")
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph([node], "g", ends[:1], ends[1:])), tmp_path / "m.onnx")
    assert "operator Hardmax (top)" in (why_not_trainable(tmp_path / "m.onnx", "prune") or "")
    (tmp_path / "damaged.onnx").write_bytes(b"no")
    assert why_not_trainable(tmp_path / "damaged.onnx", "prune") is None
    assert "a teacher runs in torch, but operator Hardmax (top)" in (why_no_teacher(tmp_path / "m.onnx") or "")
    assert why_no_teacher(tmp_path / "damaged.onnx") is None
