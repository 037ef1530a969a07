"""Inputs that a file is profiled with: sizes of its free axes, given or typical, and arrays, given or made up.

A free axis without a given size gets a typical one, see `typical_sizes`.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np

from compress.backends.check_file import check_onnx_file
from compress.backends.feeds import describe_feeds
from compress.backends.file_signature import read_signature
from compress.backends.runner_protocol import Array, Feeds, feed_shapes
from compress.backends.typical_sizes import candidate_sizes
from compress.core.errors import DataError, SignatureError
from compress.core.signature import BATCH, NO_SIZES, Signature
from compress.profile.input_shapes import Shape, SizeRange, fit_shapes

NOT_GIVEN: Mapping[str, Shape] = MappingProxyType({})
NO_FEEDS: Feeds = MappingProxyType({})


@dataclass(frozen=True)
class FileInputs:
    """What one file is fed.

    Attributes:
        signature: Its inputs, with a size of every free axis but the batch.
        batch: Samples in one run, where a shape or an array says so; else None.
        typical: Free axes whose size is a typical one, because none was given.
        sweep: Axis whose sizes are swept, and its range; else None.
        arrays: Given inputs by name; the others are made up.
    """

    signature: Signature
    batch: int | None = None
    typical: tuple[str, ...] = ()
    sweep: tuple[str, SizeRange] | None = None
    arrays: Feeds = field(default_factory=dict)

    def feeds(self, batch: int = 1, *, sizes: Mapping[str, int] = NO_SIZES, noise: int | None = None) -> dict[str, Array]:
        """Inputs by name.

        Args:
            batch: Samples, where no shape or array says otherwise. Given inputs are only used at their own sizes.
            sizes: Of free axes, in place of their own.
            noise: Seed of normal noise for floats and random integers; None gives zeros, and the least value of integers.
        """
        samples = self.samples(batch)
        made_up = {name: tensor.numpy() for name, tensor in self.signature.example(samples, sizes=sizes, seed=noise).items()}
        given = {name: array for name, array in self.arrays.items() if made_up[name].shape == array.shape}
        return made_up | given

    def feeds_of(self, batch: int) -> dict[str, Array]:
        """Inputs of so many samples, for a sweep over the batch: made up, where given ones have another number."""
        return replace(self, batch=None).feeds(batch)

    def samples(self, batch: int = 1) -> int:
        """Samples in one run: the given ones, else `batch`."""
        return batch if self.batch is None else self.batch

    def describe(self, batch: int = 1) -> str:
        """Shapes, and which sizes are typical ones: `x 1×3×320×320 (height 320, width 320: typical, not given)`."""
        shapes = describe_feeds(self.feeds(batch))
        typical = ", ".join(f"{axis} {self.signature.size(axis)}" for axis in self.typical)
        return f"{shapes} ({typical}: typical, not given)" if typical else shapes


def load_feeds(path: Path) -> dict[str, Array]:
    """Named arrays of an .npz file; no code in it runs.

    Raises:
        DataError: There is none, or it is not an .npz file of numbers.
    """
    try:
        file = np.load(path, allow_pickle=False)
        if not isinstance(file, np.lib.npyio.NpzFile):
            msg = f"{path} holds one array without a name; save inputs with numpy.savez(path, NAME=array)"
            raise DataError(msg)
        with file:
            arrays = {name: np.ascontiguousarray(file[name]) if file[name].ndim else file[name] for name in file.files}
    except OSError as error:
        msg = f"cannot read {path}: {error.strerror or error}; give an .npz file of named arrays"
        raise DataError(msg) from error
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        msg = f"{path} is no .npz file of numbers ({error}); save inputs with numpy.savez(path, NAME=array)"
        raise DataError(msg) from error
    return arrays


def plan_inputs(path: Path, *, shapes: Mapping[str, Shape] = NOT_GIVEN, arrays: Feeds = NO_FEEDS) -> FileInputs:
    """Check a file, and choose what it is fed.

    Args:
        path: ONNX file.
        shapes: Given shapes by input.
        arrays: Given inputs by name.

    Raises:
        ConversionError: The file cannot be read, is damaged, or has inputs that cannot be fed.
        SignatureError: A shape does not fit, or no typical size runs.
        DataError: An array does not fit.
    """
    signature = read_signature(path)
    choice = fit_shapes(signature, {**_array_shapes(signature, arrays, path), **shapes}, str(path))
    given = {axis: size for axis, size in choice.sizes.items() if axis != BATCH}
    if choice.sweep is not None:
        given[choice.sweep[0]] = choice.sweep[1].most
    chosen = signature.with_sizes(**given) if given else signature
    inputs = FileInputs(chosen, choice.sizes.get(BATCH), (), choice.sweep, arrays)
    missing = tuple(axis for axis in signature.free_axes if axis not in (*chosen.sizes, BATCH))
    if not missing:
        check_onnx_file(path, [feed_shapes(inputs.feeds())])
        return inputs
    candidates = [
        replace(inputs, signature=chosen.with_sizes(**sizes), typical=missing) for sizes in candidate_sizes(signature, missing)
    ]
    result = check_onnx_file(path, [feed_shapes(candidate.feeds()) for candidate in candidates])
    if result.ran is None:
        if "Non-zero status code" not in result.refusal and "INVALID_ARGUMENT" not in result.refusal:
            return candidates[0]  # it cannot be loaded; whoever runs it says why
        tried = "; ".join(", ".join(f"{axis} {sizes.signature.size(axis)}" for axis in missing) for sizes in candidates)
        msg = (
            f"{path}: no typical size fits its free axes (tried {tried}); give one, "
            f"for example --shape {_example(candidates[0])} ({result.refusal[-300:]})"
        )
        raise SignatureError(msg)
    return candidates[result.ran]


def _example(inputs: FileInputs) -> str:
    return " --shape ".join(
        f"{spec.name}:{'x'.join(map(str, inputs.signature.shape_of(spec)))}" for spec in inputs.signature.inputs
    )


def _array_shapes(signature: Signature, arrays: Feeds, path: Path) -> dict[str, Shape]:
    """Shapes of given inputs.

    Raises:
        DataError: One has no input in the file, or another type.
    """
    specs = {spec.name: spec for spec in signature.inputs}
    if unknown := [name for name in arrays if name not in specs]:
        inputs = "; ".join(map(str, signature.inputs))
        msg = f"the given inputs {', '.join(map(repr, unknown))} are none of {path}; it takes {inputs}"
        raise DataError(msg)
    for name, array in arrays.items():
        if array.dtype.name != specs[name].dtype:
            msg = f"the given input {name!r} is {array.dtype.name}, and {path} takes {specs[name]}; convert it with .astype"
            raise DataError(msg)
    return {name: array.shape for name, array in arrays.items()}
