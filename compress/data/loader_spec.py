"""Splits and network specification of the caller's loaders."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

from torch.utils.data import DataLoader

from compress.core.errors import DataError
from compress.core.fact import Fact
from compress.core.language import gettext
from compress.core.network_spec import ImagePreprocessing, NetworkSpec, Resize
from compress.core.signature import BATCH, Signature, TensorSpec
from compress.data.dataloader_split import LoaderSplit
from compress.data.loader_checks import find_repeats_in_loader, find_unstable_samples
from compress.data.loader_resizing import FILES, find_resizing
from compress.data.read_batch import BatchLayout
from compress.data.split_checks import find_missing_classes

if TYPE_CHECKING:
    from compress.tasks.base import Task


@dataclass(frozen=True)
class Normalization:
    """Preprocessing of the loaders.

    Attributes:
        mean: Mean per channel, subtracted from pixels in [0, 1].
        std: Standard deviation per channel.
        resize: How images are scaled to the input.
    """

    mean: Sequence[float]
    std: Sequence[float]
    resize: Resize | None


def read_loaders(
    loaders: Mapping[str, DataLoader[object]],
    task: Task,
    classes: Sequence[object],
    signature: Signature | Sequence[str] | None,
    normalization: Normalization,
) -> tuple[NetworkSpec, list[LoaderSplit], tuple[Fact, ...]]:
    """The specification, the splits in the order of the loaders, and facts about wrong or undefined metrics.

    Args:
        loaders: Loaders by name of the split, the first for training, the last for test.
        task: Task, which defines the targets.
        classes: Class names.
        signature: The inputs, or only their names; None for one image.
        normalization: Preprocessing of images.

    Raises:
        DataError: A loader cannot be read, or its batches do not fit.
    """
    names = _class_names(classes, least=2 if "class_targets" in task.capabilities else 0)
    layout = _layout(task.targets(names), signature)
    splits = [LoaderSplit(loader, name, layout) for name, loader in loaders.items()]
    _check_alike(splits)
    spec = NetworkSpec(signature=layout.signature or Signature(inputs=splits[0].inputs), classes=names)
    facts = _equal_samples(splits)
    for split in splits[1:]:
        facts += find_repeats_in_loader(split) + find_unstable_samples(split)
    if layout.inputs is None or spec.image_channels is not None:
        spec = spec.model_copy(update={"preprocessing": _image_preprocessing(spec.image_channels or 0, normalization)})
        facts += _outside_normalisation(splits, spec)
        if isinstance(spec.signature.inputs[0].shape[-1], int):
            resize, differing = find_resizing(splits[-1].image_files(FILES), spec)
            spec = spec.model_copy(update={"preprocessing": spec.image.model_copy(update={"resize": resize})})
            facts += differing
    spec = task.complete_spec(spec)
    if "class_targets" in task.capabilities:
        labels = {split.name: split.labels for split in splits[1:]}
        facts += find_missing_classes({name: values for name, values in labels.items() if values is not None}, spec.classes)
    return spec, splits, facts


def _layout(targets: tuple[TensorSpec, ...], signature: Signature | Sequence[str] | None) -> BatchLayout:
    if signature is None:
        return BatchLayout(None, targets)
    if isinstance(signature, Signature):
        unsized = [axis for axis in signature.free_axes if axis not in signature.sizes and axis != BATCH]
        if unsized:
            axis = unsized[0]
            msg = gettext(
                "the signature has no sizes for the free axis {axis!r}; add sizes={{{axis!r}: (least, typical, most)}}",
                axis=axis,
            )
            raise DataError(msg)
        return BatchLayout(tuple(each.name for each in signature.inputs), targets, signature)
    if isinstance(signature, str) or not signature:
        msg = gettext(
            "signature is {signature!r}; give a Signature, or a list with the names of the inputs", signature=signature
        )
        raise DataError(msg)
    return BatchLayout(tuple(signature), targets)


def _check_alike(splits: Sequence[LoaderSplit]) -> None:
    if splits[0].layout.signature is not None:
        return
    first = splits[0].inputs
    for split in splits[1:]:
        for spec, other in zip(first, split.inputs, strict=True):
            if spec.dtype != other.dtype:
                msg = gettext(
                    "{name} loader gives {spec_name} as {dtype}, the train loader as {spec_dtype}",
                    name=split.name,
                    spec_name=spec.name,
                    dtype=other.dtype,
                    spec_dtype=spec.dtype,
                )
                raise DataError(gettext("{msg}; make them the same", msg=msg))
            if spec.shape != other.shape:
                shapes = (other.sample_shape, spec.sample_shape)
                msg = gettext("{} loader gives samples of shape {}, the train loader {}; make them the same")
                raise DataError(msg.format(split.name, *shapes))


def _class_names(classes: Sequence[object], least: int) -> tuple[str, ...]:
    names = tuple(map(str, classes))
    if len(names) < least or len(set(names)) < len(names):
        msg = gettext(
            "classes are {names}; a classifier needs two or more, with different names", names=", ".join(names) or "none"
        )
        raise DataError(msg)
    return names


def _image_preprocessing(channels: int, normalization: Normalization) -> ImagePreprocessing:
    return ImagePreprocessing(
        mean=_per_channel("mean", normalization.mean, channels),
        std=_per_channel("std", normalization.std, channels),
        resize=normalization.resize,
    )


def _outside_normalisation(splits: Sequence[LoaderSplit], spec: NetworkSpec) -> tuple[Fact, ...]:
    """A fact if values are outside the range of pixels in [0, 1] with this mean and standard deviation."""
    low, high = min(split.range[0] for split in splits), max(split.range[1] for split in splits)
    lowest = min((0 - mean) / std for mean, std in zip(spec.mean, spec.std, strict=True))
    highest = max((1 - mean) / std for mean, std in zip(spec.mean, spec.std, strict=True))
    if lowest - 1e-3 <= low and high <= highest + 1e-3:
        return ()
    return (Fact.of("data.normalised_by_unknown_values", low=low, high=high, mean=spec.mean, std=spec.std),)


def _equal_samples(splits: Sequence[LoaderSplit]) -> tuple[Fact, ...]:
    """Facts about equal samples in two loaders, among the samples that were read."""
    return tuple(
        Fact.of("data.equal_samples_in_loaders", first=first.name, second=second.name, count=count, probed=len(second.probed))
        for first, second in combinations(splits, 2)
        if (count := len(first.probed & second.probed))
    )


def _per_channel(name: str, values: Sequence[float], channels: int) -> tuple[float, ...]:
    if not all(math.isfinite(value) and (name == "mean" or value > 0) for value in values):
        msg = gettext(
            "{name} is {values}; it must be finite, and a standard deviation above 0", name=name, values=tuple(values)
        )
        raise DataError(msg)
    if len(values) == channels:
        return tuple(values)
    if len(set(values)) == 1:
        return (values[0],) * channels
    msg = gettext(
        "{name} has {count} values, the images have {channels} channels; give one for each",
        name=name,
        count=len(values),
        channels=channels,
    )
    raise DataError(msg)
