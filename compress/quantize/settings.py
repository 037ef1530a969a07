"""The parameters of quantization that have parts of their own. Light: a recipe is read without numpy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, Self

from pydantic import ConfigDict, Field, GetJsonSchemaHandler, ValidationError, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, InitErrorDetails

from compress.core.frozen_model import FrozenModel
from compress.core.metric_limits import MetricLimits
from compress.core.registry import lookup, names
from compress.core.registry_field import RegistryName, name_of
from compress.train.settings import FinetuneSettings

COSTS = ("size_mb", "size_bytes", "latency_ms")
ACCEPTED_LOSS, MIXED_LOSS = 0.02, 0.01
"""Losses of the deciding metric allowed where no limit is given, see `allowed_loss`."""


class CalibrationSettings(FrozenModel):
    """Where the ranges of activations come from.

    Attributes:
        method: `sample_normalized_mse` minimizes the squared error of each sample divided by the sample's energy, so that few
            samples with large values do not determine the range; `mse` minimizes the squared error; `percentile` clips
            outliers; `minmax` covers every value; `moving_average` smooths the extremes over batches; `entropy` minimizes the
            KL divergence of the histogram, as ONNX Runtime does.
        samples: Training images, spread over the classes.
        percentile: Of magnitudes that stay inside the range, for `percentile`.
        learn_epochs: Passes over the samples in which all ranges and biases are learned together by gradient descent, so that
            the network's outputs change least, see `tune_ranges`; 0 keeps the ranges of `method`. 12 suffice for 256 samples.
    """

    method: Annotated[str, RegistryName("range")] = "sample_normalized_mse"
    samples: int = Field(default=256, ge=16, le=10_000)
    percentile: float = Field(default=99.99, gt=50.0, le=100.0)
    learn_epochs: int = Field(default=0, ge=0, le=1000)


class WeightSettings(FrozenModel):
    """How weights become integers, for scheme `int8`.

    Attributes:
        bits: Levels are 2^bits. Fewer than 8 bits are stored as int8, since no runtime here computes convolutions with fewer:
            they cost accuracy and bring no speed on this machine.
        range: `minmax` covers the largest weight; `mse` minimizes the squared error: of the weights for `nearest`, of the
            layer's output for the others.
        rounding: `nearest`; `adaround` learns it (Nagel 2020); `gptq` rounds input by input, each compensating the error of the
            ones before (Frantar 2023), in a tenth of the time. Both go layer by layer and compensate earlier layers. `brecq`
            learns it block by block, with the output of the rounded blocks as input (Li 2021), and takes longer.
        iterations: Iterations of `adaround` per layer, of `brecq` per block.
    """

    bits: int = Field(default=8, ge=2, le=8)
    range: Literal["minmax", "mse"] = "minmax"
    rounding: Annotated[str, RegistryName("rounding")] = "nearest"
    iterations: int = Field(default=500, ge=1, le=20_000)

    @property
    def takes_iterations(self) -> bool:
        """Whether the rounding is learned in iterations."""
        return bool(lookup("rounding", self.rounding).options.get("iterative"))


class AcceptanceSettings(MetricLimits):
    """When the quantized network replaces the float one, on a target that is this machine.

    The loss of the deciding metric allowed, against the float parent on validation, is given under its name, such as
    `accuracy_drop: 0.02` or `perplexity_rise: 0.5`; the test fails where the whole paired interval exceeds it. It is 0.02 of a
    fraction, or 2 % of the parent's value of any other metric, where none is given.

    Attributes:
        keep: `better` continues with the float network where the quantized one is slower or loses too much of the metric;
            `quantized` records the verdict and continues with the quantized one in any case, for example to reduce the size.
        seconds: Measuring time of each file.
    """

    only_deciding_loss: ClassVar[bool] = True

    keep: Literal["better", "quantized"] = "better"
    seconds: float = Field(default=0.5, gt=0.0)


class MixedPrecisionSettings(MetricLimits):
    """Which layers stay in float: the fewest with which a limit on the metric holds, or the best under another budget.

    The largest loss of the deciding metric, against the float parent on validation, is given under its name, such as
    `accuracy_drop: 0.005`. Where no budget is given it is 0.01 of a fraction, or 1 % of the parent's value of any other metric.

    Attributes:
        size_mb: Largest file, 10⁶ bytes; the layers that save most noise under it stay in float.
        size_bytes: The same in bytes.
        latency_ms: Largest latency in ONNX Runtime, measured on this machine, which must be a target; likewise.
        seconds: When to stop searching; the best candidate so far is used.
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
            allowed = f"the loss of the metric, {', '.join(COSTS)}"
            msg = f"mixed takes one budget of {allowed}, and {' and '.join(budgets)} are given; leave all but one out"
            raise ValueError(msg)
        return self

    @property
    def cost_limits(self) -> tuple[str, ...]:
        """The budget of size or latency, where one is given."""
        return tuple(name for name in COSTS if getattr(self, name) is not None)

    @property
    def max_bytes(self) -> float | None:
        """The size budget; None where another is given."""
        return self.size_mb * 1e6 if self.size_mb is not None else self.size_bytes


class QATSettings(FinetuneSettings):
    """Training with fake quantization, where post-training quantization loses too much accuracy.

    Attributes:
        scales: `learned` trains the scales of weights and activations as well (LSQ, Esser 2020); `fixed` keeps those of
            post-training quantization and calibration, and trains the weights alone.
    """

    scales: Literal["learned", "fixed"] = "learned"
    epochs: int = Field(default=2, ge=1)

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        if self.precision in ("bf16", "fp16"):
            msg = f"recover.precision {self.precision} is coarser than what is to be rounded; leave it out, float32 is used"
            raise ValueError(msg)
        unavailable = [name_of("loss", term) for term in self.losses if {"features", "input_gradient"} & set(term.needs)]
        if unavailable and self.teacher != "none":
            msg = (
                f"recover.losses: {', '.join(unavailable)} looks inside the network, and what is trained here is its exported "
                "graph with rounding in between; use losses on answers, such as response and task"
            )
            raise ValueError(msg)
        return self


class PTQSettings(FrozenModel):
    """Passes of post-training quantization before Q/DQ pairs are inserted, in this order.

    Any other pass of the registry's family `ptq_pass` is a key as well: true, or a number that the pass reads.

    Attributes:
        equalize: Rescale channels between layers so that one scale per tensor fits all (Nagel 2019); high biases are absorbed.
        smooth: SmoothQuant's α (Xiao 2023): the magnitude of outlier channels of activations is moved into the weights that
            read them, all of it with 1; start with 0.5. None leaves activations as they are. It applies to the inputs of
            linear layers in transformers and to whole residual streams in convolutional networks.
        weights: How weights become integers.
        bias_correction: `analytic` computes the shift of each output's mean from the means of the inputs; `empirical` measures
            it layer by layer with all layers before it rounded.
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
            msg = f"weights.iterations is for rounding: adaround or brecq, not {self.weights.rounding}; leave it out"
            raise ValueError(msg)
        if lookup("rounding", self.weights.rounding).options.get("blockwise") and self.bias_correction != "none":
            msg = (
                f"bias_correction: {self.bias_correction} corrects means that rounding shifts, and rounding: "
                f"{self.weights.rounding} minimises the error of outputs, their means included; leave one of them out"
            )
            raise ValueError(msg)
        return self
