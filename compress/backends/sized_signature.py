"""Signature of an ONNX file with a size for each free axis, and the shape of one sample of each input."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from compress.backends.file_signature import read_signature
from compress.backends.typical_sizes import running_sizes
from compress.core.errors import ConversionError
from compress.core.language import gettext
from compress.core.signature import BATCH, AxisSizes, Signature, TensorSpec

NO_SIZES: Mapping[str, int] = MappingProxyType({})


def sized_signature(path: Path, sizes: Mapping[str, int] = NO_SIZES) -> Signature:
    """Signature of a file; a free axis without size in `sizes` or in the file has a typical size with which the file runs.

    Args:
        path: ONNX file.
        sizes: Sizes of free axes by name.

    Raises:
        ConversionError: The file is not ONNX or has no supported inputs, or `sizes` names an axis that is not free.
    """
    signature = read_signature(path)
    free = [axis for axis in signature.free_axes if axis != BATCH]
    if unknown := [axis for axis in sizes if axis not in free]:
        msg = gettext(
            "{path} has no free axis {unknown}; its free axes are {free}",
            path=path,
            unknown=", ".join(unknown),
            free=", ".join(free) or "none",
        )
        raise ConversionError(msg)
    known = {axis: axis_sizes.typical for axis, axis_sizes in signature.sizes.items()} | dict(sizes)
    missing = [axis for axis in free if axis not in known]
    with_known = signature.with_sizes(**{axis: known[axis] for axis in free if axis in known})
    all_sizes = known | running_sizes(path, with_known, missing) if missing else known
    exact = {axis: AxisSizes(all_sizes[axis], all_sizes[axis], all_sizes[axis]) for axis in free}
    return signature.model_copy(update={"sizes": exact})


def is_batch_first(spec: TensorSpec) -> bool:
    """Whether the first axis of an input is the batch: it is free, or 1 and followed by another axis."""
    return spec.shape[:1] == (BATCH,) or (len(spec.shape) > 1 and spec.shape[0] == 1)


def sample_shape(spec: TensorSpec, signature: Signature) -> tuple[int, ...]:
    """Shape of one sample of an input, without batch axis if the input has one."""
    shape = signature.shape_of(spec, {BATCH: 1})
    return shape[1:] if is_batch_first(spec) else shape
