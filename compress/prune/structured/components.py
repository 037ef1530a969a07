"""Pruning of the hidden width of a decoder by its principal components, see `rotate_hidden`.

rotation: blocks    each place of the network has components of its own; shortcuts with matrices take the residual from one
                    place to the next. The form of the paper: SliceGPT, arXiv:2401.15024.
rotation: common    the components of all places together; no further matrices, so that the result is an ordinary network,
                    which transformers loads where the number of heads divides the width.
"""

from __future__ import annotations

import copy
import math
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from compress.core.errors import ModelError
from compress.core.fact import Fact
from compress.core.language import gettext
from compress.core.network_spec import NetworkSpec
from compress.prune.base import Constraints, PrunedModel
from compress.prune.criteria import Importance
from compress.prune.criteria.base import ScoringData
from compress.prune.schedule_settings import TIMED
from compress.prune.structured.equivalence import check_forward
from compress.prune.structured.equivalence_inputs import trial_inputs
from compress.prune.structured.hidden_places import find_places
from compress.prune.structured.layer_costs import CostFn, CostMeasure, cost, measure_cost
from compress.prune.structured.rotate_hidden import components, hidden_moments, kept_variance, principal_axes, rotate
from compress.prune.structured.smallest_cut import smallest_cut
from compress.tasks.flat_outputs import run_flat
from compress.train.module_globs import check_globs, match_modules

TOLERANCE = 1e-3
"""Largest difference of a network that is rotated but not narrowed, as a fraction of the norm of the outputs."""


class ComponentPruner:
    """Prunes the hidden width of one dense network, in any number of steps.

    Args:
        parent: The dense network. Not changed.
        spec: Its input.
        scoring: Texts whose hidden vectors are analysed, and the task.
        rotation: See the module.
        measure: Measure of the cost.
        limits: Multiple of the width, and the largest fraction of it to remove.
        ranking: Not used: there is one width.
        meter: For `latency` and `latency_ms`: (network) → its time as a fraction of the time of the dense network.

    Raises:
        ModelError: The network has another shape, or rotating it changes its outputs.
    """

    def __init__(
        self,
        parent: nn.Module,
        spec: NetworkSpec,
        *,
        scoring: ScoringData,
        rotation: Literal["blocks", "common"],
        measure: CostMeasure,
        limits: Constraints,
        ranking: Literal["global", "local"] = "global",  # noqa: ARG002
        meter: CostFn | None = None,
    ) -> None:
        self.spec, self.measure, self.limits, self.scoring, self.rotation = spec, measure, limits, scoring, rotation
        self.cost = meter if measure in TIMED and meter else partial(cost, spec=spec, measure=measure)
        self.protected = match_modules(parent, limits.protect)
        check_globs(limits.ceilings, parent)
        self.skipped = (Fact.of("prune.not_the_hidden_width"),)
        places = find_places(parent)
        self.initial = len(parent.get_submodule(places.norm).get_parameter("weight"))
        self._check(parent)
        self.dense = 1.0 if measure in TIMED else self.cost(parent)

    def _check(self, parent: nn.Module) -> None:
        """Rotate the whole width of the network to random axes and compare its outputs.

        Raises:
            ModelError: They differ.
        """
        places = find_places(parent)
        generator = torch.Generator().manual_seed(0)
        axes = [self._random_axes(generator, is_centred=places.is_centred) for _ in places.norms]
        turned = rotate(parent, places, axes if self.rotation == "blocks" else axes[:1] * len(axes), self.initial)
        inputs = trial_inputs(self.spec.signature, dtype=None)
        with torch.no_grad():
            before, after = run_flat(parent, inputs), run_flat(turned, inputs)
        if not float((after - before).norm()) <= TOLERANCE * float(before.norm()):
            msg = gettext(
                "the hidden vectors of this network cannot be rotated: its outputs change by {difference:.2%}, so something "
                "other than RMS norms and linear layers reads them; use granularity: channel with importance: minitron",
                difference=float((after - before).norm() / before.norm()),
            )
            raise ModelError(msg)

    def _random_axes(self, generator: torch.Generator, *, is_centred: bool) -> Tensor:
        noise = torch.randn(self.initial, self.initial, generator=generator, dtype=torch.float64)
        if is_centred:
            noise[:, 0] = 1.0
        axes: Tensor = torch.linalg.qr(noise).Q
        return axes.roll(-1, dims=1)  # that of the mean is the last one

    def prune(self, module: nn.Module, fraction: float, importance: Importance) -> PrunedModel:  # noqa: ARG002
        """Keep as many components as the cost allows: at most `fraction` of that of the dense network.

        Args:
            module: The dense network or the result of an earlier step. Not changed.
            fraction: Fraction of the cost of the dense network, in (0, 1].
            importance: Not used.
        """
        target = fraction * self.dense
        if fraction >= 1 or self.cost(module) <= target:
            return PrunedModel(copy.deepcopy(module).eval())
        places = find_places(module)
        moments = hidden_moments(module, places, self.scoring)
        axes = principal_axes(moments, common=self.rotation == "common", is_centred=places.is_centred)
        widths = self._widths(len(axes[0]))
        reached, width, pruned = self.cost(module), len(axes[0]), copy.deepcopy(module).eval()
        if widths:
            cut = smallest_cut(
                lambda count: rotate(module, places, axes, widths[count - 1]),
                lambda trial: measure_cost(self.cost, trial, target, twice=self.measure in TIMED),
                target,
                guess=round((1 - fraction) * len(widths)),
                most=len(widths),
            )
            reached, width, pruned = cut.reached, widths[cut.count - 1], cut.module
        check_forward(pruned, self.spec)
        kept = kept_variance(moments, axes, components(width, is_centred=places.is_centred))
        notes = [Fact.of("prune.components", self.rotation, width=width, before=self.initial, kept=kept)]
        if reached > target:
            notes.append(self._shortfall(fraction, reached))
        return PrunedModel(pruned, notes=tuple(notes))

    def _widths(self, now: int) -> tuple[int, ...]:
        """Smaller widths, largest first."""
        floor = max(math.ceil(self.initial * (1 - self.limits.max_ratio) - 1e-9), 1)
        step = self.limits.round_to
        return tuple(width for width in range((now - 1) // step * step, 0, -step) if width >= floor)

    def _shortfall(self, fraction: float, reached: float) -> Fact:
        values = {"granularity": "component", "reached": reached / self.dense, "asked": fraction, **self.limits.describe()}
        return Fact.of("prune.target_not_reached", self.measure, round_to=self.limits.round_to, **values)
