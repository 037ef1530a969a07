"""Inputs by name for the verification of networks with several inputs, integers or free axes: noise, or arrays of a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from compress.backends.file_signature import read_signature
from compress.backends.random_inputs import load
from compress.backends.runner_protocol import Array
from compress.core.errors import DataError
from compress.core.language import gettext
from compress.core.signature import TensorSpec, axes_fit
from compress.data.settings import DataSettings, DataSource
from compress.profile.file_inputs import load_feeds


def noise(model: Path, count: int) -> dict[str, Array]:
    """Noise for each input, (N, …), with values that the graph allows and sizes of free axes at which the network runs.

    Args:
        model: ONNX file.
        count: N.

    Raises:
        ConversionError: The file has unsupported inputs, or runs at no typical size of its free axes.
    """
    settings = DataSettings(source=f"random:{model}", evaluation_limit=count)
    data = load(settings, DataSource("random", str(model), Path()))
    batch = next(iter(data.test.ordered(count)))
    return {name: tensor.numpy() for name, tensor in batch.inputs.items()}


def read_feeds(model: Path, path: Path) -> dict[str, Array]:
    """Samples of an .npz file.

    Args:
        model: ONNX file.
        path: An array (N, …) for each input of the network: the samples along the first axis.

    Raises:
        ConversionError: The model has unsupported inputs.
        DataError: The file cannot be read, or an array is missing, unknown, of another type or shape, or of another N.
    """
    arrays, specs = load_feeds(path), {spec.name: spec for spec in read_signature(model).inputs}
    if arrays.keys() != specs.keys():
        msg = gettext(
            "{path} has arrays {present}, and {model} takes {inputs}; give an array for each input, and no other",
            path=path,
            present=", ".join(arrays) or gettext("none"),
            model=model,
            inputs="; ".join(map(str, specs.values())),
        )
        raise DataError(msg)
    sizes = {name: len(array) if array.ndim else 0 for name, array in arrays.items()}
    if len(set(sizes.values())) > 1 or not all(sizes.values()):
        listed = ", ".join(f"{name} {size}" for name, size in sizes.items())
        msg = gettext(
            "{path} has arrays of different numbers of samples ({listed}); the first axis of each array counts the samples",
            path=path,
            listed=listed,
        )
        raise DataError(msg)
    for name, array in arrays.items():
        _check_array(path, array, specs[name])
    return {name: arrays[name] for name in specs}


def _check_array(path: Path, array: Array, spec: TensorSpec) -> None:
    """Check type and shape: the first axis replaces that of a batch, or counts the samples of an input without batch."""
    axes = spec.shape[1:] if array.ndim == len(spec.shape) else spec.shape
    if axes_fit(axes, array.shape[1:]) and array.dtype == np.dtype(spec.dtype):
        return
    msg = gettext(
        "{path}: array {name!r} is {dtype} {shape}, which does not fit the input {spec}; give the samples along the first axis",
        path=path,
        name=spec.name,
        dtype=array.dtype,
        shape="×".join(map(str, array.shape)),
        spec=spec,
    )
    raise DataError(msg)
