from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from compress.backends import onnx_files
from compress.backends import onnx_graph as graphs
from compress.core.network_spec import NetworkSpec
from compress.core.stage import Context
from compress.quantize.mixed_precision.trial import MAX_SQNR_DB, TrialBuilder
from tests.export.tiny import SPEC


class FloatPlan:
    """Builds the float network in every case, and counts."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.file, self.model = model, graphs.to_ir(model)
        self.calls: list[tuple[str, tuple[str, ...]]] = []

    def build(self, runtime: str, exclude: tuple[str, ...], spec: NetworkSpec) -> onnx.ModelProto:  # noqa: ARG002
        self.calls.append((runtime, exclude))
        return self.file


@pytest.fixture
def plan(exported: Path) -> FloatPlan:
    return FloatPlan(onnx_files.load(exported))


def test_the_last_network_is_built_once(plan: FloatPlan, context: Context) -> None:
    trials = TrialBuilder(plan, ("head",), SPEC, context)
    assert trials.layers == ("stem.0", "depthwise.0", "point.0", "wide")
    assert trials.size_bytes(("wide",)) == plan.file.ByteSize()
    trials.save(("wide",))
    assert plan.calls == [("onnxruntime", ("head", "wide"))]
    assert (context.folder / "model.onnx").read_bytes() == plan.file.SerializeToString()
    trials.build(("stem.0",))
    assert plan.calls[1:] == [("onnxruntime", ("head", "stem.0"))]


def test_the_float_network_loses_nothing(plan: FloatPlan, context: Context) -> None:
    assert TrialBuilder(plan, (), SPEC, context).evaluate(()) == (0.0, MAX_SQNR_DB)
