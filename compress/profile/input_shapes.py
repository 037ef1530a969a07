"""Parse input shapes such as `tokens:1x16..512` and match them with the signature of a file."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from compress.core.errors import SignatureError
from compress.core.language import gettext
from compress.core.signature import Signature, TensorSpec

SIZE = re.compile(r"(\d{1,9})(?:\.\.(\d{1,9}))?")
FORM = "write NAME:SIZExSIZE, for example input:1x3x320x320 or tokens:1x16..512"
POINTS = 8
"""Largest number of sizes in a sweep."""


class SizeRange(NamedTuple):
    """Range of sizes of an axis, both ends included."""

    least: int
    most: int

    def __str__(self) -> str:
        return f"{self.least}..{self.most}"

    def points(self) -> tuple[int, ...]:
        """Up to `POINTS` sizes: both ends and powers of two between them, every second or third if there are too many."""
        powers = [1 << power for power in range(31) if self.least < 1 << power < self.most]
        step = -(-len(powers) // (POINTS - 2)) or 1
        return tuple(dict.fromkeys((self.least, *powers[::step], self.most)))


Size = int | SizeRange
Shape = tuple[Size, ...]


class AxisChoice(NamedTuple):
    """Sizes of free axes set by the user.

    Attributes:
        sizes: Size by axis.
        sweep: The axis with a range and the range; None if no axis has one.
    """

    sizes: Mapping[str, int]
    sweep: tuple[str, SizeRange] | None


def parse_shapes(texts: Iterable[str]) -> dict[str, Shape]:
    """Shapes by input from texts `NAME:SIZExSIZE`; a size may be a range, `16..512`; the shape of a scalar is empty.

    Raises:
        SignatureError: A text has another form, a size is 0, a range is empty, or an input appears twice.
    """
    shapes: dict[str, Shape] = {}
    for text in texts:
        name, colon, rest = text.rpartition(":")
        parts = rest.lower().replace("×", "x").split("x") if rest else []
        matches = [SIZE.fullmatch(part) for part in parts]
        if not (colon and name) or not all(matches):
            msg = gettext("{text!r:.80} is not the shape of an input; {form}", text=text, form=gettext(FORM))
            raise SignatureError(msg)
        if name in shapes:
            msg = gettext("input {name!r} has two shapes; give only one", name=name)
            raise SignatureError(msg)
        shapes[name] = tuple(_size(match, text) for match in matches if match)
    return shapes


def _size(match: re.Match[str], text: str) -> Size:
    least, most = int(match[1]), int(match[2] or match[1])
    if least < 1 or most < least:
        msg = gettext(
            "{text!r:.80} has a size of {match}; sizes must be at least 1, and a range must increase, as 16..512",
            text=text,
            match=match[0],
        )
        raise SignatureError(msg)
    return least if match[2] is None else SizeRange(least, most)


def fit_shapes(signature: Signature, shapes: Mapping[str, Shape], network: str) -> AxisChoice:
    """Sizes of free axes from the shapes of inputs.

    Args:
        signature: Signature of the file.
        shapes: Shapes by input; inputs may be omitted.
        network: Name of the file for messages.

    Raises:
        SignatureError: An input is unknown, has another number of axes or another fixed size, or an axis has two sizes, or more
            than one axis has a range.
    """
    specs = {spec.name: spec for spec in signature.inputs}
    if unknown := [name for name in shapes if name not in specs]:
        inputs = "; ".join(map(str, signature.inputs))
        msg = gettext(
            "{network} has no input {unknown}; it has {inputs}",
            network=network,
            unknown=", ".join(map(repr, unknown)),
            inputs=inputs,
        )
        raise SignatureError(msg)
    sizes: dict[str, Size] = {}
    for name, shape in shapes.items():
        _merge(sizes, specs[name], shape, network)
    ranges = {axis: size for axis, size in sizes.items() if isinstance(size, SizeRange)}
    if len(ranges) > 1:
        msg = gettext(
            "{network}: axes {ranges} have ranges; sweep one axis at a time", network=network, ranges=", ".join(ranges)
        )
        raise SignatureError(msg)
    fixed = {axis: size for axis, size in sizes.items() if isinstance(size, int)}
    return AxisChoice(fixed, next(iter(ranges.items()), None))


def _merge(sizes: dict[str, Size], spec: TensorSpec, shape: Sequence[Size], network: str) -> None:
    """Add the sizes of the free axes of one input to `sizes`."""
    shape_text = "×".join(map(str, shape)) or "scalar"
    if len(shape) != len(spec.shape):
        msg = gettext(
            "{network}: shape {shape_text} has {count} axes, but the input has {shape_count}: {spec}",
            network=network,
            shape_text=shape_text,
            count=len(shape),
            shape_count=len(spec.shape),
            spec=spec,
        )
        raise SignatureError(msg)
    for axis, size in zip(spec.shape, shape, strict=True):
        if isinstance(axis, int) and axis != size:
            msg = gettext(
                "{network}: shape {shape_text} does not fit input {spec}: its size of {axis} is fixed",
                network=network,
                shape_text=shape_text,
                spec=spec,
                axis=axis,
            )
            raise SignatureError(msg)
        if isinstance(axis, str) and sizes.setdefault(axis, size) != size:
            msg = gettext(
                "{network}: axis {axis!r} of input {spec} has sizes {sizes} and {size}; "
                "axes of the same name must have the same size",
                network=network,
                axis=axis,
                spec=spec,
                sizes=sizes[axis],
                size=size,
            )
            raise SignatureError(msg)
