"""Inputs of a network by name: samples, and the batches of them that a file takes.

A sample holds each input with an axis of size 1 before it, (1, …). A file takes an input either batch first, (N, …), or as it
is without that axis, such as the state of a recurrent network (layers, batch, features) or a sampling rate. A file with an
input of the second kind takes one sample at a time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir

from compress.backends.runner_protocol import Array, Feeds, Shapes
from compress.core.errors import ConversionError
from compress.data.batch import Batch, Split

InputShapes = Mapping[str, tuple[int | str | None, ...] | None]
"""Shape of each input of a file; a free axis is text or None, and None stands for an unknown shape."""


def input_shapes(model: ir.Model) -> dict[str, tuple[int | str | None, ...] | None]:
    """Shapes of the inputs of a network."""
    return {
        str(value.name): None if value.shape is None else tuple(size if isinstance(size, int) else None for size in value.shape)
        for value in model.graph.inputs
    }


def feeds_size(feeds: Feeds) -> int:
    """Number of samples in a batch: the least first axis, because an input that is not batch first comes with one sample."""
    return min((len(array) for array in feeds.values() if array.ndim), default=1)


def name_feeds(feeds: Feeds, names: Sequence[str], network: str) -> dict[str, Array]:
    """The inputs that a file takes, by its names. A file with one input takes that of the data, whatever its name.

    Args:
        feeds: By the names of the data.
        names: Of the file's inputs.
        network: Names the file in messages.

    Raises:
        ConversionError: The data lacks an input of the file.
    """
    if len(names) == len(feeds) == 1:
        return {names[0]: next(iter(feeds.values()))}
    if missing := [name for name in names if name not in feeds]:
        lacking, present = ", ".join(missing), ", ".join(feeds)
        msg = f"{network} has inputs {', '.join(names)}; the data has no {lacking}, it gives {present}"
        raise ConversionError(msg)
    return {name: feeds[name] for name in names}


def describe_feeds(feeds: Feeds) -> str:
    """Shapes of inputs in words: `ids 1×128, rate scalar`."""
    return ", ".join(f"{name} {'×'.join(map(str, array.shape)) or 'scalar'}" for name, array in feeds.items())


def whole_inputs(sample: Feeds, shapes: InputShapes) -> frozenset[str]:
    """Inputs that a file takes without the axis of samples: a sample has one axis more than the file asks for."""
    return frozenset(name for name, shape in shapes.items() if shape is not None and sample[name].ndim == len(shape) + 1)


def fixed_batch(shapes: InputShapes, whole: frozenset[str]) -> int | None:
    """Samples that a file takes in one run; None where it takes any number."""
    if whole:
        return 1
    first = (shape[0] for shape in shapes.values() if shape)
    return next((size for size in first if isinstance(size, int)), None)


def check_shapes(feeds: Feeds, shapes: InputShapes, network: str) -> None:
    """Check inputs against the shapes of a file, the batch apart.

    Raises:
        ConversionError: One has another number of axes, or another size where the file's is fixed.
    """
    for name, shape in shapes.items():
        sizes = feeds[name].shape
        if shape is None or (len(shape) == len(sizes) and not any(map(_differ, shape[1:], sizes[1:]))):
            continue
        expected, present = ("×".join(str(size or "any") for size in each) or "scalar" for each in (shape, sizes))
        msg = f"{network} takes input {name!r} of shape {expected}, and the data gives {present}; give data of that shape"
        raise ConversionError(msg)


def _differ(expected: int | str | None, size: int) -> bool:
    return isinstance(expected, int) and expected != size


def fit_feeds(arrays: Feeds, shapes: Shapes, network: object) -> dict[str, Array]:
    """The inputs of a file out of those of a batch: by its names; the first sample alone of an input that is not batch first.

    Args:
        arrays: (N, …) each, by the names of the data.
        shapes: Shape and type of the file's inputs.
        network: Names the file in messages.

    Raises:
        ConversionError: The data lacks an input, or has another shape.
    """
    sizes = {name: shape for name, (shape, _) in shapes.items()}
    named = name_feeds(arrays, tuple(shapes), str(network))
    whole = whole_inputs(named, sizes)
    feeds = {name: array[0, ...] if name in whole else array for name, array in named.items()}
    check_shapes(feeds, sizes, str(network))
    return feeds


def make_batches(samples: Sequence[Feeds], model: ir.Model, size: int) -> list[dict[str, Array]]:
    """Samples as batches of a network: neighbours of equal shapes together, at most `size`, or as many as the network takes.

    Args:
        samples: Each input (1, …), by the names of the data.
        model: The network.
        size: Samples in a batch, where the network's own is not fixed. A rest that is smaller than a fixed batch stays.

    Raises:
        ConversionError: The data lacks an input, or has other shapes.
    """
    shapes = input_shapes(model)
    named = [name_feeds(sample, tuple(shapes), "the network") for sample in samples]
    if not named:
        return []
    whole = whole_inputs(named[0], shapes)
    batches = [
        {name: array[0, ...] if name in whole else array for name, array in batch.items()}
        for batch in group_samples(named, fixed_batch(shapes, whole) or size)
    ]
    check_shapes(batches[0], shapes, "the network")
    return batches


def group_samples(samples: Sequence[Feeds], size: int) -> list[dict[str, Array]]:
    """Neighbouring samples of equal shapes as batches of at most `size`."""
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
        batch: How many, where the network's own batch is not fixed.
    """
    fixed = fixed_batch(input_shapes(model), frozenset())
    return make_batches(batch_samples(next(iter(split.ordered(fixed or batch)))), model, batch)[0]


def is_continuous(array: Array) -> bool:
    """Whether an input holds real numbers; only such inputs are quantized."""
    return array.dtype.kind == "f"
