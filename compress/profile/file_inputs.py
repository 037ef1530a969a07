"""Inputs to profile a file with: sizes of its free axes and arrays, from the user or generated.

A free axis without a size from the user gets a typical one; see `typical_sizes`.
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
from compress.core.language import gettext
from compress.core.signature import BATCH, NO_SIZES, Signature
from compress.profile.input_shapes import Shape, SizeRange, fit_shapes

NOT_GIVEN: Mapping[str, Shape] = MappingProxyType({})
NO_FEEDS: Feeds = MappingProxyType({})


@dataclass(frozen=True)
class FileInputs:
    """Inputs of one file.

    Attributes:
        signature: Signature of the file with a size for every free axis but the batch.
        batch: Batch size, if a shape or an array of the user sets it; else None.
        typical: Free axes with a typical size, because the user gave none.
        sweep: Axis to sweep and its range; None without a sweep.
        arrays: Inputs of the user by name; the other inputs are generated.
    """

    signature: Signature
    batch: int | None = None
    typical: tuple[str, ...] = ()
    sweep: tuple[str, SizeRange] | None = None
    arrays: Feeds = field(default_factory=dict)

    def feeds(self, batch: int = 1, *, sizes: Mapping[str, int] = NO_SIZES, noise: int | None = None) -> dict[str, Array]:
        """Inputs by name. Arrays of the user are used where their shape fits; the other inputs are generated.

        Args:
            batch: Batch size, if the user sets none.
            sizes: Sizes of free axes that replace those of the signature.
            noise: Seed for normal floats and random integers; None generates zeros, and the least allowed integers.
        """
        samples = self.samples(batch)
        generated = {name: tensor.numpy() for name, tensor in self.signature.example(samples, sizes=sizes, seed=noise).items()}
        return generated | {name: array for name, array in self.arrays.items() if generated[name].shape == array.shape}

    def feeds_of(self, batch: int) -> dict[str, Array]:
        """Inputs for a batch size of a sweep, whatever batch size the user set."""
        return replace(self, batch=None).feeds(batch)

    def samples(self, batch: int = 1) -> int:
        """Batch size: that of the user, else `batch`."""
        return batch if self.batch is None else self.batch

    def describe(self, batch: int = 1) -> str:
        """Shapes, with a note on typical sizes: `x 1×3×320×320 (height 320, width 320: typical, not given)`."""
        shapes = describe_feeds(self.feeds(batch))
        typical = ", ".join(f"{axis} {self.signature.size(axis)}" for axis in self.typical)
        return gettext("{shapes} ({typical}: typical, not given)", shapes=shapes, typical=typical) if typical else shapes


def load_feeds(path: Path) -> dict[str, Array]:
    """Named arrays of an .npz file; pickled objects are refused.

    Raises:
        DataError: The file cannot be read, or is not an .npz file of numbers.
    """
    try:
        file = np.load(path, allow_pickle=False)
        if not isinstance(file, np.lib.npyio.NpzFile):
            msg = gettext("{path} contains one array without a name; save inputs with numpy.savez(path, NAME=array)", path=path)
            raise DataError(msg)
        with file:
            arrays = {name: np.ascontiguousarray(file[name]) if file[name].ndim else file[name] for name in file.files}
    except OSError as error:
        msg = gettext(
            "cannot read {path}: {strerror}; give an .npz file of named arrays", path=path, strerror=error.strerror or error
        )
        raise DataError(msg) from error
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        msg = gettext(
            "{path} is not an .npz file of numbers ({error}); save inputs with numpy.savez(path, NAME=array)",
            path=path,
            error=error,
        )
        raise DataError(msg) from error
    return arrays


def plan_inputs(path: Path, *, shapes: Mapping[str, Shape] = NOT_GIVEN, arrays: Feeds = NO_FEEDS) -> FileInputs:
    """Check a file and determine its inputs.

    Args:
        path: ONNX file.
        shapes: Shapes of the user by input.
        arrays: Arrays of the user by input.

    Raises:
        ConversionError: The file cannot be read, is damaged, or has inputs of an unsupported type.
        SignatureError: A shape does not fit, or the file runs at no typical size.
        DataError: An array does not fit.
    """
    signature = read_signature(path)
    choice = fit_shapes(signature, {**_array_shapes(signature, arrays, path), **shapes}, str(path))
    user_sizes = {axis: size for axis, size in choice.sizes.items() if axis != BATCH}
    if choice.sweep is not None:
        user_sizes[choice.sweep[0]] = choice.sweep[1].most
    sized = signature.with_sizes(**user_sizes) if user_sizes else signature
    inputs = FileInputs(sized, choice.sizes.get(BATCH), (), choice.sweep, arrays)
    missing = tuple(axis for axis in signature.free_axes if axis not in (*sized.sizes, BATCH))
    if not missing:
        check_onnx_file(path, [feed_shapes(inputs.feeds())])
        return inputs
    candidates = [
        replace(inputs, signature=sized.with_sizes(**sizes), typical=missing) for sizes in candidate_sizes(signature, missing)
    ]
    result = check_onnx_file(path, [feed_shapes(candidate.feeds()) for candidate in candidates])
    if result.ran is None:
        if "Non-zero status code" not in result.refusal and "INVALID_ARGUMENT" not in result.refusal:
            return candidates[0]  # the file cannot be loaded; the measurement reports why
        tried = "; ".join(", ".join(f"{axis} {sizes.signature.size(axis)}" for axis in missing) for sizes in candidates)
        msg = gettext(
            "{path}: it runs at no typical size of its free axes (tried {tried}); give a size, "
            "for example --shape {example} ({refusal})",
            path=path,
            tried=tried,
            example=_example(candidates[0]),
            refusal=result.refusal[-300:],
        )
        raise SignatureError(msg)
    return candidates[result.ran]


def _example(inputs: FileInputs) -> str:
    return " --shape ".join(
        f"{spec.name}:{'x'.join(map(str, inputs.signature.shape_of(spec)))}" for spec in inputs.signature.inputs
    )


def _array_shapes(signature: Signature, arrays: Feeds, path: Path) -> dict[str, Shape]:
    """Shapes of the user's arrays.

    Raises:
        DataError: The file has no input of that name, or one of another type.
    """
    specs = {spec.name: spec for spec in signature.inputs}
    if unknown := [name for name in arrays if name not in specs]:
        inputs = "; ".join(map(str, signature.inputs))
        msg = gettext(
            "{path} has no input {unknown}; it has {inputs}", path=path, unknown=", ".join(map(repr, unknown)), inputs=inputs
        )
        raise DataError(msg)
    for name, array in arrays.items():
        if array.dtype.name != specs[name].dtype:
            msg = gettext(
                "array {name!r} is {dtype_name}, but the input of {path} is {specs}; convert it with .astype",
                name=name,
                dtype_name=array.dtype.name,
                path=path,
                specs=specs[name],
            )
            raise DataError(msg)
    return {name: array.shape for name, array in arrays.items()}
