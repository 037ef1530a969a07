"""One matrix to round in blocks, as the methods of the registry family `block_rounding` take it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from compress.quantize.ptq.gptq import DampedHessian
from compress.quantize.ptq.input_statistics import LayerInputs
from compress.quantize.weight_only.blockwise import BlockwiseWeight, quantize_blocks


@dataclass(eq=False)
class BlockRounding:
    """One matrix to round.

    Attributes:
        w: W, (K, D), float32.
        bits: b.
        block: Inputs that share a scale.
        symmetric: The zero point is 2^(b−1).
        inputs: Statistics of the layer's inputs in the float network and behind the rounded layers; None for methods that
            need none.
    """

    w: np.ndarray
    bits: int
    block: int
    symmetric: bool
    inputs: LayerInputs | None = None

    def nearest(self, w: np.ndarray | None = None) -> BlockwiseWeight:
        """A matrix, W by default, rounded to the nearest."""
        return quantize_blocks(self.w if w is None else w, self.bits, self.block, symmetric=self.symmetric)

    @property
    def statistics(self) -> LayerInputs:
        """The statistics, which a method that asks for them has."""
        assert self.inputs is not None  # noqa: S101  # the registry option `needs_data` gives them
        return self.inputs

    @cached_property
    def hessian(self) -> DampedHessian:
        """H of the inputs behind the rounded layers."""
        return DampedHessian(self.statistics.hessian)


RoundBlocks = Callable[[BlockRounding], BlockwiseWeight]


def round_nearest(problem: BlockRounding) -> BlockwiseWeight:
    """Row `nearest` of the registry: of several narrower ranges of each block the one with the least squared error."""
    return problem.nearest()
