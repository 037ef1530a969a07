"""What of a quantized file runs in int8 after ONNX Runtime's optimizer, what does not and why, and what conversions cost.

    float parent   FusedConv(conv, clip) ──┐ same nodes ┌── QLinearConv(conv, clip)       quantized file
                                           └── a layer ──┘

A layer is the least set of nodes that kernels of both files agree on: what one file fuses, the other may not. Conversions
(QuantizeLinear, DequantizeLinear, casts between float types) that the runtime runs as kernels of their own belong to the float
operators that they stand around. Where float operators have integers both before and after them, the pair is stray: it would go
if those operators had an integer kernel.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from compress.core.record import Metrics, Quantity
from compress.profile.layers.layer_times import CONVERTING as CONVERTED
from compress.profile.layers.layer_times import OWN, Kernel, Layers
from compress.profile.layers.ort_profile import interquartile_mean
from compress.profile.layers.tables import Rows, detail_of, duration, written
from compress.quantize.analysis.float_fallback import WITH_WEIGHTS, FallbackReasons
from compress.quantize.qdq.rewrite_hardswish import original_node_name

CONVERTING = frozenset({"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"})
INTEGER_INSIDE = frozenset({"DynamicQuantizeMatMul"})
"""Kernels that take float and multiply integers."""
WHOLE = ("int64", "int32", "bool")
BLOCKWISE = "MatMulNBits"
PRODUCTS = ("Conv", "Gemm", "MatMul")
"""In the names of kernels that convolve or multiply matrices."""
NAMED = 3
"""Operators of a float part that are named; the rest are counted."""


@dataclass(frozen=True)
class Int8Coverage:
    """What came of the comparison.

    Attributes:
        layers: One row a layer, in the order in which they run: `module`, `nodes`, `operators`, `runs_in`, `before_ms`,
            `after_ms`, `conversions_ms`, `why`.
        conversions: One row for each float part that has conversions, the most costly first: `around`, `stray`, `quantize`,
            `dequantize`, `conversions_ms`, `operators_ms`, `why`.
        results: Time of each kind, in ms.
        note: The whole in a sentence.
    """

    layers: Rows
    conversions: Rows
    results: Metrics
    note: str


def compute_type(kernel: Kernel) -> str:
    """`int8`, `conversion`, `shapes`, or the float type in which a kernel computes."""
    before, _, after = kernel.number.partition(" → ")
    if kernel.operator == "Shape" or before in WHOLE:
        return "shapes"
    if kernel.operator in CONVERTING or (kernel.operator == "Cast" and "float" in before and "float" in after):
        return "conversion"
    if kernel.operator in INTEGER_INSIDE or before == "int8":
        return "int8"
    return f"{before}, weights of fewer bits" if kernel.operator == BLOCKWISE else before


def _is_float(kernel: Kernel) -> bool:
    return compute_type(kernel) not in ("int8", "conversion", "shapes")


def _is_integer(kernel: Kernel) -> bool:
    return compute_type(kernel) in ("int8", "conversion")


def compute_coverage(before: Layers, after: Layers, reasons: FallbackReasons) -> Int8Coverage:
    """Compare.

    Args:
        before: The float parent's kernels.
        after: The quantized file's, measured in turns with those.
        reasons: Of the quantized file.
    """
    parts = _Parts(after.kernels)
    rows = [_layer(old, new, before, after, parts, reasons) for old, new in _groups(before.kernels, after.kernels)]
    conversions = [_conversion(part, after, reasons) for part in parts.converted()]
    conversions.sort(key=lambda row: -(row["conversions_ms"].value or 0.0))
    sums = {"float_parent_ms": _sum(before.kernels, before), "quantized_ms": _sum(after.kernels, after)}
    kinds: dict[str, list[Kernel]] = {"int8": [], "conversion": [], "float": []}
    for kernel in after.kernels:
        kind = compute_type(kernel)
        kinds[kind if kind in kinds else "float"].append(kernel)
    named = (("in_int8", "int8"), ("in_float", "float"), ("in_conversions", "conversion"))
    sums |= {f"quantized_{name}_ms": _sum(kinds[kind], after) for name, kind in named}
    return Int8Coverage(written(rows), written(conversions), sums, _note(sums, after.kernels))


def _sum(kernels: Sequence[Kernel], layers: Layers) -> Quantity:
    """Time of kernels, each by itself: what disturbs a run falls on some kernel of it, and hardly ever on the same."""
    total = sum(interquartile_mean(kernel.milliseconds) for kernel in kernels)
    return Quantity.measured(total, "ms", f"sum of {len(kernels)} kernels; {detail_of(layers)}", runs=len(layers.profiled_ms))


def _note(sums: Metrics, kernels: Sequence[Kernel]) -> str:
    weighted = [compute_type(kernel) for kernel in kernels if any(name in kernel.operator for name in PRODUCTS)]
    ms = {name: found.value or 0.0 for name, found in sums.items()}
    return (
        f"{weighted.count('int8')} of {len(weighted)} convolutions and products run in int8; kernels of the float parent sum "
        f"to {ms['float_parent_ms']:.3g} ms, those of the quantized file to {ms['quantized_ms']:.3g} ms: "
        f"{ms['quantized_in_int8_ms']:.3g} in int8, {ms['quantized_in_float_ms']:.3g} in float, "
        f"{ms['quantized_in_conversions_ms']:.3g} in conversions"
    )


def _layer(
    old: list[Kernel], new: list[Kernel], before: Layers, after: Layers, parts: _Parts, reasons: FallbackReasons
) -> dict[str, Any]:
    """One row."""
    gone = Quantity.missing("ms", "no kernel of its own: fused or gone")
    charged = [one for kernel in new for one in parts.charged.get(id(kernel), ())]
    shown = new or old
    floats = [kernel for kernel in new if _is_float(kernel)]
    told = next((kernel for kernel in (*new, *old) if any(node.operator in WITH_WEIGHTS for node in kernel.nodes)), shown[0])
    return {
        "module": _module(told),
        "nodes": ", ".join(dict.fromkeys(original_node_name(name) for kernel in (*new, *old) for name in kernel.names)),
        "operators": ", ".join(dict.fromkeys(kernel.operator for kernel in shown)),
        "runs_in": ", ".join(dict.fromkeys(compute_type(kernel) for kernel in new)) or "—",
        "before_ms": duration(old, detail_of(before)) if old else gone,
        "after_ms": duration(new, detail_of(after)) if new else gone,
        "conversions_ms": duration(charged, detail_of(after)) if charged else Quantity.measured(0.0, "ms", "none stands here"),
        "why": _why(floats, reasons),
    }


def _module(kernel: Kernel) -> str:
    """Its torch module; what the runtime added between conversions is its own."""
    return OWN if kernel.module == CONVERTED and compute_type(kernel) != "conversion" else kernel.module


def _why(kernels: Iterable[Kernel], reasons: FallbackReasons) -> str:
    """Reasons of float kernels, each once."""
    found: dict[str, None] = {}
    for kernel in kernels:
        told = [number for number, node in zip(kernel.numbers, kernel.nodes, strict=True) if node.operator not in CONVERTING]
        found |= dict.fromkeys([reasons.why(number) for number in told] or ["the runtime's own change of layout"])
    return "; ".join(found)


def _conversion(part: _Part, after: Layers, reasons: FallbackReasons) -> dict[str, Any]:
    counted = Counter("dequantize" if one.number.startswith("int8") else "quantize" for one in part.conversions)
    none = Quantity.measured(0.0, "ms", "no operator")
    return {
        "around": part.around(),
        "stray": part.enclosed,
        "quantize": counted["quantize"],
        "dequantize": counted["dequantize"],
        "conversions_ms": duration(part.conversions, detail_of(after)),
        "operators_ms": duration(part.kernels, detail_of(after)) if part.kernels else none,
        "why": _why(part.kernels, reasons) or part.place,
    }


def _groups(before: Sequence[Kernel], after: Sequence[Kernel]) -> list[tuple[list[Kernel], list[Kernel]]]:
    """Kernels of both files that share nodes, in the order of the second file; conversions are left out."""
    joined = _Joined()
    keys: dict[int, str] = {}
    for side, kernels in enumerate((before, after)):
        for kernel in kernels:
            if side and compute_type(kernel) == "conversion":
                continue
            names = [original_node_name(name) for name in kernel.names] or [_module(kernel)]
            keys[id(kernel)] = names[0]
            for name in names[1:]:
                joined.join(names[0], name)
    groups: dict[str, tuple[list[Kernel], list[Kernel]]] = {}
    for side, kernels in ((1, after), (0, before)):
        for kernel in kernels:
            if id(kernel) in keys:
                groups.setdefault(joined.root(keys[id(kernel)]), ([], []))[side].append(kernel)
    return list(groups.values())


class _Joined:
    """Disjoint sets of names."""

    def __init__(self) -> None:
        self.parent: dict[str, str] = {}

    def root(self, name: str) -> str:
        while (above := self.parent.get(name, name)) != name:
            name = above
        return name

    def join(self, one: str, other: str) -> None:
        self.parent[self.root(other)] = self.root(one)


@dataclass(eq=False)
class _Part:
    """Float operators that hang together, with the conversions around them; or conversions around none."""

    kernels: list[Kernel]
    conversions: list[Kernel]
    entered: bool = False
    left: bool = False
    place: str = ""

    @property
    def enclosed(self) -> bool:
        """Integers stand both before and after it."""
        return bool(self.kernels) and self.entered and self.left

    def around(self) -> str:
        """Its operators, the first named."""
        if not self.kernels:
            return self.place
        told = [f"{kernel.operator} {kernel.module}" for kernel in self.kernels[:NAMED]]
        if len(self.kernels) <= NAMED:
            return ", ".join(told)
        counts = Counter(kernel.operator for kernel in self.kernels)
        listed = ", ".join(f"{count} {name}" for name, count in counts.most_common())
        return f"{told[0]} to {self.kernels[-1].operator} {self.kernels[-1].module}: {listed}"


class _Parts:
    """Float parts of a quantized file, and to which kernel each conversion is charged.

    Attributes:
        charged: Conversions by the identity of the float kernel that they stand beside.
    """

    def __init__(self, kernels: Sequence[Kernel]) -> None:
        self.kernels = kernels
        self.maker = {name: kernel for kernel in kernels for name in kernel.gives}
        self.readers: dict[str, list[Kernel]] = {}
        for kernel in kernels:
            for name in kernel.reads:
                self.readers.setdefault(name, []).append(kernel)
        self.charged: dict[int, list[Kernel]] = {}
        self.parts: dict[str, _Part] = {}
        self._collect()

    def converted(self) -> list[_Part]:
        """Parts with conversions."""
        return [part for part in self.parts.values() if part.conversions]

    def _collect(self) -> None:
        """Join float kernels, then hand each conversion to its neighbour."""
        joined = _Joined()
        keys = {id(kernel): str(place) for place, kernel in enumerate(self.kernels) if _is_float(kernel)}
        for kernel in self.kernels:
            for other in self._after(kernel) if id(kernel) in keys else ():
                if id(other) in keys:
                    joined.join(keys[id(kernel)], keys[id(other)])
        for kernel in self.kernels:
            if id(kernel) in keys:
                part = self.parts.setdefault(joined.root(keys[id(kernel)]), _Part([], []))
                part.kernels.append(kernel)
                part.entered |= any(_is_integer(one) for one in self._before(kernel))
                part.left |= any(_is_integer(one) for one in self._after(kernel))
        for kernel in self.kernels:
            if compute_type(kernel) == "conversion":
                beside = self._beside(kernel, keys)
                if beside is not None:
                    self.charged.setdefault(id(beside), []).append(kernel)
                    self.parts[joined.root(keys[id(beside)])].conversions.append(kernel)
                else:
                    place = self._place(kernel)
                    self.parts.setdefault(place, _Part([], [], place=place)).conversions.append(kernel)

    def _beside(self, kernel: Kernel, keys: Mapping[int, str]) -> Kernel | None:
        """The float kernel before or after a conversion, past changes of layout."""
        found = None
        for step in (self._before, self._after):
            one = next((near for near in step(kernel) if id(near) in keys), None)
            found = found or one
            while one is not None and not one.names:
                one = next((near for near in step(one) if id(near) in keys), None)
            if one is not None:
                return one
        return found

    def _place(self, kernel: Kernel) -> str:
        """Where a conversion with no float operator beside it stands."""
        if not self._before(kernel):
            return "the network's input" if kernel.reads and kernel.reads[0] else "a constant"
        if not self._after(kernel):
            return "the network's output"
        return "two integer operators with different steps"

    def _before(self, kernel: Kernel) -> list[Kernel]:
        return [self.maker[name] for name in kernel.reads if name in self.maker]

    def _after(self, kernel: Kernel) -> list[Kernel]:
        return [one for name in kernel.gives for one in self.readers.get(name, ())]
