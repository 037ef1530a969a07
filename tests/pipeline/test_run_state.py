"""The network that the accuracy of the later ones is compared with; what a stage is given."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from compress.config.recipe import LoadedRecipe, loads
from compress.core.progress import NullReporter
from compress.core.record import Quantity, StageRecord
from compress.core.run_directory import RunDirectory
from compress.core.stage import Candidate, OnnxOptions
from compress.pipeline.plan import from_recipe
from compress.pipeline.run_state import RunState
from compress.pipeline.stage_output import PendingStage, StageOutput

RECIPE = """\
name: mine
data: {source: digits}
model: {source: "torchvision:resnet18"}
stages: [{train: {epochs: 1}}, {train: {epochs: 2}}, {prune: {target: {macs: 0.5}}}, {train: {epochs: 1}}, quantize]
"""


def output(name: str, validation: float) -> StageOutput:
    after = {"accuracy_validation": Quantity.measured(validation, "fraction")}
    record = StageRecord(
        index=0, name=name, key=name, parent_key="", form="torch", parameters={}, before={}, after=after, seed=0, versions={},
        started="x", wall_time_s=0.0,
    )  # fmt: skip
    return StageOutput(record, Path(name), build_reference=NotImplemented)


def run_state(tmp_path: Path, *validation: float, trained: bool = False) -> RunState:
    plan = from_recipe(LoadedRecipe(loads(RECIPE), RECIPE, Path("r.yaml"), tmp_path))
    plan = replace(plan, model=replace(plan.model, trained=trained))
    made = RunState(plan, RunDirectory(tmp_path, "a", "b"), device="cpu", reporter=NullReporter(), smoke=False)
    names = ("start", "first", "second", "prune", "recovered", "quantize")
    made.outputs += [output(name, value) for name, value in zip(names, validation, strict=False)]
    return made


@pytest.mark.parametrize(
    ("validation", "trained", "name"),
    [
        ((), True, None),
        ((0.99,), False, None),
        ((0.99, 0.7), False, "first"),
        ((0.1, 0.7, 0.8), True, "second"),
        ((0.1, 0.9, 0.8), True, "first"),
        ((0.95, 0.9, 0.8), True, "start"),
        ((0.1, 0.7, 0.8, 0.95, 0.99, 0.99), True, "second"),
    ],
)
def test_without_a_teacher_it_is_the_best_trained_network_before_compression(tmp_path, validation, trained, name):
    baseline = run_state(tmp_path, *validation, trained=trained).baseline()
    assert (baseline and baseline.record.name) == name


def test_a_teacher_is_always_it(tmp_path):
    state = run_state(tmp_path, 0.99, 0.99, trained=True)
    state.teachers.append(output("teacher", 0.5))
    baseline = state.baseline()
    assert baseline is not None
    assert baseline.record.name == "teacher"


def test_a_stage_gets_a_seed_of_its_own_and_the_targets_of_the_plan(tmp_path: Path) -> None:
    state = run_state(tmp_path)
    state.plan = replace(state.plan, seed=7, targets=("host",))
    pending = PendingStage(3, "train", "k", {}, NotImplemented, NotImplemented, NotImplemented)
    context = state.context(pending, tmp_path, Candidate(state.data.spec))
    assert context.seed == 10
    assert [device.name for device in context.targets] == ["host"]
    assert context.onnx == OnnxOptions()
    assert context.cache.parent == tmp_path
    assert (context.float_file, context.load_float_network, context.torch_folder) == (None, None, None)
