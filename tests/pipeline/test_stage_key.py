"""What a key covers: all that decides a result, and nothing else."""

from dataclasses import replace
from pathlib import Path

import pytest

from compress import Export, Profile, Prune, Quantize
from compress.config.recipe import LoadedRecipe, loads
from compress.core.budget import Budget
from compress.core.stage import OnnxOptions
from compress.pipeline import stage_key as module
from compress.pipeline.plan import Plan, from_recipe
from compress.pipeline.stage_key import stage_key, start_key, teacher_key
from compress.tasks.classification import Classification

RECIPE = """\
name: mine
data: {source: digits}
model: {source: "torchvision:squeezenet1_1"}
stages: [{train: {epochs: 1}}, quantize]
"""
OPSET = OnnxOptions(opset=20)


@pytest.fixture(scope="module")
def plan(tmp_path_factory) -> Plan:
    return from_recipe(LoadedRecipe(loads(RECIPE), RECIPE, Path("r.yaml"), tmp_path_factory.mktemp("recipe")))


def key(stage, plan, *, parent="p", onnx=OnnxOptions(), code=None, smoke=False):  # noqa: B008
    return stage_key(stage, parent, plan, (), onnx, code or {}, smoke=smoke)


def test_parameters_parent_and_code_of_the_user_are_part_of_it(plan):
    keys = [
        key(Quantize(), plan),
        key(Quantize(scheme="fp16"), plan),
        key(Quantize(), plan, parent="q"),
        key(Quantize(), plan, code={"loss.py": "00"}),
        key(Export(), plan),
    ]
    assert len(set(keys)) == len(keys)
    assert key(Quantize(), plan) == keys[0]


@pytest.mark.parametrize(("stage", "covered"), [(Prune(target={"macs": 0.5}), False), (Export(), True), (Profile(), True)])
def test_the_opset_counts_where_a_stage_takes_or_makes_onnx(plan, stage, covered):
    assert (key(stage, plan) != key(stage, plan, onnx=OPSET)) is covered


@pytest.mark.parametrize(("stage", "covered"), [(Quantize(), True), (Prune(target={"macs": 0.5}), False)])
def test_the_budget_counts_where_a_stage_reads_it(plan, stage, covered):
    assert stage.reads_budget is covered
    assert (key(stage, plan) != key(stage, replace(plan, budget=Budget(size_mb=1.0)))) is covered


@pytest.mark.parametrize("stage", [Quantize(), Quantize(scheme="fp16"), Export(), Profile(), Prune(target={"macs": 0.5})])
def test_no_run_reuses_a_stage_of_one_at_toy_size(plan, stage):
    assert key(stage, plan, smoke=True) != key(stage, plan)


@pytest.mark.parametrize(("package", "covered"), [("onnxruntime", True), ("matplotlib", False)])
def test_versions_count_of_packages_that_decide_what_a_stage_computes(plan, package, covered, monkeypatch):
    before = key(Quantize(), plan)
    monkeypatch.setattr(module, "versions", lambda: {**module_versions, package: "0.0.1"})
    assert (key(Quantize(), plan) != before) is covered


module_versions = module.versions()


def test_data_task_and_seed_are_part_of_every_root(plan):
    class Other(Classification):
        name = "other"

    others = (plan, replace(plan, seed=1), replace(plan, data_key={"source": "glyphs"}), replace(plan, task=Other()))
    assert len({start_key(plan.model, [], other) for other in others}) == 4
    assert len({teacher_key({"network": plan.model.key}, other) for other in others}) == 4
    assert start_key(plan.model, ["t"], plan) != start_key(plan.model, [], plan)
