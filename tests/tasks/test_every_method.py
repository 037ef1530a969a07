"""Every method that a recipe can name either runs on a task or is refused when the recipe is validated, whatever the task."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from compress import Distill, Export, Prune, Quantize, Train
from compress.backends.export_onnx import export_onnx
from compress.backends.run_split import run_split
from compress.config.task_requirements import check_task, with_task_losses
from compress.core.registry import entries, lookup, names
from compress.core.stage import Candidate, Stage
from compress.data import factory
from compress.data.interface import Data
from compress.data.settings import DataSettings
from compress.dataset_distillation.stage import DatasetDistillation
from compress.models.detectors import SmallDetector
from compress.models.segmenters import SmallSegmenter
from compress.pipeline.task_data import data_for_task
from compress.substitute.stage import Substitute
from compress.tasks.base import Task
from compress.tasks.capability import CAPABILITIES
from compress.tasks.choice import TaskChoice
from tests.tasks import keypoints, kinds

SIZE = (16, 32)
QUICK = {"epochs": 1, "batch_size": 12}
OTHER_TEACHERS = (
    "distilled",
    "function",
    "knowledge_augmentation",
    "prompted",
    "prompted_parent",
    "soft_label_file",
    "student_aware_router",
    "teacher",
)
"""Teachers that are not made of the network alone; their own tests cover them."""
OF_TRANSFORMERS = (
    "attention_maps",
    "attention_scores",
    "dynamic_hidden_states",
    "embedding",
    "hidden_cosine",
    "hidden_states",
    "relations",
    "value_relation",
)
"""Losses on layers that the networks here have not, which is no matter of the task."""


@dataclass(frozen=True)
class Case:
    """A task with data and a network."""

    task: Task
    data: Data
    network: nn.Module

    def candidate(self) -> Candidate:
        return Candidate(self.data.spec, copy.deepcopy(self.network))


def from_arrays(name: str) -> Case:
    kind = kinds.KINDS[name]
    parts = [kinds.arrays(kind, seed) for seed in range(3)]
    loaders = [
        DataLoader(TensorDataset(*(torch.from_numpy(part[key])[:24] for key in (*kind.inputs, "target"))), batch_size=12)
        for part in parts
    ]
    task = TaskChoice.read(kind.task).make()
    signature = None if [*kind.inputs] == ["input"] else [*kind.inputs]
    data = Data.from_loaders(*loaders, classes=["a", "b", "c"], task=task, signature=signature)
    return Case(task, data, kinds.network(data.spec))


def of_images(source: str, task: Task, network: Callable[[int], nn.Module]) -> Case:
    settings = DataSettings(source=source, image_size=SIZE, samples=62, limit=24, evaluation_limit=12, augment="none")
    data = data_for_task(factory.load_data(settings, base=Path()), task)
    return Case(task, data, network(len(data.spec.classes)))


@cache
def case(name: str) -> Case:
    torch.manual_seed(0)
    if name == "keypoints":
        task = keypoints.Keypoints()
        data = data_for_task(keypoints.data(None), task)
        return Case(task, data, keypoints.network(data.spec))
    if name == "segmentation":
        return of_images("shapes_masks", lookup("task", name).load()(), lambda k: SmallSegmenter(k, width=8, depth=2))
    if name == "detection":
        return of_images("drawn_boxes", lookup("task", name).load()(), lambda k: SmallDetector(k, SIZE, width=8))
    return from_arrays(name)


TASKS = ("grey", "two_inputs", "volume", "multilabel", "age", "angle", "segmentation", "detection", "keypoints")


Chosen = tuple[str, type[Stage], dict[str, Any]]
"""Name of a method, and the stage that it is in."""
CUT = {"recover": {**QUICK, "teacher": "parent"}, "timing_seconds": 0, "schedule": {"kind": "one_shot"}, "batches": 1}
CURRICULA = {
    "mixup": (1.0,),
    "cutmix": (1.0,),
    "erase": (0.5,),
    "mine": ("teacher_error", "student_loss", "disagreement"),
    "temperature": ("entropy", "learned"),
    "balance": ("uncertainty", "gradient_norm"),
}


STUDENT_WRITES: dict[str, object] = {"student": 1.0}
OF_WRITTEN_TEXTS = {
    "environment_reward": {**STUDENT_WRITES, "reward": "rouge_l"},
    "llmr": STUDENT_WRITES,
    "minillm": STUDENT_WRITES,
}
"""Losses on texts that the student writes in training, and how it writes them."""


def of_training() -> Iterator[Chosen]:
    for loss in sorted(set(names("loss")) - set(OF_TRANSFORMERS)):
        written = {"generation": OF_WRITTEN_TEXTS[loss]} if loss in OF_WRITTEN_TEXTS else {}
        yield f"loss {loss}", Distill, {"losses": ({loss: {}},), "teacher": "parent", **written, **QUICK}
    for teacher in names("teacher"):
        if teacher not in OTHER_TEACHERS:
            yield f"teacher {teacher}", Distill, {"teacher": {teacher: {}}, **QUICK}
    for field, values in CURRICULA.items():
        for value in values:
            yield f"curriculum {field} {value}", Distill, {"teacher": "parent", "curriculum": {field: value}, **QUICK}
    yield "label smoothing", Train, {"label_smoothing": 0.1, **QUICK}
    yield "likeliest classes", Distill, {"teacher": "parent", "cache": {"k": 2}, **QUICK}
    yield "control", Distill, {"teacher": "parent", "control": True, **QUICK}
    for synthesis in names("synthesis"):
        settings = {"method": {synthesis: {}}, "images_per_class": 1, "teacher": "parent"}
        yield f"synthesis {synthesis}", DatasetDistillation, settings


def of_pruning() -> Iterator[Chosen]:
    weights, channels = {"granularity": "weight", "target": {"sparsity": 0.5}}, {"target": {"macs": 0.8}}
    yield "granularity channel", Prune, {**channels, **CUT}
    for granularity in ("weight", "block", "n:m"):
        yield f"granularity {granularity}", Prune, {**weights, "granularity": granularity, **CUT}
    for row in entries("importance"):
        target = weights if row.options.get("scores") == ("weights",) else channels
        yield f"importance {row.name}", Prune, {"importance": row.name, **target, **CUT}
    for row in entries("schedule"):
        target = weights if "granularities" in row.options else channels
        schedule = {"kind": row.name} if row.options.get("single_step") else {"kind": row.name, "steps": 2}
        yield f"schedule {row.name}", Prune, {**CUT, **target, "importance": "magnitude", "schedule": schedule}
    for row in entries("penalty"):
        training = {"kind": row.name, **QUICK}
        yield f"penalty {row.name}", Prune, {**channels, "importance": "magnitude", "sparse_training": training, **CUT}
    yield "substitute", Substitute, {"activations": "relu6", "recover": QUICK, "timing_seconds": 0, "images": 12}


def of_quantization() -> Iterator[Chosen]:
    static = {"calibration": {"samples": 16}, "accept_if": None}
    for method in names("range"):
        yield f"range {method}", Quantize, {**static, "calibration": {"method": method, "samples": 16}}
    for row in entries("rounding"):
        weights = {"rounding": row.name} | ({"iterations": 3} if row.options.get("iterative") else {})
        yield f"rounding {row.name}", Quantize, {**static, "ptq": {"weights": weights}}
    for correction in names("bias_correction"):
        yield f"bias_correction {correction}", Quantize, {**static, "ptq": {"bias_correction": correction}}
    for name, value in (("equalize", True), ("smooth", 0.5)):
        yield f"ptq_pass {name}", Quantize, {**static, "ptq": {name: value}}
    for scheme in ("dynamic_int8", "weight_int8", "weight_int4", "fp16"):
        yield f"scheme {scheme}", Quantize, {"scheme": scheme, "accept_if": None}
    yield "learned ranges", Quantize, {**static, "calibration": {"samples": 16, "learn_epochs": 1}}
    yield "mixed precision", Quantize, {**static, "mixed": {"seconds": 1.0}}
    yield "recovery", Quantize, {**static, "recover": QUICK}
    yield "acceptance", Quantize, {**static, "accept_if": {"seconds": 0.02}}
    yield "tolerance of classes", Export, {"tolerance": {"top1": 0.01, "relative": 1.0}}


METHODS = {
    name: partial(kind, **settings) for part in (of_training, of_pruning, of_quantization) for name, kind, settings in part()
}


def missing(case: Case, stage: Stage) -> list[str]:
    return [message for _, message in check_task(case.task, [(("stage",), stage)], case.data.spec)]


def run(case: Case, stage: Stage, make_context: Callable[..., Any], folder: Path) -> None:
    file = folder / "float.onnx"
    network = copy.deepcopy(case.network).eval()
    export_onnx(network, case.data.spec, file)
    settings = {"to_onnx": lambda _: file, "float_file": file, "load_float_network": lambda: copy.deepcopy(network)}
    context = make_context(case.data, task=case.task, base=folder, **settings)
    outcome = stage.run(Candidate(case.data.spec, network), context)
    after = outcome.candidate
    result = run_split(after.module if after.module is not None else after.artifact[1], case.data.validation, case.task)
    assert result.not_finite == 0


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("task", TASKS)
def test_a_method_runs_or_is_refused_before_anything_runs(task, method, make_context, tmp_path):
    chosen = case(task)
    stage = with_task_losses(METHODS[method](), chosen.task)
    reasons = missing(chosen, stage)
    if not reasons:
        run(chosen, stage, make_context, tmp_path)
    for reason in reasons:
        assert any(f"needs {needed}" in reason or f"and {needed}" in reason for needed in CAPABILITIES.values())


@pytest.mark.parametrize("task", TASKS)
def test_all_losses_that_are_not_refused_train_together(task, make_context, tmp_path):
    """The quick half of the test above."""
    chosen = case(task)
    losses = [name.removeprefix("loss ") for name in METHODS if name.startswith("loss ")]
    allowed = [name for name in losses if not missing(chosen, METHODS[f"loss {name}"]())]
    assert {"task", "squared_error", "hint"} <= set(allowed)
    assert ("response" in allowed) == ("class_rows" in chosen.task.capabilities)
    together = tuple({name: {"weight": 0.1}} for name in allowed)
    run(chosen, Distill(losses=together, teacher="parent", **QUICK), make_context, tmp_path)
