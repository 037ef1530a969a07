"""Checks whether data, task and stages of a plan fit together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from compress.config.key_path import format_path
from compress.config.task_requirements import check_task
from compress.core.errors import DataError, RecipeError, ValidationIssue
from compress.core.language import gettext
from compress.core.registry_field import name_of
from compress.core.stage import Stage
from compress.data.split_checks import refuse_unlabelled
from compress.tasks.anomaly import Anomaly
from compress.tasks.classification import Classification
from compress.tasks.outputs import Outputs

if TYPE_CHECKING:
    from torch import nn

    from compress.core.network_spec import NetworkSpec
    from compress.data.batch import Split
    from compress.data.interface import Data
    from compress.tasks.base import Task


def data_for_task(
    data: Data,
    task: Task,
    given: Path | None = None,
    *,
    converted: bool = False,
    start: Callable[[NetworkSpec], tuple[nn.Module, str]] | None = None,
) -> Data:
    """The data with the outputs of the task in their specification.

    Args:
        data: Data of the source.
        task: The task.
        given: The ONNX file at the start of the chain, whose outputs are the targets of a task without labels.
        converted: Whether the file is converted to a torch network, whose inputs and outputs are those of the file.
        start: Builds the torch network at the start of the chain, for a task without labels, whose targets its outputs are
            where no file is given; with what identifies its weights.

    Raises:
        DataError: They are for another task; validation or test samples have no label; anomaly detection has no good part to
            train on; a classifier has training samples of one class alone; or a task without labels has no network to
            compare with.
        ConversionError: The file cannot be compressed, or one that is converted takes other inputs than the data.
    """
    data = replace(data, spec=task.complete_spec(data.spec))
    _check_labels(data, task)
    if isinstance(task, Anomaly):
        return replace(data, train=_good_parts(data.train, task.for_spec(data.spec)))
    if isinstance(task, Classification):
        _check_two_classes(data, task)
    if given is not None and converted:
        from compress.models.sources.onnx_conversion import converted_spec

        data = replace(data, spec=converted_spec(given, data.spec))
    if not isinstance(task, Outputs):
        return data
    from compress.backends.reference_targets import with_network_targets, with_reference_targets

    if given is None:
        if start is None:
            raise DataError(gettext("task outputs compares with a trained network at the start of the chain; give one"))
        network, identity = start(data.spec)
        return with_network_targets(data, network, task, identity)
    from compress.models.sources.onnx_file import check_contents
    from compress.models.text.token_range import check_tokens_of_file

    check_contents(given)  # before anything runs the file
    check_tokens_of_file(given, data.spec)
    return with_reference_targets(data, given, task)


def takes_class_numbers(task: Task, spec: NetworkSpec) -> bool:
    """Whether the task's only target is one class number for each sample."""
    targets = task.targets(spec.classes)
    return len(targets) == 1 and targets[0].values is not None and len(targets[0].shape) == 1


def _check_labels(data: Data, task: Task) -> None:
    """Refuse validation and test samples without a label, where labels are known without reading the samples.

    Raises:
        DataError: There are such samples.
    """
    from compress.data.image_split import ImageSplit
    from compress.data.named_split import NamedSplit
    from compress.data.sources.npz import ArraySplit
    from compress.data.text.split import TextSplit

    if not takes_class_numbers(task, data.spec):
        return
    for name, split in (("validation", data.validation), ("test", data.test)):
        labels = split.labels if isinstance(split, ImageSplit | NamedSplit | ArraySplit | TextSplit) else None
        if labels is not None:
            refuse_unlabelled(labels, name)


def _check_two_classes(data: Data, task: Task) -> None:
    """Refuse a training split of one class, which a classifier learns nothing from.

    Raises:
        DataError: All training samples are of one class.
    """
    from compress.data.image_split import ImageSplit

    labels = set(data.train.labels.tolist()) if isinstance(data.train, ImageSplit) else set()
    if len(labels) == 1 and min(labels) >= 0:
        name, classes = data.spec.classes[labels.pop()], ", ".join(data.spec.classes)
        msg = gettext(
            "all training samples are of class {name!r} of {classes}, and the task {task} learns to distinguish classes; add "
            "samples of the others to the training split, or use the task anomaly, which trains on good parts alone",
            name=name,
            classes=classes,
            task=task.name,
        )
        raise DataError(msg)


def _good_parts(train: Split, task: Anomaly) -> Split:
    """The good parts of the training split; all of it where its samples cannot be selected, as in loaders of the user's own.

    Raises:
        DataError: There are none.
    """
    from compress.data.image_split import ImageSplit

    if not isinstance(train, ImageSplit):
        return train
    good = train.of_class(task.good_index)
    if not len(good):
        msg = gettext(
            "task anomaly trains on good parts, and the training split has none; add some, or name their class as `good`"
        )
        raise DataError(msg)
    return good


def check_requirements(name: str, task: Task, data: Data, stages: Sequence[Stage]) -> None:
    """Check that the task has, for these data, the capabilities that the stages need.

    Raises:
        RecipeError: A capability is missing; all methods that need one are listed.
    """
    blocks = [(("stages", index, name_of("stage", stage)), stage) for index, stage in enumerate(stages)]
    issues = [ValidationIssue(message, format_path(path)) for path, message in check_task(task, blocks, data.spec)]
    if issues:
        raise RecipeError(gettext("pipeline {name!r}", name=name), issues)


def check_targets(task: Task, data: Data) -> None:
    """Check that two validation samples have the targets of the task.

    Raises:
        DataError: The targets differ.
    """
    task.check_batch(next(iter(data.validation.ordered(2))), data.spec)
