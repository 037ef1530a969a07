"""Float regions of a quantized file, as the runtime runs it, and the conversions that each of them costs.

A region is a connected set of float kernels. Each conversion between int8 and float belongs to the float kernel beside it. A
region with integer kernels before and after it is isolated: its conversions would go if its operators had integer kernels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from compress.profile.layers.layer_times import TimedKernel

CONVERTING = frozenset({"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"})
INTEGER_INSIDE = frozenset({"DynamicQuantizeMatMul"})
"""Kernels with float inputs that multiply integers."""
INDEX_TYPES = ("int64", "int32", "bool")
BLOCKWISE = "MatMulNBits"
MAX_NAMED = 3
"""Operators of a region that are named; of a larger one, they are counted."""


def compute_type(kernel: TimedKernel) -> str:
    """`int8`, `conversion`, `shapes`, or the float type in which a kernel computes."""
    before, _, after = kernel.compute_type.partition(" → ")
    if kernel.operator == "Shape" or before in INDEX_TYPES:
        return "shapes"
    if kernel.operator in CONVERTING or (kernel.operator == "Cast" and "float" in before and "float" in after):
        return "conversion"
    if kernel.operator in INTEGER_INSIDE or before == "int8":
        return "int8"
    return f"{before}, weights of fewer bits" if kernel.operator == BLOCKWISE else before


def is_float(kernel: TimedKernel) -> bool:
    """Whether a kernel computes in float."""
    return compute_type(kernel) not in ("int8", "conversion", "shapes")


def components(pairs: Iterable[tuple[int, int]], count: int) -> list[int]:
    """Connected component of each of `count` vertices, given the edges between them."""
    edges = np.array(list(pairs), dtype=np.int64).reshape(-1, 2)
    adjacency = coo_array((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(count, count))
    return [int(label) for label in connected_components(adjacency, directed=False)[1]]


@dataclass(eq=False)
class FloatRegion:
    """Connected float kernels with the conversions around them; or conversions beside no float kernel.

    Attributes:
        kernels: Float kernels, in order.
        conversions: Conversions that belong to them.
        reads_integers: An integer kernel stands before the region.
        feeds_integers: An integer kernel stands after it.
        position: Where conversions without a float kernel stand.
    """

    kernels: list[TimedKernel] = field(default_factory=list)
    conversions: list[TimedKernel] = field(default_factory=list)
    reads_integers: bool = False
    feeds_integers: bool = False
    position: str = ""

    @property
    def isolated(self) -> bool:
        """Integers stand both before and after it."""
        return bool(self.kernels) and self.reads_integers and self.feeds_integers

    def describe(self) -> str:
        """Its operators, the first ones by name."""
        if not self.kernels:
            return self.position
        named = [f"{kernel.operator} {kernel.module}" for kernel in self.kernels[:MAX_NAMED]]
        if len(self.kernels) <= MAX_NAMED:
            return ", ".join(named)
        counts = Counter(kernel.operator for kernel in self.kernels)
        listed = ", ".join(f"{count} {operator}" for operator, count in counts.most_common())
        return f"{named[0]} to {self.kernels[-1].operator} {self.kernels[-1].module}: {listed}"


class FloatRegions:
    """All float regions of a quantized file.

    Args:
        kernels: Of the file, in order.

    Attributes:
        regions: In the order of their first kernel; those without a float kernel last.
        conversions_of: Conversions that belong to a float kernel, by the kernel's identity.
    """

    def __init__(self, kernels: Sequence[TimedKernel]) -> None:
        self._producer = {name: kernel for kernel in kernels for name in kernel.outputs}
        self._consumers: dict[str, list[TimedKernel]] = {}
        for kernel in kernels:
            for name in kernel.inputs:
                self._consumers.setdefault(name, []).append(kernel)
        self.conversions_of: dict[int, list[TimedKernel]] = {}
        region_of = self._join(kernels)
        positions: dict[str, FloatRegion] = {}
        self._assign_conversions(kernels, region_of, positions)
        self.regions = [*dict.fromkeys(region_of.values()), *positions.values()]

    def _join(self, kernels: Sequence[TimedKernel]) -> dict[int, FloatRegion]:
        """Region of each float kernel, by the kernel's identity."""
        floats = [kernel for kernel in kernels if is_float(kernel)]
        indices = {id(kernel): index for index, kernel in enumerate(floats)}
        edges = [
            (index, indices[id(other)])
            for index, kernel in enumerate(floats)
            for other in self._after(kernel)
            if id(other) in indices
        ]
        regions: dict[int, FloatRegion] = {}
        region_of: dict[int, FloatRegion] = {}
        for kernel, label in zip(floats, components(edges, len(floats)), strict=True):
            region = region_of[id(kernel)] = regions.setdefault(label, FloatRegion())
            region.kernels.append(kernel)
            region.reads_integers |= any(_is_integer(other) for other in self._before(kernel))
            region.feeds_integers |= any(_is_integer(other) for other in self._after(kernel))
        return region_of

    def _assign_conversions(
        self, kernels: Sequence[TimedKernel], region_of: Mapping[int, FloatRegion], positions: dict[str, FloatRegion]
    ) -> None:
        """Give each conversion to the float kernel beside it, or to its position."""
        for kernel in kernels:
            if compute_type(kernel) != "conversion":
                continue
            neighbour = self._float_neighbour(kernel, region_of)
            if neighbour is not None:
                self.conversions_of.setdefault(id(neighbour), []).append(kernel)
                region_of[id(neighbour)].conversions.append(kernel)
            else:
                position = self._position(kernel)
                positions.setdefault(position, FloatRegion(position=position)).conversions.append(kernel)

    def _float_neighbour(self, kernel: TimedKernel, region_of: Mapping[int, FloatRegion]) -> TimedKernel | None:
        """The float kernel before or after a conversion; layout changes of the runtime are skipped if possible."""
        layout_change = None
        for step in (self._before, self._after):
            neighbour = next((other for other in step(kernel) if id(other) in region_of), None)
            layout_change = layout_change or neighbour
            while neighbour is not None and not neighbour.names:
                neighbour = next((other for other in step(neighbour) if id(other) in region_of), None)
            if neighbour is not None:
                return neighbour
        return layout_change

    def _position(self, kernel: TimedKernel) -> str:
        """Where a conversion with no float kernel beside it stands."""
        if not self._before(kernel):
            return "the network's input" if kernel.inputs and kernel.inputs[0] else "a constant"
        if not self._after(kernel):
            return "the network's output"
        return "two integer operators with different scales"

    def _before(self, kernel: TimedKernel) -> list[TimedKernel]:
        return [self._producer[name] for name in kernel.inputs if name in self._producer]

    def _after(self, kernel: TimedKernel) -> list[TimedKernel]:
        return [consumer for name in kernel.outputs for consumer in self._consumers.get(name, ())]


def _is_integer(kernel: TimedKernel) -> bool:
    return compute_type(kernel) in ("int8", "conversion")
