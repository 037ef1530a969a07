"""Float regions of a quantized file after the runtime's optimizations, and the conversions around each region.

A region is a connected set of float kernels. Each conversion between int8 and float belongs to the adjacent float kernel. A
region with integer kernels before and after is isolated: with integer kernels for its operators, no conversion would be needed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from compress.core.language import gettext
from compress.profile.layers.layer_times import TimedKernel

CONVERTING = frozenset({"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"})
INTEGER_INSIDE = frozenset({"DynamicQuantizeMatMul"})
"""Kernels with float inputs that compute integer products."""
INDEX_TYPES = ("int64", "int32", "bool")
BLOCKWISE = "MatMulNBits"
MAX_NAMED = 3
"""Largest number of operators of a region that are listed by name; more are counted by type."""


def compute_type(kernel: TimedKernel) -> str:
    """`int8`, `conversion`, `shapes`, or the float type of a kernel."""
    before, _, after = kernel.compute_type.partition(" → ")
    if kernel.operator == "Shape" or before in INDEX_TYPES:
        return "shapes"
    if kernel.operator in CONVERTING or (kernel.operator == "Cast" and "float" in before and "float" in after):
        return "conversion"
    if kernel.operator in INTEGER_INSIDE or before == "int8":
        return "int8"
    return gettext("{before}, weights of fewer bits", before=before) if kernel.operator == BLOCKWISE else before


def is_float(kernel: TimedKernel) -> bool:
    """Whether a kernel computes in float."""
    return compute_type(kernel) not in ("int8", "conversion", "shapes")


def components(pairs: Iterable[tuple[int, int]], count: int) -> list[int]:
    """Label of the connected component of each of `count` vertices; `pairs` are the edges."""
    edges = np.array(list(pairs), dtype=np.int64).reshape(-1, 2)
    adjacency = coo_array((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(count, count))
    return [int(label) for label in connected_components(adjacency, directed=False)[1]]


@dataclass(eq=False)
class FloatRegion:
    """Connected float kernels with the conversions around them; or conversions without adjacent float kernel.

    Attributes:
        kernels: Float kernels, in order.
        conversions: Conversions around the region.
        reads_integers: Whether an integer kernel precedes the region.
        feeds_integers: Whether an integer kernel follows the region.
        position: Position of conversions without float kernel.
    """

    kernels: list[TimedKernel] = field(default_factory=list)
    conversions: list[TimedKernel] = field(default_factory=list)
    reads_integers: bool = False
    feeds_integers: bool = False
    position: str = ""

    @property
    def isolated(self) -> bool:
        """Whether integer kernels precede and follow the region."""
        return bool(self.kernels) and self.reads_integers and self.feeds_integers

    def describe(self) -> str:
        """Operators of the region, or the position of conversions without float kernel."""
        if not self.kernels:
            return self.position
        names = [f"{kernel.operator} {kernel.module}" for kernel in self.kernels[:MAX_NAMED]]
        if len(self.kernels) <= MAX_NAMED:
            return ", ".join(names)
        counts = Counter(kernel.operator for kernel in self.kernels)
        operators = ", ".join(f"{count} {operator}" for operator, count in counts.most_common())
        return gettext(
            "{names} to {operator} {module}: {operators}",
            names=names[0],
            operator=self.kernels[-1].operator,
            module=self.kernels[-1].module,
            operators=operators,
        )


class FloatRegions:
    """All float regions of a quantized file.

    Args:
        kernels: Kernels of the file, in order.

    Attributes:
        regions: Regions in the order of their first kernel; those without float kernel last.
        conversions_of: Conversions adjacent to a float kernel, by `id` of the kernel.
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
        """Region of each float kernel, by `id` of the kernel."""
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
        """Assign each conversion to the adjacent float kernel, or to its position."""
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
        """Position of a conversion without adjacent float kernel."""
        if not self._before(kernel):
            return gettext("the network's input") if kernel.inputs and kernel.inputs[0] else "a constant"
        if not self._after(kernel):
            return gettext("the network's output")
        return gettext("two integer operators with different scales")

    def _before(self, kernel: TimedKernel) -> list[TimedKernel]:
        return [self._producer[name] for name in kernel.inputs if name in self._producer]

    def _after(self, kernel: TimedKernel) -> list[TimedKernel]:
        return [consumer for name in kernel.outputs for consumer in self._consumers.get(name, ())]


def _is_integer(kernel: TimedKernel) -> bool:
    return compute_type(kernel) in ("int8", "conversion")
