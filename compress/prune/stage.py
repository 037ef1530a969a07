"""`prune:` in a recipe: remove what matters least, in steps, healing after each. Light: read and checked without torch.

for t = 1 … n:  choose (importance, schedule) → remove → recover → write down
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field, model_validator

from compress.record import Frozen
from compress.stage import Candidate, Context, Outcome, Stage
from compress.train.settings import Recovery

if TYPE_CHECKING:
    from compress.stage import Form

FITS = {"channel": ("macs", "params"), "weight": ("sparsity", "params")}
CEILING = {"channel": 0.9, "weight": 0.99}


class Target(Frozen):
    """How far to go; exactly one of these.

    Attributes:
        macs: Fraction of the multiply-accumulates to keep.
        params: Fraction of the parameters to keep (for weights: to keep other than zero).
        sparsity: Fraction of the prunable weights to remove.
    """

    macs: float | None = Field(default=None, gt=0.0, lt=1.0)
    params: float | None = Field(default=None, gt=0.0, lt=1.0)
    sparsity: float | None = Field(default=None, gt=0.0, lt=1.0)

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        given = [name for name in ("macs", "params", "sparsity") if getattr(self, name) is not None]
        if len(given) != 1:
            msg = f"a pruning target is exactly one of macs, params, sparsity, got {' and '.join(given) or 'none'}"
            raise ValueError(msg)
        return self

    @property
    def measure(self) -> Literal["macs", "params", "sparsity"]:
        """Which one is given."""
        return "macs" if self.macs is not None else "params" if self.params is not None else "sparsity"

    @property
    def removed(self) -> float:
        """Fraction that goes, in (0, 1)."""
        kept = self.macs if self.macs is not None else self.params
        return 1 - kept if kept is not None else self.sparsity or 0.0

    def fraction(self, removed: float) -> float:
        """A removed fraction in the target's own terms: what to keep, or for sparsity what to remove."""
        return removed if self.measure == "sparsity" else 1 - removed


class Schedule(Frozen):
    """In how many steps.

    Attributes:
        kind: `cubic` (much first, then little), `linear`, or `one_shot`, which is one step whatever `steps` says.
        steps: How many times to prune and recover.
    """

    kind: Literal["one_shot", "linear", "cubic"] = "cubic"
    steps: int = Field(default=4, ge=1, le=100)

    @property
    def count(self) -> int:
        """Steps that really happen."""
        return 1 if self.kind == "one_shot" else self.steps


class Prune(Stage):
    """Take channels or single weights out of a network.

    Attributes:
        granularity: `channel` makes an ordinary smaller network, faster everywhere; `weight` sets single weights to zero,
            which saves compressed bytes only.
        importance: What a channel or weight is worth: `magnitude`, `taylor` (loss change, from gradients on training
            batches) or `random` (the control).
        target: Where to end; channels take macs or params, weights take sparsity or params.
        ranking: `global`: lowest scores over the whole network first; `local`: the same fraction in each layer.
        schedule: Steps.
        round_to: Channel counts are multiples of it, as fast kernels want them; 1 does not round.
        max_ratio: Largest fraction of one layer that may go; None for 0.9 of channels, 0.99 of weights.
        protect: Globs of module names whose outputs (channel) or weights (weight) are left alone, such as `features.0*`.
        recover: Training after each step.
        batches: Training batches behind the gradients of `taylor`.
    """

    accepts: ClassVar[tuple[Form, ...]] = ("torch",)
    trains: ClassVar[bool] = True

    granularity: Literal["channel", "weight"] = "channel"
    importance: Literal["magnitude", "taylor", "random"] = "magnitude"
    target: Target
    ranking: Literal["global", "local"] = "global"
    schedule: Schedule = Schedule()
    round_to: int = Field(default=8, ge=1, le=256)
    max_ratio: float | None = Field(default=None, gt=0.0, lt=1.0)
    protect: tuple[str, ...] = ()
    recover: Recovery = Field(default_factory=Recovery)
    batches: int = Field(default=8, ge=1)

    @model_validator(mode="after")
    def _target_fits(self) -> Self:
        fits = FITS[self.granularity]
        if self.target.measure not in fits:
            other = next(name for name in FITS if name != self.granularity)
            msg = (
                f"target {self.target.measure} does not fit granularity {self.granularity!r}, which takes {' or '.join(fits)}; "
                f"change the target, or use granularity {other!r}, which takes {' or '.join(FITS[other])}"
            )
            raise ValueError(msg)
        return self

    @property
    def ceiling(self) -> float:
        """`max_ratio`, resolved."""
        return CEILING[self.granularity] if self.max_ratio is None else self.max_ratio

    def smoke(self) -> Self:
        """One step, one epoch of recovery, two batches of gradients."""
        small = {
            "schedule": self.schedule.model_copy(update={"steps": 1}),
            "recover": self.recover.smoke(),
            "batches": min(self.batches, 2),
        }
        return self.model_copy(update=small)

    def run(self, candidate: Candidate, context: Context) -> Outcome:
        """Prune in steps; continues after the last finished one.

        Raises:
            ModelError: The network cannot be traced, has nothing to prune, or does not run once pruned.
        """
        from compress.prune.steps import run

        return run(self, candidate, context)
