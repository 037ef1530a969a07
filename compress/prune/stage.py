"""`prune:` in a recipe: remove what is least important, in steps with recovery. Light: read and checked without torch.

for t = 1 … n:  score (importance) → remove (schedule) → recover → store
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from compress.config.devices import fingerprint, load_device
from compress.core.errors import DeviceError
from compress.core.frozen_model import FrozenModel
from compress.core.registry import entries, lookup
from compress.core.registry_field import RegistryName
from compress.core.stage import Candidate, Context, Outcome, Stage
from compress.prune.field_types import MaxRatios, Pattern, block_of, kept_of
from compress.prune.schedule_settings import TIMED, ImportanceName, Schedule, SparseTraining, incompatible_reason, is_iterative
from compress.train.settings import FinetuneSettings

if TYPE_CHECKING:
    from compress.config.devices import Device
    from compress.core.stage import Form

Measure = Literal["macs", "params", "bytes", "latency", "latency_ms", "sparsity"]
SHRINKS: tuple[Measure, ...] = ("macs", "params", "bytes", "latency", "latency_ms")
MEASURES: tuple[Measure, ...] = (*SHRINKS, "sparsity")
Multiple = Annotated[int, Field(ge=1, le=256)]


def _known(name: str) -> str:
    """The profile's own name, or the path of a profile as written.

    Raises:
        ValueError: No such profile, or a faulty one.
    """
    try:
        device = load_device(name)
    except DeviceError as error:
        raise ValueError(str(error)) from error
    return name if name.endswith((".yaml", ".yml")) else device.name


class Target(FrozenModel):
    """How much to remove; exactly one of these.

    Attributes:
        macs: Fraction of the multiply-accumulates to keep.
        params: Fraction of the parameters to keep (for weights: to keep other than zero).
        bytes: Fraction of the bytes to keep: of float32 weights as they are, and for weights and blocks after compression.
        latency: Fraction of the dense network's time on `device` to keep: on this machine timed in turns with it, so that it
            holds although the machine's speed changes; else by estimates.
        latency_ms: Time of one sample on `device` to reach, ms: measured where it is this machine, else estimated. It becomes a
            fraction of the dense network's time at the start, which is then met as with `latency`.
        sparsity: Fraction of the prunable weights to remove.
        device: Device profile that targets of time and `round_to: device` are meant for, and that speed is predicted for.
    """

    macs: float | None = Field(default=None, gt=0.0, lt=1.0)
    params: float | None = Field(default=None, gt=0.0, lt=1.0)
    bytes: float | None = Field(default=None, gt=0.0, lt=1.0)
    latency: float | None = Field(default=None, gt=0.0, lt=1.0)
    latency_ms: float | None = Field(default=None, gt=0.0)
    sparsity: float | None = Field(default=None, gt=0.0, lt=1.0)
    device: Annotated[str, AfterValidator(_known)] = "host"

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        measures = [name for name in MEASURES if getattr(self, name) is not None]
        if len(measures) != 1:
            msg = f"a pruning target is exactly one of {', '.join(MEASURES)}, got {' and '.join(measures) or 'none'}"
            raise ValueError(msg)
        return self

    @property
    def measure(self) -> Measure:
        """Which measure the target is of."""
        return next(name for name in MEASURES if getattr(self, name) is not None)

    @property
    def timed(self) -> bool:
        """Whether it is a target of time, measured or estimated by a cost model."""
        return self.measure in TIMED

    @property
    def removed(self) -> float | None:
        """Fraction to remove, in (0, 1); None for `latency_ms`, where the dense network's time must be known first."""
        if self.measure == "latency_ms":
            return None
        value = float(getattr(self, self.measure))
        return value if self.measure == "sparsity" else 1 - value

    def fraction(self, removed: float) -> float:
        """A removed fraction in the target's own terms: what to keep, or for sparsity what to remove."""
        return removed if self.measure == "sparsity" else 1 - removed


