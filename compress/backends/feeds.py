"""Inputs of a network by name: samples, and batches of samples for a file.

A sample contains each input with a batch axis of size 1, (1, …). An input of a file is either batch first, (N, …), or has no
batch axis, such as the state of a recurrent network (layers, batch, features) or a sampling rate. A file with an input without
batch axis runs one sample at a time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir

from compress.backends.runner_protocol import Array, Feeds, Shapes
from compress.core.errors import ConversionError
from compress.core.language import gettext
from compress.core.signature import Signature
from compress.data.batch import Batch, Split

InputShapes = Mapping[str, tuple[int | str | None, ...] | None]
"""Shape of each input of a file; a free axis is text or None; an unknown shape is None."""


def input_shapes(model: ir.Model) -> dict[str, tuple[int | str | None, ...] | None]:
    """Shapes of the inputs of a network."""
    return {
        str(value.name): None if value.shape is None else tuple(size if isinstance(size, int) else None for size in value.shape)
        for value in model.graph.inputs
    }


def feeds_size(feeds: Feeds) -> int:
    """Batch size: the smallest first axis, because an input without batch axis is fed with one sample only."""
    return min((len(array) for array in feeds.values() if array.ndim), default=1)


def name_feeds(feeds: Feeds, names: Sequence[str], network: str) -> dict[str, Array]:
    """Inputs by the names of a file. If file and data have one input each, names are ignored.

    Args:
        feeds: Inputs by the names of the data.
        names: Names of the inputs of the file.
        network: Name of the file for messages.

    Raises:
        ConversionError: An input of the file is not in the data.
    """
    if len(names) == len(feeds) == 1:
        return {names[0]: next(iter(feeds.values()))}
    if missing := [name for name in names if name not in feeds]:
        msg = gettext(
            "{network} has inputs {names}; the data has no {missing}, only {feeds}",
            network=network,
            names=", ".join(names),
            missing=", ".join(missing),
            feeds=", ".join(feeds),
        )
        raise ConversionError(msg)
    return {name: feeds[name] for name in names}


def resize_axis(feeds: Feeds, signature: Signature, axis: str, size: int) -> dict[str, Array]:
    """Inputs with another size of a free axis: longer ones are cut, shorter ones are repeated.

    Args:
        feeds: Inputs by the names of the signature.
        signature: Signature of the network.
        axis: Name of the axis.
        size: Size after the change.
    """
    resized = dict(feeds)
    for spec in signature.inputs:
        if spec.name in feeds and axis in spec.shape:
            position = spec.shape.index(axis)
            indices = np.arange(size) % feeds[spec.name].shape[position]
            resized[spec.name] = np.take(feeds[spec.name], indices, axis=position)
    return resized


def describe_feeds(feeds: Feeds) -> str:
    """Shapes of inputs as text: `ids 1×128, rate scalar`."""
    return ", ".join(f"{name} {'×'.join(map(str, array.shape)) or 'scalar'}" for name, array in feeds.items())


def whole_inputs(sample: Feeds, shapes: InputShapes) -> frozenset[str]:
    """Names of the inputs without batch axis in the file: a sample has one axis more than the file."""
    return frozenset(name for name, shape in shapes.items() if shape is not None and sample[name].ndim == len(shape) + 1)


def fixed_batch(shapes: InputShapes, whole: frozenset[str]) -> int | None:
    """Fixed batch size of a file; None if it is free."""
    if whole:
        return 1
    first = (shape[0] for shape in shapes.values() if shape)
    return next((size for size in first if isinstance(size, int)), None)


def check_shapes(feeds: Feeds, shapes: InputShapes, network: str) -> None:
    """Check the shapes of inputs, except for the first axis.

    Raises:
        ConversionError: An input has another number of axes, or another size in a fixed axis.
    """
    for name, shape in shapes.items():
        sizes = feeds[name].shape
        if shape is None or (len(shape) == len(sizes) and not any(map(_differ, shape[1:], sizes[1:]))):
            continue
        expected, actual = ("×".join(str(size or "any") for size in dims) or "scalar" for dims in (shape, sizes))
        msg = gettext(
            "input {name!r} of {network} has shape {expected}, but the data has {actual}; give data of that shape",
            name=name,
            network=network,
            expected=expected,
            actual=actual,
        )
        raise ConversionError(msg)


def _differ(expected: int | str | None, size: int) -> bool:
    return isinstance(expected, int) and expected != size


def fit_feeds(arrays: Feeds, shapes: Shapes, network: object) -> dict[str, Array]:
    """Inputs of a file from those of a batch; an input without batch axis is that of the first sample.

    Args:
        arrays: (N, …) each, by the names of the data.
        shapes: Shape and type of the inputs of the file.
        network: Name of the file for messages.

    Raises:
        ConversionError: The data has no such input, or one of another shape.
    """
    sizes = {name: shape for name, (shape, _) in shapes.items()}
    by_name = name_feeds(arrays, tuple(shapes), str(network))
    whole = whole_inputs(by_name, sizes)
    feeds = {name: array[0, ...] if name in whole else array for name, array in by_name.items()}
    check_shapes(feeds, sizes, str(network))
    return feeds


def make_batches(samples: Sequence[Feeds], model: ir.Model, size: int) -> list[dict[str, Array]]:
    """Batches of adjacent samples of equal shapes for a network.

    Args:
        samples: Inputs (1, …) by the names of the data.
        model: The network.
        size: Largest batch size, unless that of the network is fixed. The last batch may be smaller in either case.

    Raises:
        ConversionError: The data has no such input, or one of another shape.
    """
    shapes = input_shapes(model)
    feeds = [name_feeds(sample, tuple(shapes), gettext("the network")) for sample in samples]
    if not feeds:
        return []
    whole = whole_inputs(feeds[0], shapes)
    batches = [
        {name: array[0, ...] if name in whole else array for name, array in batch.items()}
        for batch in group_samples(feeds, fixed_batch(shapes, whole) or size)
    ]
    check_shapes(batches[0], shapes, gettext("the network"))
    return batches


def group_samples(samples: Sequence[Feeds], size: int) -> list[dict[str, Array]]:
    """Batches of at most `size` adjacent samples of equal shapes."""
    groups: list[list[Feeds]] = []
    for sample in samples:
        if groups and len(groups[-1]) < size and _shapes(groups[-1][0]) == _shapes(sample):
            groups[-1].append(sample)
        else:
            groups.append([sample])
    return [{name: np.concatenate([sample[name] for sample in group]) for name in group[0]} for group in groups]


def _shapes(sample: Feeds) -> dict[str, tuple[int, ...]]:
    return {name: array.shape for name, array in sample.items()}


def batch_samples(batch: Batch) -> list[dict[str, Array]]:
    """The samples of a batch on the CPU, each input (1, …)."""
    return [
        {name: np.ascontiguousarray(values[index : index + 1].numpy()) for name, values in batch.inputs.items()}
        for index in range(batch.size)
    ]


def first_feeds(model: ir.Model, split: Split, batch: int) -> dict[str, Array]:
    """The first samples of a split as one batch of a network.

    Args:
        model: The network.
        split: Samples.
        batch: Batch size, unless that of the network is fixed.
    """
    fixed = fixed_batch(input_shapes(model), frozenset())
    return make_batches(batch_samples(next(iter(split.ordered(fixed or batch)))), model, batch)[0]


def is_continuous(array: Array) -> bool:
    """Whether an input contains real numbers; only such inputs are quantized."""
    return array.dtype.kind == "f"
