"""The signature of an ONNX file with a size for each free axis, and the shape of one sample of each input."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from compress.backends.file_signature import read_signature
from compress.backends.typical_sizes import running_sizes
from compress.core.errors import ConversionError
from compress.core.signature import BATCH, AxisSizes, Signature, TensorSpec

NO_SIZES: Mapping[str, int] = MappingProxyType({})


def sized_signature(path: Path, sizes: Mapping[str, int] = NO_SIZES) -> Signature:
    """The signature of a file, with a typical size that runs where neither file nor caller says how large a free axis is.

    Args:
        path: ONNX file.
        sizes: Of free axes by name.

    Raises:
        ConversionError: Not an ONNX file, one without inputs that can be fed, or a size for an axis that is not free.
    """
    signature = read_signature(path)
    free = [axis for axis in signature.free_axes if axis != BATCH]
    if unknown := [axis for axis in sizes if axis not in free]:
        msg = f"{path} has no free axis {', '.join(unknown)}; free are {', '.join(free) or 'none'}"
        raise ConversionError(msg)
    known = {axis: known.typical for axis, known in signature.sizes.items()} | dict(sizes)
    missing = [axis for axis in free if axis not in known]
    given = signature.with_sizes(**{axis: known[axis] for axis in free if axis in known})
    each = known | running_sizes(path, given, missing) if missing else known
    return signature.model_copy(update={"sizes": {axis: AxisSizes(each[axis], each[axis], each[axis]) for axis in free}})


def is_batch_first(spec: TensorSpec) -> bool:
    """Whether the first axis of an input counts samples: it is free, or 1 before at least one other axis."""
    return spec.shape[:1] == (BATCH,) or (len(spec.shape) > 1 and spec.shape[0] == 1)


def sample_shape(spec: TensorSpec, signature: Signature) -> tuple[int, ...]:
    """Shape of one sample of an input without the axis of samples: all of an input that is not batch first."""
    shape = signature.shape_of(spec, {BATCH: 1})
    return shape[1:] if is_batch_first(spec) else shape
