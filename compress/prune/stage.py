"""Stage `prune`: remove the least important channels, blocks or weights, in steps with recovery. Imports no torch.

for t = 1 … n:  score (importance) → remove (schedule) → recover → store
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from compress.config.devices import fingerprint, load_device
from compress.core.errors import DeviceError
from compress.core.frozen_model import FrozenModel
from compress.core.language import gettext
from compress.core.registry import entries, lookup
from compress.core.registry_field import RegistryName
from compress.core.stage import Candidate, Context, Outcome, Stage
from compress.prune.field_types import MaxRatios, Pattern, parse_block, parse_n_m
from compress.prune.ranking_settings import ranking_reason, score_reason, with_defaults
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
    """The name in the device profile, or the path of a profile as written.

    Raises:
        ValueError: The profile is missing or faulty.
    """
    try:
        device = load_device(name)
    except DeviceError as error:
        raise ValueError(str(error)) from error
    return name if name.endswith((".yaml", ".yml")) else device.name


class Target(FrozenModel):
    """How much to remove: exactly one of the fields other than `device`.

    Attributes:
        macs: Fraction of the multiply-accumulates to keep.
        params: Fraction of the parameters to keep; for weights and blocks, of nonzero parameters.
        bytes: Fraction of the bytes of the float32 weights to keep; for weights and blocks, of their compressed bytes.
        latency: Fraction of the time of the dense network on `device` to keep. On this machine both networks are timed in
            turns, so that changes of the machine's speed cancel; for other devices times are estimated.
        latency_ms: Time of one sample on `device` to reach, ms, measured on this machine, else estimated. At the start it
            becomes a fraction of the time of the dense network, as for `latency`.
        sparsity: Fraction of the prunable weights to remove.
        device: Device profile for targets of time, `round_to: device` and estimates of the speed-up.
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
            msg = gettext(
                "a pruning target is exactly one of {measures}, got {given}",
                measures=", ".join(MEASURES),
                given=" and ".join(measures) or "none",
            )
            raise ValueError(msg)
        return self

    @property
    def measure(self) -> Measure:
        """Name of the field that is set."""
        return next(name for name in MEASURES if getattr(self, name) is not None)

    @property
    def timed(self) -> bool:
        """Whether it is a target of time, measured or estimated by a cost model."""
        return self.measure in TIMED

    @property
    def removed(self) -> float | None:
        """Fraction to remove, in (0, 1); None for `latency_ms`, which first needs the time of the dense network."""
        if self.measure == "latency_ms":
            return None
        value = float(getattr(self, self.measure))
        return value if self.measure == "sparsity" else 1 - value

    def fraction(self, removed: float) -> float:
        """A removed fraction in the terms of the target: the fraction to keep, or for sparsity the fraction to remove."""
        return removed if self.measure == "sparsity" else 1 - removed


