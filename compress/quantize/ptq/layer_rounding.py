"""The interface of methods that round one layer's weights: family `rounding` of the registry, rows without `blockwise`.

A method is a function from `LayerRounding` to integers q, (G, K, D), int8. `round_weights` calls it layer by layer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from compress.quantize.ptq.following_activation import ActivationFunction
from compress.quantize.ptq.gptq import DampedHessian, gptaq_target
from compress.quantize.ptq.input_statistics import LayerInputs


@dataclass(eq=False)
class LayerRounding:
    """One layer to round.

    Attributes:
        w: W, (G, K, D), float32.
        s: Scales, (G, K).
        bits: Levels are 2^bits.
        inputs: What the layer reads in the float network and in the quantized one.
        bias: (G, K).
        activation: Function that follows the layer; None for the identity.
        iterations: Steps of a method that optimizes.
    """

    w: np.ndarray
    s: np.ndarray
    bits: int
    inputs: LayerInputs
    bias: np.ndarray
    activation: ActivationFunction | None
    iterations: int

    @cached_property
    def hessian(self) -> DampedHessian:
        """H of the quantized network's inputs."""
        return DampedHessian(self.inputs.hessian)

    @cached_property
    def target(self) -> np.ndarray:
        """W*, the weights that do best with the quantized network's inputs."""
        return gptaq_target(self.w, self.hessian, self.inputs.cross_moment)


RoundLayer = Callable[[LayerRounding], np.ndarray]
