"""Choose the next token: the likeliest one, or a random one of the nucleus.

    p_v ∝ exp(z_v / T)
    nucleus: the fewest likeliest tokens whose probabilities sum to at least `top_p`

Holtzman et al. 2020, The curious case of neural text degeneration, arXiv:1904.09751.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from compress.backends.runner_protocol import Array


class Sampler:
    """Chooses tokens; the same seed gives the same tokens.

    Args:
        temperature: T ≥ 0; 0 takes the likeliest token.
        top_p: Probability of the nucleus, in (0, 1].
        seed: Of the random numbers.
    """

    def __init__(self, temperature: float = 0.0, top_p: float = 1.0, seed: int = 0) -> None:
        self.temperature, self.top_p = temperature, top_p
        self._random = np.random.default_rng(seed)

    def choose(self, logits: Array) -> int:
        """The next token.

        Args:
            logits: z, (V,).
        """
        if self.temperature <= 0:
            return int(logits.argmax())
        z = logits.astype(np.float64) / self.temperature
        p = np.exp(z - z.max())
        p /= p.sum()
        order = np.argsort(-p, kind="stable")
        before = np.cumsum(p[order]) - p[order]
        kept = order[before < self.top_p]
        return int(self._random.choice(kept, p=p[kept] / p[kept].sum()))
