"""Settings of schedule and sparse training, and checks of combinations. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, model_validator

from compress.core.frozen_model import FrozenModel
from compress.core.language import gettext
from compress.core.registry import entries, lookup
from compress.core.registry_field import RegistryName
from compress.train.settings import Training

if TYPE_CHECKING:
    from compress.prune.stage import Prune

ImportanceName = Annotated[str, RegistryName("importance")]

TIMED = frozenset({"latency", "latency_ms"})
"""Measures that are times."""
SCORES = ("channels", "weights")
"""Default of the registry option `scores` of an importance."""


def has_option(family: str, name: str, option: str) -> bool:
    """Whether a method has an option in the registry."""
    return bool(lookup(family, name).options.get(option))


def with_option(family: str, option: str) -> tuple[str, ...]:
    """Names of the methods with an option in the registry."""
    return tuple(entry.name for entry in entries(family) if entry.options.get(option))


def is_iterative(granularity: str, importance: str) -> bool:
    """Whether a pruning step has several rounds, each with new importance scores."""
    return granularity == "channel" and has_option("importance", importance, "loss_change")


def _parameters(kind: str) -> Mapping[str, float]:
    """Parameters of this kind of schedule, with their defaults."""
    parameters: Mapping[str, float] = lookup("schedule", kind).options.get("parameters", {})
    return parameters


class Schedule(FrozenModel):
    """Number of steps and the fraction removed after each.

    Attributes:
        kind: `cubic` (large steps first, then small ones), `linear`, `exponential` (each step removes the same fraction of the
            remaining weights), `one_shot` (a single step, whatever `steps` is); `accuracy_aware`: linear, but a step that loses
            too much is undone; `lottery`: exponential, and after each step the weights are rewound to an early optimizer step;
            `set`, `rigl`: one step, then drop and grow updates the masks while `recover` trains.
        steps: Number of pruning steps, each with recovery; for `lottery`, of rounds.
        drop: `accuracy_aware`: largest loss of the validation metric against the dense network, 0.01 by default. For a metric
            that is a fraction this is one percentage point; for any other metric it is a fraction of the dense network's value.
        retries: `accuracy_aware`: number of trials of half a step after a step was undone, 2 by default.
        rewind: `lottery`: the optimizer step whose weights every round starts from; 0, the default, is the initialisation.
        update_every: `set`, `rigl`: optimizer steps between two updates of the masks, 100 by default.
        drop_fraction: `set`, `rigl`: fraction of the connections of each layer that the first update drops and grows, 0.3 by
            default; it decays to 0 along a cosine.
        end_fraction: `set`, `rigl`: fraction of the training after which the masks are fixed, 0.75 by default.
    """

    kind: Annotated[str, RegistryName("schedule")] = "cubic"
    steps: int = Field(default=4, ge=1, le=100)
    drop: float | None = Field(default=None, gt=0.0, lt=1.0)
    retries: int | None = Field(default=None, ge=0, le=20)
    rewind: int | None = Field(default=None, ge=0)
    update_every: int | None = Field(default=None, ge=1)
    drop_fraction: float | None = Field(default=None, gt=0.0, lt=1.0)
    end_fraction: float | None = Field(default=None, gt=0.0, le=1.0)

    @model_validator(mode="after")
    def _parameters_fit(self) -> Self:
        parameters = _parameters(self.kind)
        kinds_by_parameter: dict[str, list[str]] = {}
        for entry in entries("schedule"):
            for name in entry.options.get("parameters", ()):
                kinds_by_parameter.setdefault(name, []).append(entry.name)
        for name, kinds in kinds_by_parameter.items():
            if getattr(self, name, None) is not None and name not in parameters:
                owners = " or ".join(map(repr, kinds))
                msg = gettext(
                    "schedule kind {kind!r} has no {name}, which belongs to {owners}; leave it out or change the kind",
                    kind=self.kind,
                    name=name,
                    owners=owners,
                )
                raise ValueError(msg)
        return self

    def value(self, name: str) -> float:
        """A parameter of this kind, or its default."""
        parameter = getattr(self, name)
        return _parameters(self.kind)[name] if parameter is None else parameter

    @property
    def curve(self) -> str:
        """Name of the curve of removed fractions."""
        return str(lookup("schedule", self.kind).options.get("curve", self.kind))

    def smoke(self) -> Self:
        """One step; rewinding and the first update of masks as early as possible."""
        own = _parameters(self.kind)
        small: dict[str, int] = {name: 1 for name in ("rewind", "update_every") if name in own and self.value(name)}
        return self.model_copy(update={"steps": 1, **small})

    @property
    def count(self) -> int:
        """Number of steps; 1 for kinds with a single step."""
        return 1 if has_option("schedule", self.kind, "single_step") else self.steps


PICKS: dict[str, float] = {"pick_strength": 1e-5, "pick_ceiling": 1e-2}
"""Parameters of `greg2` with the values of the paper."""


class SparseTraining(Training):
    """Training on the loss of the task and a sparsity penalty, before the first pruning step.

    Attributes:
        kind: `slimming`: L1 on the scales of batch norms; `l1`: on the weights; `group_lasso`: on the norms of filters;
            `greg1`: growing L2 on the weights that the stage would remove; `greg2`: first a small growing L2 on all weights,
            which separates their magnitudes, then as `greg1` on the weights of smallest magnitude.
        strength: Factor λ of the penalty; for `greg1` and `greg2` its increase every `every` steps. None is 1e-4 (`l1`: 1e-5).
        every: `greg1`, `greg2`: optimizer steps between two increases.
        ceiling: `greg1`, `greg2`: largest factor.
        pick_strength: `greg2`: increase of the factor of all weights every `every` steps, 1e-5 by default.
        pick_ceiling: `greg2`: factor of all weights at which the weights to remove are selected, 0.01 by default.
        keep: Weights to prune: the `last` ones, after the full effect of the penalty, or the `best` by validation.
    """

    kind: Annotated[str, RegistryName("penalty")]
    strength: float | None = Field(default=None, gt=0.0)
    every: int = Field(default=10, ge=1)
    ceiling: float = Field(default=1.0, gt=0.0)
    pick_strength: float | None = Field(default=None, gt=0.0)
    pick_ceiling: float | None = Field(default=None, gt=0.0)
    keep: Literal["best", "last"] = "last"

    @model_validator(mode="after")
    def _parameters_fit(self) -> Self:
        names = [name for name in PICKS if getattr(self, name) is not None]
        if names and self.kind != "greg2":
            msg = gettext(
                "sparse_training: {names} belongs to kind greg2, and kind is {kind}; leave it out, or use kind greg2",
                names=names[0],
                kind=self.kind,
            )
            raise ValueError(msg)
        if self.kind == "greg2" and self.pick("pick_ceiling") > self.ceiling:
            msg = gettext(
                "pick_ceiling {pick:g} is above ceiling {ceiling:g}; set it to at most the ceiling",
                pick=self.pick("pick_ceiling"),
                ceiling=self.ceiling,
            )
            raise ValueError(msg)
        return self

    @property
    def lam(self) -> float:
        """`strength`, resolved."""
        return self.strength or (1e-5 if self.kind == "l1" else 1e-4)

    def pick(self, name: str) -> float:
        """`pick_strength` or `pick_ceiling`, resolved."""
        return float(getattr(self, name) or PICKS[name])


def incompatible_reason(stage: Prune) -> str:
    """Reason why the settings of a stage do not fit together, with the fix; empty when they do."""
    granularity, kind, training = stage.granularity, stage.schedule.kind, stage.sparse_training
    unit = "channels" if has_option("granularity", granularity, "structured") else "weights"
    allowed = ", ".join(entry.name for entry in entries("importance") if unit in entry.options.get("scores", SCORES))
    loss_changes = with_option("importance", "loss_change")
    if unit not in lookup("importance", stage.importance).options.get("scores", SCORES):
        return gettext(
            "importance {importance!r} does not score {unit}, as granularity {granularity!r} needs; use {allowed}",
            importance=stage.importance,
            unit=unit,
            granularity=granularity,
            allowed=allowed,
        )
    if stage.cost_aware == "latency" and granularity != "channel":
        return gettext(
            "cost_aware: latency ranks channels, and granularity is {granularity!r}; leave it out or use 'channel'",
            granularity=granularity,
        )
    if stage.cost_aware == "latency" and stage.importance not in loss_changes:
        return gettext(
            "cost_aware: latency needs scores that are changes of the loss, and importance is {importance!r}; "
            "use {loss_changes}",
            importance=stage.importance,
            loss_changes=", ".join(loss_changes),
        )
    if stage.rescorings not in (None, 1) and not is_iterative(granularity, stage.importance):
        return gettext(
            "rescorings needs granularity 'channel' and scores that are changes of the loss ({loss_changes}); "
            "leave it out with importance {importance!r}",
            loss_changes=", ".join(loss_changes),
            importance=stage.importance,
        )
    if training is not None and (reason := _training_reason(stage, training)):
        return reason
    granularities: tuple[str, ...] | None = lookup("schedule", kind).options.get("granularities")
    if granularities is not None and granularity not in granularities:
        allowed = " or ".join(map(repr, granularities))
        return gettext(
            "schedule {kind!r} needs masks of weights, and granularity {granularity!r} has none; use {allowed}",
            kind=kind,
            granularity=granularity,
            allowed=allowed,
        )
    if has_option("schedule", kind, "exchanges") and stage.recover.ema is not None:
        return gettext(
            "recover.ema averages networks with different masks, so the result is not sparse; leave it out with {kind!r}",
            kind=kind,
        )
    if has_option("schedule", kind, "trains") and stage.recover.epochs == 0:
        return gettext(
            "schedule {kind!r} trains during recovery, and recover.epochs is 0; set recover.epochs to 1 or more", kind=kind
        )
    return ""


def _training_reason(stage: Prune, training: SparseTraining) -> str:
    """The same for `sparse_training`."""
    if has_option("penalty", training.kind, "structured") and not has_option("granularity", stage.granularity, "structured"):
        return gettext(
            "sparse_training: {kind} acts on whole channels, and granularity is {granularity!r}; use l1 or greg1",
            kind=training.kind,
            granularity=stage.granularity,
        )
    if has_option("penalty", training.kind, "grows") and stage.granularity in ("layer", "expert", "component"):
        return gettext(
            "sparse_training: {kind} acts on channels or weights, not on whole layers, experts or components; use "
            "group_lasso or slimming",
            kind=training.kind,
        )
    if training.kind == "greg2" and not has_option("importance", stage.importance, "magnitude"):
        allowed = ", ".join(with_option("importance", "magnitude"))
        return gettext(
            "sparse_training: greg2 selects by magnitude, and importance is {importance!r}; use one of {allowed}",
            importance=stage.importance,
            allowed=allowed,
        )
    if training.kind == "greg2" and stage.target.timed:
        return gettext(
            "sparse_training: greg2 selects weights during training, when {measure} cannot be measured; "
            "use a target of macs, or kind greg1",
            measure=stage.target.measure,
        )
    if stage.schedule.kind == "lottery":
        return gettext("sparse_training and schedule 'lottery' both train before the first pruning step; leave one of them out")
    return ""
