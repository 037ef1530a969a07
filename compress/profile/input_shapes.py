"""Shapes of inputs as a user writes them, `tokens:1x16..512`, and how they fit the signature of a file."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from compress.core.errors import SignatureError
from compress.core.signature import Signature, TensorSpec

SIZE = re.compile(r"(\d{1,9})(?:\.\.(\d{1,9}))?")
FORM = "write NAME:SIZExSIZE, for example input:1x3x320x320 or tokens:1x16..512"
POINTS = 8
"""Most sizes of a sweep."""


class SizeRange(NamedTuple):
    """Sizes of an axis from the least to the most."""

    least: int
    most: int

    def __str__(self) -> str:
        return f"{self.least}..{self.most}"

    def points(self) -> tuple[int, ...]:
        """Both ends, and powers of two between them; every second or third where there are too many."""
        powers = [1 << power for power in range(31) if self.least < 1 << power < self.most]
        step = -(-len(powers) // (POINTS - 2)) or 1
        return tuple(dict.fromkeys((self.least, *powers[::step], self.most)))


Size = int | SizeRange
Shape = tuple[Size, ...]


class AxisChoice(NamedTuple):
    """Sizes of free axes that a user gave.

    Attributes:
        sizes: By axis.
        sweep: The axis with a range, and its sizes; None where none has one.
    """

    sizes: Mapping[str, int]
    sweep: tuple[str, SizeRange] | None


def parse_shapes(texts: Iterable[str]) -> dict[str, Shape]:
    """Shapes by input from `NAME:SIZExSIZE`; a size may be a range, `16..512`, and the shape of a scalar is empty.

    Raises:
        SignatureError: A text has another form, a size is 0, a range is empty, or an input is given twice.
    """
    shapes: dict[str, Shape] = {}
    for text in texts:
        name, colon, rest = text.rpartition(":")
        parts = rest.lower().replace("×", "x").split("x") if rest else []
        matches = [SIZE.fullmatch(part) for part in parts]
        if not (colon and name) or not all(matches):
            msg = f"{text!r:.80} is no shape of an input; {FORM}"
            raise SignatureError(msg)
        if name in shapes:
            msg = f"input {name!r} has two shapes; give one"
            raise SignatureError(msg)
        shapes[name] = tuple(_size(match, text) for match in matches if match)
    return shapes


def _size(match: re.Match[str], text: str) -> Size:
    least, most = int(match[1]), int(match[2] or match[1])
    if least < 1 or most < least:
        msg = f"{text!r:.80} has a size of {match[0]}; sizes are 1 or more, and a range goes up, as in 16..512"
        raise SignatureError(msg)
    return least if match[2] is None else SizeRange(least, most)


def fit_shapes(signature: Signature, shapes: Mapping[str, Shape], network: str) -> AxisChoice:
    """Sizes of free axes from the shapes of inputs.

    Args:
        signature: Of the file.
        shapes: By input; others may be left out.
        network: Names the file in messages.

    Raises:
        SignatureError: An unknown input, another number of axes, another size where the file's is fixed, two sizes for one
            axis, or more than one range.
    """
    specs = {spec.name: spec for spec in signature.inputs}
    if unknown := [name for name in shapes if name not in specs]:
        inputs = "; ".join(map(str, signature.inputs))
        msg = f"{network} has no input {', '.join(map(repr, unknown))}; it takes {inputs}"
        raise SignatureError(msg)
    sizes: dict[str, Size] = {}
    for name, shape in shapes.items():
        _merge(sizes, specs[name], shape, network)
    ranges = {axis: size for axis, size in sizes.items() if isinstance(size, SizeRange)}
    if len(ranges) > 1:
        msg = f"{network}: axes {', '.join(ranges)} have ranges; sweep one axis at a time"
        raise SignatureError(msg)
    fixed = {axis: size for axis, size in sizes.items() if isinstance(size, int)}
    return AxisChoice(fixed, next(iter(ranges.items()), None))


def _merge(sizes: dict[str, Size], spec: TensorSpec, shape: Sequence[Size], network: str) -> None:
    """Add the sizes of the free axes of one input."""
    written = "×".join(map(str, shape)) or "scalar"
    if len(shape) != len(spec.shape):
        msg = f"{network}: shape {written} has {len(shape)} axes, and its input has {len(spec.shape)}: {spec}"
        raise SignatureError(msg)
    for axis, size in zip(spec.shape, shape, strict=True):
        if isinstance(axis, int) and axis != size:
            msg = f"{network}: shape {written} does not fit input {spec}: its size of {axis} is fixed"
            raise SignatureError(msg)
        if isinstance(axis, str) and sizes.setdefault(axis, size) != size:
            msg = f"{network}: axis {axis!r} of input {spec} has sizes {sizes[axis]} and {size}; equal names are equal sizes"
            raise SignatureError(msg)
