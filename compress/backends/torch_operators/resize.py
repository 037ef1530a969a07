"""Resize by `torch.nn.functional.interpolate` if it supports the node's options, else axis by axis.

An output element i of an axis with scale s has the input coordinate

    half_pixel               (i + ½) / s − ½              align_corners    i (n − 1) / (m − 1)
    pytorch_half_pixel       the same, 0 if m = 1         asymmetric       i / s

for n input and m output elements (ONNX operator specification, Resize, `coordinate_transformation_mode`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from compress.backends.torch_operators.values import Attributes, Inputs, Operator

MODES = {3: "linear", 4: "bilinear", 5: "trilinear"}
CUBIC = -0.75
"""Coefficient of cubic interpolation in torch."""


@dataclass(frozen=True)
class _AxisSize:
    """Size of an axis that is resized.

    Attributes:
        axis: Index of the axis.
        size: Size of the output.
        scale: Output size ÷ input size.
    """

    axis: int
    size: int
    scale: float


def resize(attributes: Attributes, x: Inputs) -> Tensor:
    """Resize to sizes or by scales; the inputs are x, roi, scales and sizes, or x and scales before opset 11.

    Raises:
        NotImplementedError: The node crops or antialiases, or its coordinate transformation is not in the list above.
    """
    values = x.tensor(0)
    mode, rule = attributes.text("mode", "nearest"), attributes.text("coordinate_transformation_mode", "half_pixel")
    if len(x) == 2:
        rule = "asymmetric"
    for name, allowed in (("antialias", 0), ("exclude_outside", 0)):
        if attributes.integer(name, 0) != allowed:
            raise NotImplementedError(name)
    if attributes.text("keep_aspect_ratio_policy", "stretch") != "stretch":
        msg = "keep_aspect_ratio_policy"
        raise NotImplementedError(msg)
    axes = _sizes(attributes, x, values)
    if not axes:
        return values
    spatial = list(range(2, values.ndim))
    whole = [axis.axis for axis in axes] == spatial and values.ndim in MODES
    whole = whole and not (rule == "pytorch_half_pixel" and any(axis.size == 1 for axis in axes))
    if whole and (quick := _by_torch(attributes, mode, rule, values.ndim)):
        name, align = quick
        by_sizes = x.has(3)
        return F.interpolate(
            values,
            size=[axis.size for axis in axes] if by_sizes else None,
            scale_factor=None if by_sizes else [axis.scale for axis in axes],
            mode=name,
            align_corners=align,
        )
    for axis in axes:
        values = _along(values, axis, mode, rule, attributes.text("nearest_mode", "round_prefer_floor"))
    return values


def _sizes(attributes: Attributes, x: Inputs, values: Tensor) -> list[_AxisSize]:
    """Axes that are resized."""
    axes = attributes.integers("axes") or tuple(range(values.ndim))
    if x.has(3) and (sizes := x.numbers(3)):
        pairs = [(size, size / values.shape[axis]) for axis, size in zip(axes, sizes, strict=True)]
    else:
        scales = x.values[1 if len(x) == 2 else 2]
        factors = [] if scales is None else scales.reshape(-1).tolist()
        pairs = [(int(values.shape[axis] * factor), float(factor)) for axis, factor in zip(axes, factors, strict=True)]
    all_sizes = [_AxisSize(axis, size, scale) for axis, (size, scale) in zip(axes, pairs, strict=True)]
    spatial = [entry for entry in all_sizes if entry.axis >= 2]
    others = [entry for entry in all_sizes if entry.axis < 2 and entry.size != values.shape[entry.axis]]
    return others + spatial if others or any(entry.size != values.shape[entry.axis] for entry in spatial) else []


def _by_torch(attributes: Attributes, mode: str, rule: str, dims: int) -> tuple[str, bool | None] | None:
    """Mode and `align_corners` of the equivalent call of torch; None if there is none."""
    nearest = attributes.text("nearest_mode", "round_prefer_floor")
    if mode == "nearest":
        return ("nearest", None) if rule == "asymmetric" and nearest == "floor" else None
    is_cubic = mode == "cubic" and dims == 4 and attributes.number("cubic_coeff_a", CUBIC) == CUBIC
    name = MODES[dims] if mode == "linear" else "bicubic" if is_cubic else ""
    if not name or rule not in ("half_pixel", "pytorch_half_pixel", "align_corners"):
        return None
    return name, rule == "align_corners"


def _coordinates(rule: str, axis: _AxisSize, length: int, device: torch.device) -> Tensor:
    places = torch.arange(axis.size, device=device, dtype=torch.float32)
    rules: dict[str, Callable[[], Tensor]] = {
        "half_pixel": lambda: (places + 0.5) / axis.scale - 0.5,
        "pytorch_half_pixel": lambda: (places + 0.5) / axis.scale - 0.5 if axis.size > 1 else places,
        "asymmetric": lambda: places / axis.scale,
        "align_corners": lambda: places * (length - 1) / max(axis.size - 1, 1),
    }
    if rule not in rules:
        raise NotImplementedError(rule)
    return rules[rule]()


def _along(x: Tensor, axis: _AxisSize, mode: str, rule: str, nearest: str) -> Tensor:
    """Resize one axis.

    Raises:
        NotImplementedError: The mode is cubic.
    """
    length = x.shape[axis.axis]
    place = _coordinates(rule, axis, length, x.device)
    if mode == "nearest":
        rounding: dict[str, Callable[[Tensor], Tensor]] = {
            "floor": torch.floor,
            "ceil": torch.ceil,
            "round_prefer_floor": lambda p: torch.ceil(p - 0.5),
            "round_prefer_ceil": lambda p: torch.floor(p + 0.5),
        }
        return x.index_select(axis.axis, rounding[nearest](place).clamp(0, length - 1).long())
    if mode != "linear":
        msg = f"mode {mode} and {rule}"
        raise NotImplementedError(msg)
    place = place.clamp(0, length - 1)
    low = place.floor().long()
    high = (low + 1).clamp(max=length - 1)
    shape = [-1 if index == axis.axis else 1 for index in range(x.ndim)]
    fraction = (place - low).reshape(shape)
    return torch.lerp(x.index_select(axis.axis, low), x.index_select(axis.axis, high), fraction.to(x.dtype))


def _upsample(attributes: Attributes, x: Inputs) -> Tensor:
    """Upsample, up to opset 9; mode nearest rounds down."""
    values = {**attributes.values, "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    scales: Sequence[object] = (None, *x.values[1:]) if len(x) > 1 else (None, None)
    return resize(Attributes(values), Inputs([x.values[0], *scales]))  # type: ignore[list-item]  # values of a graph


def _grid_sample(attributes: Attributes, x: Inputs) -> Tensor:
    mode = {"linear": "bilinear", "cubic": "bicubic"}.get(attributes.text("mode", "linear"), attributes.text("mode", "linear"))
    padding = attributes.text("padding_mode", "zeros")
    corners = bool(attributes.integer("align_corners", 0))
    return F.grid_sample(x.tensor(0), x.tensor(1), mode=mode, padding_mode=padding, align_corners=corners)


RESIZE_OPERATORS: dict[str, Operator] = {"Resize": resize, "Upsample": _upsample, "GridSample": _grid_sample}
