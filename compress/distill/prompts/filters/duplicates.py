"""Remove texts that are equal or similar to an earlier one. Imports no torch.

Wang et al. 2023, Self-Instruct, arXiv:2212.10560, section 2.2: a text is kept where its ROUGE-L with all earlier ones is below
0.7.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from pydantic import Field

from compress.distill.prompts.filters.base import TextFilter

if TYPE_CHECKING:
    from compress.core.stage import Context
    from compress.distill.prompts.written_text import WrittenText


class _TextWords(NamedTuple):
    words: tuple[str, ...]
    counts: Counter[str]


class DuplicateFilter(TextFilter):
    """`duplicates`: each text once.

    Attributes:
        similarity: Texts are similar from this ROUGE-L of prompt and text on, such as 0.7; None removes equal ones alone. The
            comparison takes a time that grows with the square of the number of texts.
    """

    similarity: float | None = Field(default=None, gt=0.0, le=1.0)

    def keep(self, texts: Sequence[WrittenText], context: Context) -> list[WrittenText]:  # noqa: ARG002
        """The first of equal or similar texts."""
        unique = {(each.prompt, each.text.strip()): each for each in reversed(texts)}
        first = [each for each in texts if unique[each.prompt, each.text.strip()] is each]
        if self.similarity is None:
            return first
        kept: list[WrittenText] = []
        known: list[_TextWords] = []
        for each in first:
            own = _words(f"{each.prompt} {each.text}")
            if all(not _is_similar(own, other, self.similarity) for other in known):
                kept.append(each)
                known.append(own)
        return kept


def _words(text: str) -> _TextWords:
    from compress.tasks.text.generated_text_metrics import words

    found = tuple(words(text))
    return _TextWords(found, Counter(found))


def _is_similar(first: _TextWords, second: _TextWords, similarity: float) -> bool:
    """Whether ROUGE-L is at least `similarity`; the common words are an upper limit of the common subsequence."""
    total = len(first.words) + len(second.words)
    if not total or 2 * (first.counts & second.counts).total() / total < similarity:
        return not total
    return 2 * common_subsequence(first.words, second.words) / total >= similarity


def common_subsequence(first: Sequence[str], second: Sequence[str]) -> int:
    """Length of the longest common subsequence."""
    row = [0] * (len(second) + 1)
    for word in first:
        before = 0
        for place, other in enumerate(second, start=1):
            kept = row[place]
            row[place] = before + 1 if word == other else max(row[place], row[place - 1])
            before = kept
    return row[-1]
