"""Exponential moving average of the weights."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


def moving_average(module: nn.Module, decay: float) -> AveragedModel:
    """A copy of `module` that averages its weights and buffers (Polyak & Juditsky 1992; decay warm-up as in TensorFlow's EMA).

        w̄ ← d·w̄ + (1 − d)·w,   d = min(decay, (1 + n) / (10 + n)),   n the number of steps

    Args:
        module: The trained network, on its device.
        decay: Largest d, in (0, 1).

    Returns:
        The average; call its `update_parameters(module)` after each step.
    """

    def update(average: Sequence[Tensor], current: Sequence[Tensor], n: Tensor | int) -> None:
        d = min(decay, (1 + int(n)) / (10 + int(n)))
        get_ema_multi_avg_fn(d)(tuple(average), tuple(current), n)  # type: ignore[no-untyped-call]

    return AveragedModel(module, multi_avg_fn=update, use_buffers=True)
