"""Before a function that flattens, what saturates moves its result by half a step at most, and the range shrinks."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from compress.backends import onnx_graph as graphs
from compress.quantize.calibration.activation_aware_ranges import clip_to_activation
from compress.quantize.ptq.following_activation import activation_after
from tests.quantize.bent import BENT, STRAIGHT, built

EXACT = {"HardSwish": -3.0, "hard SiLU": -3.0, "Relu": 0.0, "Clip": 0.0}
"""Below which the function gives one value."""


def narrowed(nodes: list[onnx.NodeProto], low: float, high: float) -> tuple[float, float]:
    return clip_to_activation(graphs.to_ir(built(nodes)), {"y": (low, high)})["y"]


@pytest.mark.parametrize("name", BENT)
@pytest.mark.parametrize("limits", [(-15.0, 14.0), (-30.0, 3.0), (-2.0, 40.0)])
def test_saturation_costs_half_a_step_of_the_result(name: str, limits: tuple[float, float]) -> None:
    low, high = narrowed(BENT[name], *limits)
    assert limits[0] <= low <= 0 <= high <= limits[1]
    bend = activation_after(graphs.find_value(graphs.to_ir(built(BENT[name])), "y"))
    assert bend is not None
    x = torch.linspace(*limits, 10_001, dtype=torch.float64)
    y, saturated = bend(x), bend(x.clamp(low, high))
    assert float((y - saturated).abs().max()) <= float(y.max() - y.min()) / 510 * 1.01


@pytest.mark.parametrize("name", BENT)
def test_ranges_shrink_to_where_the_function_bends(name: str) -> None:
    low, high = narrowed(BENT[name], -15.0, 14.0)
    assert low > -8
    assert high == pytest.approx({"Clip": 6.0, "gate": 6.2, "hard gate": 2.4}.get(name, 14.0), abs=0.1)
    assert low >= EXACT.get(name, -np.inf) - 0.01


@pytest.mark.parametrize("name", STRAIGHT)
def test_what_others_read_too_stays(name: str) -> None:
    assert narrowed(STRAIGHT[name], -15.0, 14.0) == (-15.0, 14.0)


def test_one_sided_and_empty_ranges_are_no_trouble() -> None:
    assert narrowed(BENT["SiLU"], 0.5, 4.0) == pytest.approx((0.0, 4.0), abs=0.01)
    assert narrowed(BENT["SiLU"], 0.0, 0.0) == (0.0, 0.0)


def test_a_network_with_silu_keeps_more_of_its_signal() -> None:
    """Normal values from −15 to 15 before a SiLU, rounded to the grid of either range by a quantizer of the test's own."""
    x = (4 * torch.randn(20_000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))).clamp(-15, 15)
    y = nn.functional.silu(x)

    def noise(low: float, high: float) -> float:
        s = (high - low) / 255
        rounded = ((x / s).round().clamp(round(low / s), round(high / s))) * s
        return float((nn.functional.silu(rounded) - y).square().mean())

    assert noise(*narrowed(BENT["SiLU"], -15.0, 15.0)) < 0.7 * noise(-15.0, 15.0)
