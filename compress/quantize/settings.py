"""The parameters of quantization that have parts of their own. Light: a recipe is read without numpy."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from compress.record import Frozen

Scheme = Literal["auto", "int8", "dynamic_int8", "weight_int8", "weight_int4", "fp16"]
Rounding = Literal["nearest", "adaround", "gptq"]


class Calibration(Frozen):
    """Where the ranges of activations come from.

    Attributes:
        method: `percentile` cuts outliers off; `minmax` takes all that was seen; `moving_average` smooths the extremes over
            batches; `mse` makes the squared error least; `entropy` loses least information of the histogram, which is not least
            accuracy: it has cost a pruned MobileNetV2 ten points that the others kept.
        samples: Training images, spread over the classes.
        percentile: Of magnitudes that stay inside the range, for `percentile`.
    """

    method: Literal["minmax", "moving_average", "percentile", "mse", "entropy"] = "percentile"
    samples: int = Field(default=256, ge=16, le=10_000)
    percentile: float = Field(default=99.99, gt=50.0, le=100.0)


class Weights(Frozen):
    """How weights become integers, for scheme `int8`.

    Attributes:
        bits: Levels are 2^bits; fewer than 8 are kept in int8, since no runtime here computes convolutions with fewer, so that
            they cost accuracy and bring no speed on this machine.
        range: `minmax` holds the largest weight; `mse` makes the squared error least, of the weights for `nearest`, of what the
            layer gives for the others.
        rounding: `nearest`; `adaround` learns it (Nagel 2020); `gptq` rounds input by input, each correcting the ones before
            (Frantar 2023), in a tenth of the time. Both go layer by layer and make up for the layers before.
        iterations: Steps of `adaround` for each layer.
    """

    bits: int = Field(default=8, ge=2, le=8)
    range: Literal["minmax", "mse"] = "minmax"
    rounding: Rounding = "nearest"
    iterations: int = Field(default=500, ge=1, le=20_000)


class Gate(Frozen):
    """When the quantized network is not worth having, on a target that is this machine.

    Attributes:
        keep: `better` goes on with the float network where the quantized one is slower or loses too much; `quantized` records
            the verdict and goes on with the quantized one in any case, for example when size is what counts.
        accuracy_drop: Largest loss of the metric against the float parent on validation; too much is what exceeds it with the
            whole paired interval.
        seconds: Counted time of each file.
    """

    keep: Literal["better", "quantized"] = "better"
    accuracy_drop: float = Field(default=0.02, ge=0.0, le=1.0)
    seconds: float = Field(default=0.5, gt=0.0)


class Mixed(Frozen):
    """Which layers stay in float: the fewest with which the accuracy budget holds.

    Attributes:
        accuracy_drop: Largest loss of the metric against the float parent on validation.
        seconds: When to stop searching; the best found so far is what is kept.
    """

    accuracy_drop: float = Field(default=0.01, ge=0.0, le=1.0)
    seconds: float = Field(default=300.0, gt=0.0)


class Ladder(Frozen):
    """What is done to a network before and while its weights are rounded, in this order.

    Attributes:
        equalize: Rescale channels between layers so that one step fits all (Nagel 2019); high biases are absorbed.
        weights: How weights become integers.
        bias_correction: `analytic` takes the shift of each output's mean from the means of the inputs; `empirical` measures it
            layer by layer with all before it rounded.
    """

    equalize: bool = False
    weights: Weights = Weights()
    bias_correction: Literal["none", "analytic", "empirical"] = "none"

    @model_validator(mode="after")
    def _refuse_idle_iterations(self) -> Self:
        if self.weights.iterations != Weights().iterations and self.weights.rounding != "adaround":
            msg = f"weights.iterations is for rounding: adaround, and rounding is {self.weights.rounding}; leave it out"
            raise ValueError(msg)
        return self
