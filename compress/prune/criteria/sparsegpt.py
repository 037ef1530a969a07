"""SparseGPT: removes weights layer by layer and changes the others so that they compensate; see `unstructured.solvers`."""

from __future__ import annotations

from torch import Tensor, nn

from compress.core.errors import ModelError
from compress.core.language import gettext
from compress.prune.criteria.base import Importance, Layerwise, ScoringData, refuse_channels
from compress.prune.unstructured.solvers import solve_sparsegpt


def sparsegpt(seed: int = 0) -> Importance:  # noqa: ARG001
    """Frantar & Alistarh 2023, "SparseGPT", arXiv:2301.00774. It has no scores before the layers in front are pruned."""
    layerwise = Layerwise(solve_sparsegpt, reconstructs=True)

    def collect(_: nn.Module, data: ScoringData) -> None:
        layerwise.data = data

    return Importance(channels=refuse_channels, weights=_refuse, collect=collect, layerwise=layerwise)


def _refuse(name: str, _: Tensor) -> Tensor:
    msg = gettext(
        "{name}: importance 'sparsegpt' changes the weights layer by layer and has no scores of a whole network; use 'wanda'",
        name=name,
    )
    raise ModelError(msg)