class Prune(Stage):
    """Remove channels, whole blocks or single weights.

    Attributes:
        granularity: `channel` (with attention heads) and `layer` (whole residual blocks) make an ordinary smaller network,
            faster everywhere. `weight`, `block` and `n:m` set weights to zero and keep shapes: that saves compressed bytes,
            and time only on a runtime with sparse kernels.
        pattern: For `n:m`, how many of how many neighbouring inputs stay, `2:4` by default; for `block`, output × input
            channels, `1x4` by default.
        importance: Score of a channel or weight. From weights: `magnitude` (of all weights coupled to a channel), `l1`, `l2`
            (of the filter alone), `lamp`, `bn_scale`, `fpgm`; from training batches: `taylor`, `hessian`, `fisher` (changes of
            the loss, `fisher` of a whole channel or head at once), `apoz`, `activation`, `wanda`; for an untrained network
            `snip`, `grasp`, `synflow`; `random` is the control. The default is `fisher` for channels, else `magnitude`, which
            `sparse_training: {kind: greg2}` needs for channels, too.
        target: How much to remove. Channels and layers take macs, params, bytes, latency or latency_ms, weights and blocks
            sparsity, params or bytes, `n:m` the sparsity of its pattern.
        ranking: `global`: lowest scores over the whole network first; `local`: the same fraction in each layer; `erk`, for
            weights and blocks: wide layers sparser than narrow ones, as in sparse training.
        schedule: Steps.
        cost_aware: With `ranking: global`, changes of the loss are divided by the cost of the channel, so that of two channels
            of equal importance the more expensive one is removed. `target`: its parameters for targets of these or of bytes,
            else its multiply-accumulates; `latency`: its time on the target's device.
        sparse_training: Training under a penalty before the first pruning step; None for none.
        round_to: Channel counts are multiples of it, as fast kernels need them; 1 does not round. `device`: the multiple of the
            target's device; `measure`: the fastest of 1, 4, 8, 16, 32 on this machine at the target's cost.
        max_ratio: Largest fraction of one layer to remove; None for 0.9 of channels, 0.99 of weights. Or by glob of layer
            names, the first match counting, 0 for a layer to leave alone; or the JSON file that `compress sensitivity` writes.
        protect: Globs of module names whose outputs (channel) or weights (weight) are left alone, such as `features.0*`.
        recover: Training after each step.
        batches: Training batches of an importance that is computed from data; half as many for each of several scorings.
        rescorings: Each step removes its channels in this many parts, with changes of the loss and batch-norm statistics
            computed anew before each part: a channel becomes more important when similar ones are removed. None is 8, and 1
            where attention heads may be removed: eight scorings gained a MobileNetV2 one point and cost a ViT four. 1 for
            other importances.
        timing_seconds: How long to time the network after each step against the dense one, on this machine; 0 does not.
    """

    accepts: ClassVar[tuple[Form, ...]] = ("torch",)
    trains: ClassVar[bool] = True
    compresses: ClassVar[bool] = True

    granularity: Annotated[str, RegistryName("granularity")] = "channel"
    pattern: Pattern | None = None
    importance: ImportanceName = "fisher"
    target: Target
    ranking: Literal["global", "local", "erk"] = "global"
    schedule: Schedule = Schedule()
    cost_aware: Literal["target", "latency"] = "target"
    sparse_training: SparseTraining | None = None
    round_to: Multiple | Literal["device", "measure"] = 8
    max_ratio: MaxRatios | None = None
    protect: tuple[str, ...] = ()
    recover: FinetuneSettings = Field(default_factory=FinetuneSettings)
    batches: int = Field(default=8, ge=1)
    rescorings: int | None = Field(default=None, ge=1, le=100)
    timing_seconds: float = Field(default=1.0, ge=0.0, le=60.0)

    @model_validator(mode="before")
    @classmethod
    def _default_importance(cls, fields: Any) -> Any:
        """`magnitude` where `fisher` does not fit."""
        if not isinstance(fields, dict) or "importance" in fields:
            return fields
        training = fields.get("sparse_training")
        kind = training.get("kind") if isinstance(training, dict) else getattr(training, "kind", None)
        fits = kind != "greg2" and fields.get("granularity", "channel") == "channel"
        return fields if fits else {**fields, "importance": "magnitude"}

    @model_validator(mode="after")
    def _target_fits(self) -> Self:
        measures = lookup("granularity", self.granularity).options.get("measures", MEASURES)
        if self.target.measure not in measures:
            rows = entries("granularity")
            fitting = [row.name for row in rows if self.target.measure in row.options.get("measures", MEASURES)]
            msg = (
                f"target {self.target.measure} does not fit granularity {self.granularity!r}, which takes "
                f"{' or '.join(measures)}; change the target, or use granularity {', '.join(map(repr, fitting))}"
            )
            raise ValueError(msg)
        if self.granularity == "layer" and self.importance != "magnitude":
            msg = f"granularity 'layer' drops what changes the outputs least; leave importance {self.importance!r} out"
            raise ValueError(msg)
        if self.ranking == "erk" and self.granularity not in ("weight", "block"):
            msg = f"ranking 'erk' is a budget of weights or blocks; with granularity {self.granularity!r} use global or local"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _method_fits(self) -> Self:
        if reason := incompatible_reason(self):
            raise ValueError(reason)
        return self

    @model_validator(mode="after")
    def _pattern_fits(self) -> Self:
        if self.granularity == "n:m":
            keep, of = kept_of(self.shape)
            if abs((self.target.sparsity or 0.0) - (1 - keep / of)) > 1e-6:
                msg = f"{self.shape} removes {1 - keep / of:g} of the weights; write target: {{sparsity: {1 - keep / of:g}}}"
                raise ValueError(msg)
        elif self.granularity == "block":
            block_of(self.shape)
        elif self.pattern is not None:
            msg = f"pattern belongs to granularity 'n:m' or 'block'; leave it out with granularity {self.granularity!r}"
            raise ValueError(msg)
        return self

    @property
    def shape(self) -> str:
        """`pattern`, resolved."""
        return self.pattern or ("2:4" if self.granularity == "n:m" else "1x4")

    @property
    def scorings(self) -> int | None:
        """`rescorings` for an importance that is computed anew, else 1; None where the network decides."""
        return self.rescorings if is_iterative(self.granularity, self.importance) else 1

    @property
    def ceiling(self) -> float:
        """Ceiling of layers that `max_ratio` does not name."""
        if isinstance(self.max_ratio, float):
            return self.max_ratio
        return float(lookup("granularity", self.granularity).options.get("max_ratio", 1.0))

    @property
    def ceilings(self) -> dict[str, float]:
        """Ceilings by glob, in order."""
        return self.max_ratio if isinstance(self.max_ratio, dict) else {}

    def cache_inputs(self, targets: tuple[Device, ...]) -> dict[str, object]:  # noqa: ARG002
        """The device, where the result depends on it."""
        depends = self.target.timed or self.round_to == "device" or self.cost_aware == "latency"
        device = self.target.device if depends else "host" if self.round_to == "measure" else None
        return {"device": fingerprint(load_device(device))} if device else {}

    def smoke(self) -> Self:
        """One step, one epoch of recovery, two batches of gradients."""
        small = {
            "schedule": self.schedule.smoke(),
            "sparse_training": self.sparse_training.smoke() if self.sparse_training else None,
            "recover": self.recover.smoke(),
            "batches": min(self.batches, 2),
            "rescorings": 1,
            "timing_seconds": 0.0,
        }
        return self.model_copy(update=small)

    def run(self, candidate: Candidate, context: Context) -> Outcome:
        """Prune in steps; resumes after the last finished one.

        Raises:
            ModelError: The network cannot be traced, has nothing to prune, or does not run once pruned.
        """
        from compress.prune.run_stage import PruningRun

        return PruningRun(self, candidate, context).execute()
