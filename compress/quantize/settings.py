"""Nested settings of the quantization stage; imports no numpy, so that a recipe is read fast."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, Self

from pydantic import ConfigDict, Field, GetJsonSchemaHandler, ValidationError, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, InitErrorDetails

from compress.core.frozen_model import FrozenModel
from compress.core.language import gettext
from compress.core.metric_limits import MetricLimits
from compress.core.registry import lookup, names
from compress.core.registry_field import RegistryName, name_of
from compress.train.settings import FinetuneSettings

COSTS = ("size_mb", "size_bytes", "latency_ms")
ACCEPTED_LOSS, MIXED_LOSS = 0.02, 0.01
"""Allowed losses of the deciding metric if the recipe gives no limit, see `allowed_loss`."""


class CalibrationSettings(FrozenModel):
    """How the ranges of activations are estimated.

    Attributes:
        method: `sample_normalized_mse` minimizes the squared error of each sample divided by the energy of the sample, so that
            a few samples with large values do not dominate; `mse` minimizes the squared error; `percentile` clips outliers;
            `minmax` covers every value; `moving_average` smooths the extremes over batches; `entropy` minimizes the KL
            divergence of the histogram, as ONNX Runtime does.
        samples: Number of training images, distributed over the classes.
        percentile: Percentage of the magnitudes inside the range, for `percentile`.
        learn_epochs: Epochs of gradient descent that learn all ranges and biases together such that the network's outputs
            change least, see `tune_ranges`; 0 keeps the ranges of `method`. 12 suffice for 256 samples.
    """

    method: Annotated[str, RegistryName("range")] = "sample_normalized_mse"
    samples: int = Field(default=256, ge=16, le=10_000)
    percentile: float = Field(default=99.99, gt=50.0, le=100.0)
    learn_epochs: int = Field(default=0, ge=0, le=1000)


class WeightSettings(FrozenModel):
    """How weights become integers, for scheme `int8`.

    Attributes:
        bits: The number of levels is 2^bits. Weights of fewer than 8 bits are stored as int8, because no supported runtime
            computes convolutions with fewer: they cost accuracy without speed-up.
        range: `minmax` covers the largest weight; `mse` minimizes the squared error of the weights for `nearest`, and of the
            layer's output for the other methods.
        rounding: `nearest`; `adaround` learns the rounding (Nagel 2020); `gptq` rounds input by input and compensates the error
            of earlier inputs (Frantar 2023) in a tenth of the time. Both work layer by layer and compensate earlier layers.
            `brecq` learns the rounding block by block, on the outputs of the rounded blocks before (Li 2021), and takes longer.
        iterations: Iterations of `adaround` per layer, or of `brecq` per block.
    """

    bits: int = Field(default=8, ge=2, le=8)
    range: Literal["minmax", "mse"] = "minmax"
    rounding: Annotated[str, RegistryName("rounding")] = "nearest"
    iterations: int = Field(default=500, ge=1, le=20_000)

    @property
    def takes_iterations(self) -> bool:
        """Whether the rounding method is iterative."""
        return bool(lookup("rounding", self.rounding).options.get("iterative"))


PartBits = Literal[4, 8, "float"] | None
"""Bits of a part of a network in blocks; None does not choose them apart."""


class WeightOnlySettings(FrozenModel):
    """Blocks of the integer weights of linear layers in ONNX Runtime, for the schemes `weight_int4` and `block_int8`.

    Attributes:
        block: Inputs that share a scale: smaller blocks are more accurate, larger ones smaller and faster. None, with
            `accuracy_level` None, chooses both by measurement if a target is this machine, else 32.
        accuracy_level: 0 computes products in float32; 4 rounds activations to int8 per block, which is faster with few tokens
            and may change answers. None chooses, else 0, and 4 for weights of 8 bits, whose float products are slow.
        head: Bits of the output layer of a language model, or `float`; None for those of the other layers. The accuracy level
            of a head of 8 bits is 4.
        embedding: Bits of embedding tables in the same blocks, or `float`; None for int8 with a scale for each row. A table
            that is also the output layer, with as many bits, is stored once.
        eight_bits: Globs of names of layers with 8 bits in place of 4, for `weight_int4`, such as `["*.v_proj*"]`; `mixed`
            finds further ones. Their accuracy level is 4.
        symmetric: Zero points in the middle of the range; otherwise each block has its own.
        rounding: `nearest`, with the range of each block that has the least squared error; `k_quant` fits scales and zero
            points to the weights by least squares, without data; `gptq` rounds input by input and compensates the error of
            earlier inputs (Frantar 2023); `awq` first scales the inputs of layers by their activations, within the norms and
            layers before them (Lin 2024); `sign_round` learns rounding and ranges of each layer by the sign of the gradient
            (AutoRound, Cheng 2023), in more time. The last three take training samples.
        samples: Training samples for `gptq`, `awq` and `sign_round`.
    """

    block: Literal[16, 32, 64, 128] | None = None
    accuracy_level: Literal[0, 4] | None = None
    head: PartBits = None
    embedding: PartBits = None
    eight_bits: tuple[str, ...] = ()
    symmetric: bool = False
    rounding: Annotated[str, RegistryName("block_rounding")] = "nearest"
    samples: int = Field(default=128, ge=8, le=10_000)

    @model_validator(mode="after")
    def _refuse_unused_samples(self) -> Self:
        if self.samples != 128 and not lookup("block_rounding", self.rounding).options.get("needs_data"):
            msg = gettext(
                "weight_only.samples are for rounding: gptq, awq or sign_round, not {rounding}; remove it",
                rounding=self.rounding,
            )
            raise ValueError(msg)
        return self


class ServingMix(FrozenModel):
    """A typical request to a network that writes texts; the speed of schemes is judged by its time.

    Attributes:
        prompt: Tokens that are read; cut at the context of the network.
        answer: Tokens that are written.
    """

    prompt: int = Field(default=128, ge=1)
    answer: int = Field(default=128, ge=1)


class AcceptanceSettings(MetricLimits):
    """Acceptance test of the quantized network against the float network, if a target is this machine.

    The key of the largest allowed loss has the name of the deciding metric, such as `accuracy_drop: 0.02` or
    `perplexity_rise: 0.5`. The loss is that against the float parent on validation; the test fails if the whole paired interval
    exceeds the limit. The default is 0.02 for a metric that is a fraction, and 2 % of the parent's value for any other metric.

    Attributes:
        changed_tokens: Largest fraction of greedy tokens that may change, for networks that write texts; None allows any, and
            the record counts them.
        keep: `better` continues with the float network if the quantized one is slower or loses too much of the metric;
            `quantized` records the result and always continues with the quantized network, for example to reduce the size.
        seconds: Timing of each file.
    """

    only_deciding_loss: ClassVar[bool] = True

    changed_tokens: float | None = Field(default=None, ge=0.0, le=1.0)
    keep: Literal["better", "quantized"] = "better"
    seconds: float = Field(default=0.5, gt=0.0)


class MixedPrecisionSettings(MetricLimits):
    """Mixed precision: the fewest float layers that meet a limit on the metric, or the best float layers under a cost budget.

    With the scheme `weight_int4` these layers have 8 bits in place of float.

    The key of the largest loss has the name of the deciding metric, such as `accuracy_drop: 0.005`; the loss is that against
    the float parent on validation. Without any budget it is 0.01 for a metric that is a fraction, and 1 % of the parent's value
    for any other metric.

    Attributes:
        size_mb: Budget for the file size, 10⁶ bytes; the layers that reduce the noise most within it stay in float.
        size_bytes: The same in bytes.
        latency_ms: Budget for the latency in ONNX Runtime on this machine, which must be a target.
        seconds: Time limit of the search; afterwards the best candidate is used.
    """

    only_deciding_loss: ClassVar[bool] = True

    size_mb: float | None = Field(default=None, gt=0.0)
    size_bytes: int | None = Field(default=None, gt=0)
    latency_ms: float | None = Field(default=None, gt=0.0)
    seconds: float = Field(default=300.0, gt=0.0)

    @model_validator(mode="after")
    def _refuse_two_budgets(self) -> Self:
        budgets = [*self.limits, *self.cost_limits]
        if len(budgets) > 1:
            allowed = gettext("the loss of the metric, {costs}", costs=", ".join(COSTS))
            msg = gettext(
                "mixed allows one budget of {allowed}; remove all but one of {budgets}",
                allowed=allowed,
                budgets=", ".join(budgets),
            )
            raise ValueError(msg)
        return self

    @property
    def cost_limits(self) -> tuple[str, ...]:
        """Names of the budgets of size or latency."""
        return tuple(name for name in COSTS if getattr(self, name) is not None)

    @property
    def max_bytes(self) -> float | None:
        """The size budget in bytes; None without one."""
        return self.size_mb * 1e6 if self.size_mb is not None else self.size_bytes


class QATSettings(FinetuneSettings):
    """Quantization-aware training, for networks that lose too much accuracy in post-training quantization.

    Attributes:
        scales: `learned` also trains the scales of weights and activations (LSQ, Esser 2020); `fixed` keeps the scales of
            post-training quantization and calibration.
    """

    scales: Literal["learned", "fixed"] = "learned"
    epochs: int = Field(default=2, ge=1)

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        unavailable = [name_of("loss", term) for term in self.losses if {"features", "input_gradient"} & set(term.needs)]
        if unavailable and self.teacher != "none":
            msg = gettext(
                "recover.losses: {unavailable} needs inner features, which the exported graph that is trained here "
                "does not have; use losses of the outputs, such as response and task",
                unavailable=", ".join(unavailable),
            )
            raise ValueError(msg)
        return self


class PTQSettings(FrozenModel):
    """Passes of post-training quantization before Q/DQ pairs are inserted, in this order.

    Other passes of the registry family `ptq_pass` are keys, too: true, or a number for the pass.

    Attributes:
        equalize: Cross-layer equalization: rescale channels between layers such that one scale per tensor fits all channels,
            and absorb high biases (Nagel 2019).
        smooth: SmoothQuant's α (Xiao 2023): moves magnitude of outlier channels from activations into the weights that read
            them, all of it with 1; start with 0.5. None does not smooth. Applies to inputs of linear layers in transformers and
            to residual streams of convolutional networks.
        weights: How weights become integers.
        bias_correction: `analytic` computes the shift of each output mean from the means of the inputs; `empirical` measures
            it layer by layer with all earlier layers rounded.
    """

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, bool | float | None]

    equalize: bool = False
    smooth: float | None = Field(default=None, ge=0.0, le=1.0)
    weights: WeightSettings = WeightSettings()
    bias_correction: Annotated[str, RegistryName("bias_correction")] = "none"

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        tree = handler(schema)
        values = {"anyOf": [{"type": "boolean"}, {"type": "number"}, {"type": "null"}]}
        others = {name: values for name in names("ptq_pass") if name not in cls.model_fields}
        handler.resolve_ref_schema(tree).update(additionalProperties=False)
        handler.resolve_ref_schema(tree)["properties"].update(others)
        return tree

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_passes(cls, settings: object) -> object:
        if isinstance(settings, Mapping):
            unknown = settings.keys() - cls.model_fields.keys() - set(names("ptq_pass"))
            errors = [
                InitErrorDetails(type="extra_forbidden", loc=(key,), input=settings[key]) for key in sorted(unknown, key=str)
            ]
            if errors:
                raise ValidationError.from_exception_data(cls.__name__, errors)
        return settings

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        if self.weights.iterations != WeightSettings().iterations and not self.weights.takes_iterations:
            msg = gettext(
                "weights.iterations applies to rounding: adaround or brecq, not {rounding}; remove it",
                rounding=self.weights.rounding,
            )
            raise ValueError(msg)
        if lookup("rounding", self.weights.rounding).options.get("blockwise") and self.bias_correction != "none":
            msg = gettext(
                "bias_correction: {bias_correction} is redundant, because rounding: {rounding} already "
                "minimises the error of the outputs, their means included; remove one of them",
                bias_correction=self.bias_correction,
                rounding=self.weights.rounding,
            )
            raise ValueError(msg)
        return self
