"""What a pruning stage may be told of importance and schedule, and what does not go together. Light: read without torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Self, get_args

from pydantic import Field, model_validator

from compress.record import Frozen
from compress.train.settings import Training

if TYPE_CHECKING:
    from compress.prune.stage import Prune

Scorer = Literal[
    "magnitude",
    "l1",
    "l2",
    "lamp",
    "bn_scale",
    "fpgm",
    "taylor",
    "hessian",
    "apoz",
    "activation",
    "wanda",
    "snip",
    "grasp",
    "synflow",
    "random",
]
CHANNELS_ONLY = frozenset({"bn_scale", "fpgm", "apoz", "activation"})
"""Say what a channel is worth, and nothing of a single weight."""
WEIGHTS_ONLY = frozenset({"snip", "grasp", "synflow"})
"""Score single weights of a network that was not trained yet."""
REMOVES_CHANNELS = frozenset({"channel", "layer"})
"""Granularities that make a smaller network; the others set weights to zero."""

Kind = Literal["one_shot", "linear", "cubic", "exponential", "guarded", "lottery", "set", "rigl"]
OWN: dict[str, dict[str, Any]] = {
    "guarded": {"drop": 0.01, "retries": 2},
    "lottery": {"rewind": 0},
    "set": {"every": 100, "exchange": 0.3, "until": 0.75},
    "rigl": {"every": 100, "exchange": 0.3, "until": 0.75},
}
"""Parameters that belong to one kind of schedule, with their defaults."""
SINGLE = frozenset({"one_shot", "set", "rigl"})
"""Kinds that cut once."""
CURVES = {"lottery": "exponential", "set": "one_shot", "rigl": "one_shot"}
"""The curve that a kind follows where it is not one itself."""
MASKED: dict[str, tuple[str, ...]] = {"lottery": ("weight", "block"), "set": ("weight",), "rigl": ("weight",)}
"""Granularities that a kind works on, where it needs masks."""


class Schedule(Frozen):
    """In how many steps, and what happens between them.

    Attributes:
        kind: `cubic` (much first, then little), `linear`, `exponential` (the same fraction of what is left each time),
            `one_shot` (one step whatever `steps` says); `guarded`: linear, but a step that loses too much is undone; `lottery`:
            exponential, and after each step the weights go back to where they were early in training; `set`, `rigl`: one cut,
            then connections are exchanged while `recover` trains.
        steps: How many times to prune and recover; for `lottery`, rounds.
        drop: `guarded`: most validation accuracy that may be lost against the dense network, 0.01 by default.
        retries: `guarded`: how many times to try half a step once one was undone, 2 by default.
        rewind: `lottery`: the optimizer step whose weights every round starts from; 0, the default, is the initialisation.
        every: `set`, `rigl`: optimizer steps between two exchanges, 100 by default.
        exchange: `set`, `rigl`: fraction of each layer's connections exchanged at first, 0.3 by default; it falls to 0 along a
            cosine.
        until: `set`, `rigl`: fraction of the training after which nothing is exchanged any more, 0.75 by default.
    """

    kind: Kind = "cubic"
    steps: int = Field(default=4, ge=1, le=100)
    drop: float | None = Field(default=None, gt=0.0, lt=1.0)
    retries: int | None = Field(default=None, ge=0, le=20)
    rewind: int | None = Field(default=None, ge=0)
    every: int | None = Field(default=None, ge=1)
    exchange: float | None = Field(default=None, gt=0.0, lt=1.0)
    until: float | None = Field(default=None, gt=0.0, le=1.0)

    @model_validator(mode="after")
    def _of_its_kind(self) -> Self:
        own = OWN.get(self.kind, {})
        for name in dict.fromkeys(name for parameters in OWN.values() for name in parameters):
            if getattr(self, name) is not None and name not in own:
                kinds = " or ".join(repr(kind) for kind, parameters in OWN.items() if name in parameters)
                msg = f"schedule kind {self.kind!r} has no {name}, which belongs to {kinds}; leave it out or change the kind"
                raise ValueError(msg)
        return self

    def value(self, name: str) -> Any:
        """A parameter of this kind, or its default."""
        given = getattr(self, name)
        return OWN[self.kind][name] if given is None else given

    @property
    def curve(self) -> str:
        """Name of the curve of removed fractions."""
        return CURVES.get(self.kind, self.kind)

    def smoke(self) -> Self:
        """One step, rewinding and exchanging as early as can be."""
        own: dict[str, Any] = {name: 1 for name in ("rewind", "every") if name in OWN.get(self.kind, {}) and self.value(name)}
        return self.model_copy(update={"steps": 1, **own})

    @property
    def count(self) -> int:
        """Steps that really happen."""
        return 1 if self.kind in SINGLE else self.steps


class SparseTraining(Training):
    """Training under a penalty before the first cut, on the task's loss.

    Attributes:
        kind: `slimming`: L1 on the scales of batch norms; `l1`: on the weights; `group_lasso`: on the norms of filters;
            `growing`: L2 on what the stage would remove, growing step by step.
        strength: Factor λ of the penalty; for `growing` what is added to it every `every` steps. None for 1e-4 (`l1`: 1e-5).
        every: Of `growing`: optimizer steps between two increases.
        ceiling: Of `growing`: largest factor.
    """

    kind: Literal["slimming", "l1", "group_lasso", "growing"]
    strength: float | None = Field(default=None, gt=0.0)
    every: int = Field(default=10, ge=1)
    ceiling: float = Field(default=1.0, gt=0.0)

    @property
    def lam(self) -> float:
        """`strength`, resolved."""
        return self.strength or (1e-5 if self.kind == "l1" else 1e-4)


def misfit(stage: Prune) -> str:
    """What of a stage's settings does not go together, and what would; empty when all does."""
    granularity, kind, before = stage.granularity, stage.schedule.kind, stage.before
    smaller = granularity in REMOVES_CHANNELS
    other = WEIGHTS_ONLY if smaller else CHANNELS_ONLY
    if stage.importance in other:
        fits = ", ".join(name for name in get_args(Scorer) if name not in other)
        return f"importance {stage.importance!r} does not fit granularity {granularity!r}, which takes {fits}"
    if stage.per_millisecond and granularity != "channel":
        return f"per_millisecond weighs channels, and granularity is {granularity!r}; leave it out or use 'channel'"
    if before is not None and before.kind in ("slimming", "group_lasso") and not smaller:
        return f"before: {before.kind} prepares whole channels, not granularity {granularity!r}; use l1 or growing"
    if before is not None and before.kind == "growing" and granularity == "layer":
        return "before: growing acts on channels or weights, not on whole layers; use group_lasso or slimming"
    if before is not None and kind == "lottery":
        return "before trains under a penalty and schedule 'lottery' trains the dense network itself; leave one of them out"
    if kind in MASKED and granularity not in MASKED[kind]:
        takes = " or ".join(map(repr, MASKED[kind]))
        return (
            f"schedule {kind!r} works on masks that keep their places; with granularity {granularity!r} it cannot, use {takes}"
        )
    if kind in ("set", "rigl") and stage.recover.ema is not None:
        return f"recover.ema averages networks of different masks, which is not sparse; leave it out with {kind!r}"
    if kind in ("set", "rigl", "lottery") and stage.recover.epochs == 0:
        return f"schedule {kind!r} is a way to train, and recover.epochs is 0; give it epochs"
    return ""
