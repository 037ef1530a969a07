"""Entities in sequences of tags: the schemes BIO (IOB1, IOB2) and BIOES, read as the CoNLL-2000 evaluation reads them.

A tag is `O`, or a prefix and a type, such as `B-PER`. `B` begins an entity, `I` is inside, `E` ends it, and `S` is one by
itself; an entity also begins or ends where the type changes. Ramshaw & Marcus 1995, arXiv:cmp-lg/9505040; Tjong Kim Sang &
Buchholz 2000, "Introduction to the CoNLL-2000 Shared Task".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from compress.core.errors import DataError
from compress.core.language import gettext

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

OUTSIDE, BEGIN, INSIDE, END, SINGLE = range(5)
PREFIXES = {"O": OUTSIDE, "B": BEGIN, "I": INSIDE, "E": END, "S": SINGLE, "L": END, "U": SINGLE}
"""`L` and `U` are the names of `E` and `S` in the scheme BILOU."""


class Spans(NamedTuple):
    """Entities.

    Attributes:
        samples: Sequence that each is in, (E,).
        begins: Place of its first token among the tokens of all sequences, (E,).
        ends: Place of its last token, (E,).
        types: Number of its type, (E,).
    """

    samples: Ints
    begins: Ints
    ends: Ints
    types: Ints


class TagScheme(NamedTuple):
    """What the tags of the data mean.

    Attributes:
        prefixes: Prefix of each tag, `OUTSIDE` to `SINGLE`, and `OUTSIDE` for one more, (K + 1,).
        types: Number of the type of each tag, (K + 1,); −1 for `O`.
        names: Names of the types.
    """

    prefixes: Ints
    types: Ints
    names: tuple[str, ...]

    @classmethod
    def of(cls, tags: Sequence[str]) -> TagScheme:
        """The scheme of tags.

        A tag without one of the prefixes is a class of single tokens, such as a part of speech: each run of it is an entity.

        Args:
            tags: K names.

        Raises:
            DataError: There are no tags, or no tag has an entity.
        """
        parts = [_divide(tag) for tag in tags]
        names = tuple(dict.fromkeys(kind for prefix, kind in parts if prefix != OUTSIDE))
        if not names:
            msg = gettext(
                "the tags are {tags}; entities need tags such as O, B-PER and I-PER", tags=", ".join(tags) or gettext("none")
            )
            raise DataError(msg)
        types = [-1 if prefix == OUTSIDE else names.index(kind) for prefix, kind in parts]
        return cls(np.array([*(prefix for prefix, _ in parts), OUTSIDE]), np.array([*types, -1]), names)

    def find(self, tags: Ints, samples: Ints) -> Spans:
        """The entities of sequences.

        Args:
            tags: Numbers of the tags of all sequences, one after another, (M,).
            samples: Sequence of each, in ascending order, (M,).
        """
        prefix = np.concatenate([[OUTSIDE], self.prefixes[tags], [OUTSIDE]])
        kind = np.concatenate([[-1], self.types[tags], [-1]])
        sample = np.concatenate([[-1], samples, [-1]])
        starts = np.flatnonzero(_begins(prefix, kind, sample)) - 1
        stops = np.flatnonzero(_finishes(prefix, kind, sample)) - 1
        begins = starts[np.searchsorted(starts, stops, side="right") - 1]
        return Spans(samples[begins], begins, stops, self.types[tags[begins]])


def _divide(tag: str) -> tuple[int, str]:
    """Prefix and type of a tag."""
    head, dash, kind = tag.partition("-") if tag[1:2] == "-" else tag.partition("_") if tag[1:2] == "_" else (tag, "", "")
    if tag == "O":
        return OUTSIDE, ""
    if dash and kind and head in PREFIXES and head != "O":
        return PREFIXES[head], kind
    return INSIDE, tag


def _begins(prefix: Ints, kind: Ints, sample: Ints) -> Flags:
    """Whether an entity begins at a tag, from the tag before it."""
    previous, old, inside = _shifted(prefix), _shifted(kind), prefix != OUTSIDE
    other = (old != kind) | (_shifted(sample) != sample)
    after_end = np.isin(previous, (OUTSIDE, END, SINGLE))
    begins: Flags = inside & (np.isin(prefix, (BEGIN, SINGLE)) | after_end | other)
    return begins


def _finishes(prefix: Ints, kind: Ints, sample: Ints) -> Flags:
    """Whether an entity ends at a tag: one is open there, and none goes on at the next tag."""
    following = np.append(prefix[1:], OUTSIDE)
    next_begins = np.append(_begins(prefix, kind, sample)[1:], False)
    finishes: Flags = (prefix != OUTSIDE) & (next_begins | (following == OUTSIDE))
    return finishes


def _shifted(values: Ints) -> Ints:
    return np.concatenate([values[:1], values[:-1]])
