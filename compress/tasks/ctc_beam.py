"""Prefix-beam search of CTC outputs: the likeliest text, and not the likeliest path.

Many paths give one text, and the search adds their probabilities. For each prefix y of a text it keeps the probability of all
paths so far that give y and end in a blank, b(y), or in its last character, c(y). A frame with probabilities p changes them to

    b'(y) = (b(y) + c(y)) p_blank,      c'(y) = c(y) p_y_last,      c'(y k) += p_k (b(y) + [k ≠ y_last] c(y))

Graves & Jaitly 2014, ICML, "Towards end-to-end speech recognition with recurrent neural networks"; Hannun et al. 2014,
arXiv:1408.2873. There is no language model here.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from compress.data.characters import BLANK

Prefix = tuple[int, ...]
PRUNED = 1e-4
"""Classes of a frame with a smaller probability are not tried."""
WIDTH = 8
"""Number of prefixes of the task `speech_ctc` and of `infer.py`."""


def beam_classes(log_p: NDArray[np.floating], width: int) -> NDArray[np.int64]:
    """Classes of the likeliest text that the search finds.

    Args:
        log_p: Logarithm of the probabilities, (T, K), blank first.
        width: Number of prefixes that are kept after each frame, at least 1.
    """
    beams: dict[Prefix, tuple[float, float]] = {(): (1.0, 0.0)}
    for frame in np.exp(log_p.astype(np.float64)):
        chosen = [int(k) for k in np.flatnonzero(frame >= PRUNED) if k != BLANK]
        following: dict[Prefix, list[float]] = {}
        for prefix, (in_blank, in_character) in beams.items():
            total = in_blank + in_character
            same = following.setdefault(prefix, [0.0, 0.0])
            same[0] += total * frame[BLANK]
            same[1] += in_character * frame[prefix[-1]] if prefix else 0.0
            for k in chosen:
                before = in_blank if prefix and k == prefix[-1] else total
                following.setdefault((*prefix, k), [0.0, 0.0])[1] += before * frame[k]
        best = sorted(following.items(), key=lambda item: -(item[1][0] + item[1][1]))[:width]
        scale = sum(map(sum, (values for _, values in best))) or 1.0
        beams = {prefix: (values[0] / scale, values[1] / scale) for prefix, values in best}
    likeliest = max(beams, key=lambda prefix: sum(beams[prefix]))
    return np.array(likeliest, dtype=np.int64)
