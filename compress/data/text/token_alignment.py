"""Tokens of one text by two tokenizers, in groups that stand for the same bytes.

    first    |str|ing |of|
    second   |st|ring| of|     →   groups ({str, ing}, {st, ring}), ({ of}, …): both have a boundary after "string"

A group ends where a token of both ends. Tokens that stand for no bytes, such as the one that ends a text, belong to the group
before them, but at the end of a text, where both have such a token, these are a group of their own. Imports no torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class TokenGroup(NamedTuple):
    """Tokens of the same bytes.

    Attributes:
        first: Places of the first tokenizer's, start and end.
        second: Places of the second one's.
    """

    first: tuple[int, int]
    second: tuple[int, int]


def align_tokens(first: Sequence[int], second: Sequence[int]) -> list[TokenGroup]:
    """The groups of two sequences of tokens, as far as both stand for the same number of bytes.

    Args:
        first: Bytes that each token of the first tokenizer stands for.
        second: The same of the second one, of the same text.
    """
    has_ends = bool(len(first) and len(second) and first[-1] == 0 and second[-1] == 0)
    sizes = [list(each[:-1]) if has_ends else list(each) for each in (first, second)]
    ends = [_boundaries(each) for each in sizes]
    groups, start = [], (0, 0)
    for total in sorted(ends[0].keys() & ends[1].keys()):
        stop = ends[0][total], ends[1][total]
        groups.append(TokenGroup((start[0], stop[0]), (start[1], stop[1])))
        start = stop
    if has_ends and start == (len(sizes[0]), len(sizes[1])):
        groups.append(TokenGroup((start[0], start[0] + 1), (start[1], start[1] + 1)))
    return groups


def _boundaries(sizes: Sequence[int]) -> dict[int, int]:
    """Place after the last token of each number of bytes so far."""
    found, total = {}, 0
    for place, size in enumerate(sizes, start=1):
        total += size
        if total:
            found[total] = place
    return found