class Prune(Stage):
    """Remove channels, whole blocks or single weights.

    Attributes:
        granularity: `channel` (with attention heads), `layer` (whole residual blocks), `expert` (experts of a mixture, with
            their part of the router) and `component` (hidden width of a decoder, rotated to its principal components) give a
            smaller network that is faster on any runtime. `weight`, `block` and `n:m` set weights to zero and keep shapes: this
            saves compressed bytes, and time only on a runtime with sparse kernels.
        pattern: For `n:m`, N of M neighbouring inputs to keep, `2:4` by default; for `block`, output × input channels, `1x4`
            by default.
        importance: Score of a channel or weight. From weights: `magnitude` (of all weights coupled to a channel), `l1`, `l2`
            (of the filter alone), `lamp`, `bn_scale`, `fpgm`; from training batches: `taylor`, `hessian`, `fisher` (changes of
            the loss, `fisher` for a whole channel or head), `apoz`, `activation`, `minitron` (norms of activations, for
            channels and heads), `wanda`; `sparsegpt`, which
            prunes layer by layer and changes the weights that stay so that they compensate; for an untrained network `snip`,
            `grasp`, `synflow`; `random` is the control. The default is `fisher` for channels, and `magnitude` for other
            granularities and with `sparse_training: {kind: greg2}`.
        block_score: For granularity `layer`, the score by which blocks are dropped, smallest first: `outputs` (change of the
            outputs without the block), `influence` (how much the block turns the vectors of its tokens; one run of the
            network), `search` (validation loss without the block, again after each removal: greedy search).
        expert_score: For granularity `expert`, the score by which experts are removed, smallest first: `reap` (weight of the
            router × norm of the output, over the tokens of the expert), `router_share` (its part of all weights of the
            router), `reconstruction` (error of the mixture without it); all of them on training texts, of which `batches` are
            read.
        rotation: For granularity `component`: `blocks`, components of each block, with a matrix on each residual connection, as
            in SliceGPT; or `common`, components of all blocks together, without further matrices: an ordinary network.
        target: How much to remove. Channels, layers and components take macs, params, bytes, latency or latency_ms, experts all
            of these but macs, since a token costs as much as before; weights and blocks sparsity, params or bytes; `n:m` the
            sparsity of its pattern.
        ranking: `global`: lowest scores of the whole network first; `local`: the same fraction in each layer; `erk`, for
            weights and blocks: Erdős–Rényi-kernel densities, with wide layers sparser than narrow ones; `row`, for weights: the
            same fraction of each output of each layer, with `wanda` layer by layer. With granularity `weight` the default is
            `row` for `wanda` and `local` for `sparsegpt`, and for experts it is `local`; else it is `global`.
        schedule: Number of steps and fraction removed after each.
        cost_aware: With `ranking: global`, changes of the loss are divided by the cost of the channel, so that of two channels
            of equal importance the more expensive one is removed. `target`: its parameters for targets of params or bytes,
            else its multiply-accumulates; `latency`: its time on the device of the target.
        sparse_training: Training under a penalty before the first pruning step; None for none.
        round_to: Channel counts are multiples of it, as fast kernels need them; 1 does not round. `device`: the multiple of the
            kernels of the target's device; `measure`: the fastest of 1, 4, 8, 16, 32 on this machine at the cost of the target.
        max_ratio: Largest fraction of one layer to remove; None is 0.9 for channels, 0.99 for weights. Or a fraction for each
            glob of layer names, where the first match counts and 0 leaves a layer unpruned; or the path of the JSON file that
            `compress sensitivity` writes.
        protect: Globs of module names, such as `features.0*`, whose output channels or weights are not pruned.
        recover: Training after each step.
        batches: Training batches for an importance that is computed from data; half as many for each of several scorings.
        rescorings: Each step removes its channels in this many parts, and computes changes of the loss and batch-norm
            statistics before each part, since a channel becomes more important when similar ones are removed. None is 8, but 1
            where attention heads can be removed: eight scorings gained one point for a MobileNetV2 and cost four for a ViT. 1
            for importances that are no changes of the loss.
        timing_seconds: Time, s, to measure the network after each step against the dense one on this machine; 0 does not.
    """

    accepts: ClassVar[tuple[Form, ...]] = ("torch",)
    trains: ClassVar[bool] = True
    compresses: ClassVar[bool] = True

    granularity: Annotated[str, RegistryName("granularity")] = "channel"
    pattern: Pattern | None = None
    importance: ImportanceName = "fisher"
    block_score: Annotated[str, RegistryName("block_score")] = "outputs"
    expert_score: Annotated[str, RegistryName("expert_score")] = "reap"
    rotation: Literal["blocks", "common"] = "blocks"
    target: Target
    ranking: Literal["global", "local", "erk", "row"] = "global"
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
    def _defaults(cls, fields: Any) -> Any:
        return with_defaults(fields)

    @model_validator(mode="after")
    def _target_fits(self) -> Self:
        measures = lookup("granularity", self.granularity).options.get("measures", MEASURES)
        if self.target.measure not in measures:
            rows = entries("granularity")
            fitting = [row.name for row in rows if self.target.measure in row.options.get("measures", MEASURES)]
            msg = gettext(
                "target {measure} does not fit granularity {granularity!r}, which takes "
                "{measures}; change the target, or use granularity {fitting}",
                measure=self.target.measure,
                granularity=self.granularity,
                measures=" or ".join(measures),
                fitting=" or ".join(map(repr, fitting)),
            )
            raise ValueError(msg)
        if reason := score_reason(self):
            raise ValueError(reason)
        return self

    @model_validator(mode="after")
    def _method_fits(self) -> Self:
        if reason := incompatible_reason(self) or ranking_reason(self):
            raise ValueError(reason)
        return self

    @model_validator(mode="after")
    def _pattern_fits(self) -> Self:
        if self.granularity == "n:m":
            n, m = parse_n_m(self.shape)
            if abs((self.target.sparsity or 0.0) - (1 - n / m)) > 1e-6:
                msg = gettext(
                    "pattern {shape} removes {n:g} of the weights; write target: {{sparsity: {n:g}}}",
                    shape=self.shape,
                    n=1 - n / m,
                )
                raise ValueError(msg)
        elif self.granularity == "block":
            parse_block(self.shape)
        elif self.pattern is not None:
            msg = gettext(
                "pattern belongs to granularity 'n:m' or 'block'; leave it out with granularity {granularity!r}",
                granularity=self.granularity,
            )
            raise ValueError(msg)
        return self

    @property
    def shape(self) -> str:
        """`pattern`, resolved."""
        return self.pattern or ("2:4" if self.granularity == "n:m" else "1x4")

    @property
    def scorings(self) -> int | None:
        """`rescorings` where steps have several scorings, else 1; None where it depends on the network."""
        return self.rescorings if is_iterative(self.granularity, self.importance) else 1

    @property
    def ceiling(self) -> float:
        """Largest fraction to remove of layers that no glob of `max_ratio` matches."""
        if isinstance(self.max_ratio, float):
            return self.max_ratio
        return float(lookup("granularity", self.granularity).options.get("max_ratio", 1.0))

    @property
    def ceilings(self) -> dict[str, float]:
        """Largest fractions to remove by glob, in order."""
        return self.max_ratio if isinstance(self.max_ratio, dict) else {}

    def cache_inputs(self, targets: tuple[Device, ...]) -> dict[str, object]:  # noqa: ARG002
        """The fingerprint of the device, where the result depends on it."""
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
