"""Block sparsity: rectangles of output × input channels are removed, so that a sparse CPU kernel loads whole vectors.

Narang et al. 2017, "Block-Sparse Recurrent Neural Networks", arXiv:1711.02782. In a convolution a block lies in one kernel
position: 1×4 is four neighbouring input channels of one output, 4×1 four neighbouring outputs of one input.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Block:
    """Shape of the weights that are removed together.

    Attributes:
        rows: Neighbours along a weight's first dimension, the outputs.
        columns: Neighbours along its second, the inputs.
    """

    rows: int = 1
    columns: int = 1

    @property
    def size(self) -> int:
        """Weights in it."""
        return self.rows * self.columns

    def divides(self, shape: Sequence[int]) -> bool:
        """Whether a weight of this shape (out, in, kernel…) divides into blocks."""
        return shape[0] % self.rows == 0 and shape[1] % self.columns == 0

    def pool(self, s: Tensor) -> Tensor:
        """Mean score of each block: (R·r, C·c, kernel…) → (R, C, kernel…)."""
        if self.size == 1:
            return s
        columns = torch.unflatten(s, 1, (-1, self.columns))
        return torch.unflatten(columns, 0, (-1, self.rows)).mean(dim=(1, 3))

    def spread(self, mask: Tensor) -> Tensor:
        """A mask of blocks as a mask of weights: (R, C, kernel…) → (R·r, C·c, kernel…)."""
        return mask.repeat_interleave(self.rows, 0).repeat_interleave(self.columns, 1)


SINGLE = Block()
