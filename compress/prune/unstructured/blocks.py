"""Block sparsity: blocks of output × input channels are removed, so that a sparse CPU kernel can load whole vectors.

Narang et al. 2017, "Block-Sparse Recurrent Neural Networks", arXiv:1711.02782. A block of a convolution is at one kernel
position: 1×4 is four adjacent input channels of one output, 4×1 is four adjacent outputs of one input.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Block:
    """Shape of a block of weights that are removed together.

    Attributes:
        rows: Size along the first dimension of a weight, the outputs.
        columns: Size along the second dimension, the inputs.
    """

    rows: int = 1
    columns: int = 1

    @property
    def size(self) -> int:
        """Number of weights in a block."""
        return self.rows * self.columns

    def divides(self, shape: Sequence[int]) -> bool:
        """Whether a weight of this shape (out, in, kernel…) divides into blocks."""
        return shape[0] % self.rows == 0 and shape[1] % self.columns == 0

    def pool(self, s: Tensor) -> Tensor:
        """Mean score of each block, with r rows and c columns: (R·r, C·c, kernel…) → (R, C, kernel…)."""
        if self.size == 1:
            return s
        columns = torch.unflatten(s, 1, (-1, self.columns))
        return torch.unflatten(columns, 0, (-1, self.rows)).mean(dim=(1, 3))

    def spread(self, mask: Tensor) -> Tensor:
        """Mask of blocks → mask of weights: (R, C, kernel…) → (R·r, C·c, kernel…)."""
        return mask.repeat_interleave(self.rows, 0).repeat_interleave(self.columns, 1)


SINGLE = Block()
