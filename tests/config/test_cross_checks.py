import importlib.util
import os
from pathlib import Path
from typing import ClassVar

import pytest

from compress.config import cross_checks as checks
from compress.config.cross_checks import StageEntry
from compress.config.recipe import loads
from compress.core.errors import RecipeError
from compress.core.stage import Stage
from tests.config.small_recipe import SMALL


class Keeps(Stage):
    def run(self, candidate, context):  # noqa: ARG002
        raise AssertionError


class Exports(Keeps):
    accepts: ClassVar = ("torch", "onnx")
    produces: ClassVar = "onnx"


class Either(Keeps):
    accepts: ClassVar = ("torch", "onnx")


class NeedsFile(Keeps):
    accepts: ClassVar = ("onnx",)


def order(**kinds):
    chain = [StageEntry(("stages", index, name), name, kind, None) for index, (name, kind) in enumerate(kinds.items())]
    return list(checks.check_order(chain))


def test_a_possible_order_has_no_findings():
    assert order(a=Keeps, b=Either, c=Exports, d=Either, e=NeedsFile) == []


def test_a_torch_stage_after_the_export_names_what_to_move():
    ((place, text),) = order(a=Exports, b=Either, c=Keeps)
    assert place == ("stages", 2, "c")
    assert text == "c needs a torch network, but a before it produces an ONNX file; move c before a"


def test_every_misplaced_stage_is_told():
    assert [place for place, _ in order(a=Exports, b=Keeps, c=Keeps)] == [("stages", 1, "b"), ("stages", 2, "c")]


def test_a_stage_that_needs_a_file_is_refused_before_there_is_one():
    ((place, text),) = order(a=Keeps, b=NeedsFile)
    assert place == ("stages", 1, "b")
    assert "the recipe starts from a torch network" in text


LIMITED = "budget: {accuracy_drop: 0.01}\n"


def issues(text: str, base: Path) -> list[tuple[str, str]]:
    try:
        loads(text, base=base)
    except RecipeError as error:
        return [(issue.path, issue.message) for issue in error.issues]
    return []


def test_outputs_are_compared_with_a_trained_network_alone(tmp_path):
    model = "model: {{source: 'torchvision:resnet18'{more}}}"
    text = f"name: a\ntask: outputs\ndata: {{{{source: 'images:photos'}}}}\n{model}\nstages: [quantize]\n"
    assert issues(text.format(more=", weights: DEFAULT"), tmp_path) == []
    ((place, message),) = issues(text.format(more=""), tmp_path)
    assert place == "model.source"
    assert "new random weights; set weights: DEFAULT" in message


@pytest.mark.parametrize(
    ("stages", "model", "allowed"),
    [
        ("[{train: {epochs: 1}}, {prune: {target: {macs: 0.5}}}]", "torchvision:resnet18", True),
        ("[{prune: {target: {macs: 0.5}}}, {train: {epochs: 1}}]", "torchvision:resnet18", False),
        ("[quantize]", "torchvision:resnet18", False),
        ("[quantize]", "python:net.py:build", True),
    ],
)
def test_a_limit_on_the_drop_needs_a_trained_network(stages, model, allowed, tmp_path):
    text = f"name: a\ndata: {{source: digits}}\nmodel: {{source: '{model}'}}\nstages: {stages}\n"
    assert issues(text, tmp_path) == []
    found = issues(text + LIMITED, tmp_path)
    assert [path for path, _ in found] == ([] if allowed else ["budget.accuracy_drop"])
    teacher = "teacher: {source: 'torchvision:resnet34', train: {epochs: 1}}\n"
    assert issues(text + LIMITED + teacher, tmp_path) == []


def test_weights_that_are_not_there_are_an_issue(tmp_path):
    text = SMALL.replace('"torchvision:resnet18"', '"file:mine.safetensors", architecture: "torchvision:resnet18"')
    ((path, message),) = issues(text, tmp_path)
    assert path == "model.source"
    assert "cannot read" in message
    assert str(tmp_path) in message
    os.mkfifo(tmp_path / "mine.safetensors")
    assert len(issues(text, tmp_path)) == 1
    (tmp_path / "mine.safetensors").unlink()
    (tmp_path / "mine.safetensors").write_bytes(b"")
    assert issues(text, tmp_path) == []


def test_packages_that_are_not_installed_are_issues(tmp_path, monkeypatch):
    text = SMALL.replace("torchvision:resnet18", "timm:resnet10t").replace(
        "  - train: {epochs: 2}",
        "  - distill: {epochs: 1, tracker: tensorboard, lora: {}, losses: [soft_labels],"
        " teacher: {soft_label_file: {file: a.parquet}}}",
    )
    find = importlib.util.find_spec
    absent = {"timm", "tensorboard", "pyarrow", "peft"}
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, package=None: None if name in absent else find(name, package))
    found = dict(issues(text, tmp_path))
    assert {path.rpartition(".")[2] for path in found} == {"source", "tracker", "file", "lora"}
    assert all("pip install 'compress[" in message for message in found.values())


def test_a_limit_on_a_device_is_refused_where_the_network_changes_after_its_profile(tmp_path):
    text = "name: a\ndata: {source: digits}\nmodel: {source: 'torchvision:resnet18'}\nstages: [{train: {epochs: 1}}, "
    limit = "budget: {latency_ms: {host: 1}}\n"
    first, last = "{profile: {devices: [host]}}, quantize, export]\n", "quantize, export, {profile: {devices: [host]}}]\n"
    assert issues(text + first, tmp_path) == []
    assert issues(text + last + limit, tmp_path) == []
    ((path, message),) = issues(text + first + limit, tmp_path)
    assert path == "stages[1].profile"
    assert "move profile behind quantize" in message


@pytest.mark.parametrize(
    ("block", "path", "words"),
    [
        ("budget: {perplexity_rise: 0.1}", "budget.perplexity_rise", "no metric of the task classification"),
        ("budget: {accuracy_rise: 0.1}", "budget.accuracy_rise", "write accuracy_drop"),
        ("budget: {accuracy_dorp: 0.1}", "budget.accuracy_dorp", "did you mean 'accuracy_drop'"),
        ("budget: {accuracy: 90}", "budget.accuracy", "0.9 is 90 %"),
        ("budget: {accuracy_drop: true}", "budget.accuracy_drop", "expected a number"),
        ("budget: {calibration_error: 0.1, accuracy_top5: 0.9, accuracy_top5_drop: 0.1}", None, ""),
    ],
)
def test_limits_are_on_metrics_of_the_task(block, path, words):
    text = f"{SMALL}\n{block}\n"
    if path is None:
        assert loads(text).budget.limits == {"calibration_error": 0.1, "accuracy_top5": 0.9, "accuracy_top5_drop": 0.1}
        return
    with pytest.raises(RecipeError) as error:
        loads(text)
    (issue,) = error.value.issues
    assert issue.path == path
    assert words in issue.message
