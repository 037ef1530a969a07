"""Edit distance of two sequences: the fewest insertions, deletions and substitutions that make one of the other.

Levenshtein 1966, Soviet Physics Doklady 10:707; computed by the recurrence of Wagner & Fischer 1974, J. ACM 21:168.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np


def edit_distance(first: Sequence[Hashable], second: Sequence[Hashable]) -> int:
    """Fewest insertions, deletions and substitutions of single elements that turn the first sequence into the second.

        d(i, j) = min(d(i − 1, j) + 1, d(i, j − 1) + 1, d(i − 1, j − 1) + [a_i ≠ b_j]),   d(i, 0) = i,  d(0, j) = j

    A row is computed at once: with e_j the best of the terms from the row before, d(i, j) = j + min_{l ≤ j} (e_l − l), as
    each further element of the second sequence costs one insertion.

    Args:
        first: a, such as the characters or the words of a text.
        second: b, of the same kind.
    """
    numbers: dict[Hashable, int] = {}
    a, b = (
        np.array([numbers.setdefault(each, len(numbers)) for each in sequence], dtype=np.int64) for sequence in (first, second)
    )
    places = np.arange(len(b) + 1)
    row = places.copy()
    for count, element in enumerate(a, start=1):
        best = np.empty_like(row)
        best[0] = count
        best[1:] = np.minimum(row[1:] + 1, row[:-1] + (b != element))
        row = np.minimum.accumulate(best - places) + places
    return int(row[-1])
