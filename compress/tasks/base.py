"""What a stage may know of the modality: everything through this interface."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol

if TYPE_CHECKING:
    from torch import Tensor

    from compress.core.record import Metric


class Task(Protocol):
    """Loss and metrics of one kind of problem.

    Attributes:
        name: As in the recipe's `task:`.
        metric: Name of the metric that decides, in [0, 1], higher is better.
        metric_info: Its description.
    """

    name: ClassVar[str]
    metric: ClassVar[str]
    metric_info: ClassVar[Metric]

    def loss(self, outputs: Tensor, targets: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
        """Training loss, averaged over the batch; outputs (N, K), targets (N,)."""

    def metrics(self, outputs: Tensor, targets: Tensor) -> dict[str, float]:
        """All metrics over a whole split; holds `metric`."""

    def correct(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Per-sample score in [0, 1], float32 (N,): its mean is `metric`. Paired intervals are computed from it."""
