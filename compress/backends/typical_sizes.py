"""Typical sizes of the free axes of a file.

A file does not say which sizes its network accepts, so common ones are tried in a separate process until the network runs:

    height × width   320 × 320, 224 × 224, 640 × 640, 48 × 320, …
    a length         of integers (tokens) 128, …; of floats (samples, frames) 512, …
    any other axis   1, 16, 128
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

from compress.backends.check_file import ProbeResult, check_onnx_file
from compress.backends.runner_protocol import feed_shapes
from compress.core.errors import ConversionError
from compress.core.language import gettext
from compress.core.signature import Signature, TensorSpec

IMAGES = ((320, 320), (224, 224), (640, 640), (48, 320), (32, 320), (512, 512), (256, 256), (128, 128), (64, 64), (32, 32))
"""Typical heights and widths."""
TOKENS, FRAMES, OTHER = (128, 512, 64, 16, 1), (512, 16_000, 576, 256, 128, 16, 1), (1, 16, 128)
LENGTHS = ("seq", "len", "time", "frame", "token")
"""Parts of the name of an axis that is a length."""


def candidate_sizes(signature: Signature, axes: Sequence[str]) -> Iterator[dict[str, int]]:
    """Combinations of sizes to try, in order; an axis whose list is shorter keeps its last size."""
    kinds = {axis: _kind(signature, axis) for axis in axes}
    for index in range(max(map(len, kinds.values()))):
        yield {axis: sizes[min(index, len(sizes) - 1)] for axis, sizes in kinds.items()}


def _kind(signature: Signature, axis: str) -> tuple[int, ...]:
    """Typical sizes of an axis, by its name and the rank and type of its input."""
    spec = next(spec for spec in signature.inputs if axis in spec.shape)
    position = spec.shape.index(axis)
    if len(spec.shape) == 4 and spec.is_continuous and position > 1:
        return tuple(size[position - 2] for size in IMAGES)
    if any(part in axis.lower() for part in LENGTHS) or _is_last_of_samples(spec, position):
        return FRAMES if spec.is_continuous else TOKENS
    return OTHER


def _is_last_of_samples(spec: TensorSpec, position: int) -> bool:
    """Whether an axis is the second of (batch, length)."""
    return len(spec.shape) == 2 and position == 1


def running_sizes(path: Path, signature: Signature, axes: Sequence[str]) -> dict[str, int]:
    """The first typical sizes at which a file runs; the first of the list if the file cannot be loaded.

    Args:
        path: ONNX file.
        signature: Signature of the file, with the sizes of its other free axes.
        axes: Free axes without a size.

    Raises:
        ConversionError: The file is damaged, or runs at no typical size.
    """
    candidates = list(candidate_sizes(signature, axes))
    result = _first_that_runs(path, path.stat().st_mtime_ns, signature.model_dump_json(), tuple(axes))
    if result.ran is None and ("Non-zero status code" in result.refusal or "INVALID_ARGUMENT" in result.refusal):
        tried = "; ".join(", ".join(f"{axis} {size}" for axis, size in sizes.items()) for sizes in candidates)
        sizes_text = ", ".join(f"{axis}: {size}" for axis, size in candidates[0].items())
        msg = gettext(
            "{path}: it runs at no typical size of its free axes (tried {tried}); give sizes, for example "
            "data.sizes: {{{sizes_text}}} in a recipe, or --shape NAME:1x{next} "
            "({refusal})",
            path=path,
            tried=tried,
            sizes_text=sizes_text,
            next=next(iter(candidates[0].values())),
            refusal=result.refusal[-300:],
        )
        raise ConversionError(msg)
    return candidates[result.ran or 0]


@lru_cache(maxsize=32)
def _first_that_runs(path: Path, changed_ns: int, signature_json: str, axes: tuple[str, ...]) -> ProbeResult:
    """What ONNX Runtime did with the candidates; `changed_ns` is part of the cache key for files that change."""
    del changed_ns
    signature = Signature.model_validate_json(signature_json)
    examples = [signature.with_sizes(**sizes).example(seed=None) for sizes in candidate_sizes(signature, axes)]
    feeds = [{name: tensor.numpy() for name, tensor in example.items()} for example in examples]
    return check_onnx_file(path, [feed_shapes(candidate) for candidate in feeds])
