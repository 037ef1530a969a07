"""Answers to questions as text: what counts as the same answer, and how much of one another answer has.

Rajpurkar et al. 2016, SQuAD, arXiv:1606.05250, section 6.1: punctuation, articles and case do not count.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence

SEPARATOR = "\x1e"
"""Character between texts: U+001E, "record separator"."""
_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalise_answer(text: str) -> str:
    """The text in lower case, without punctuation, the articles a, an and the, and further blanks."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def exact_match(answer: str, true: str) -> float:
    """1 for the same answer, else 0."""
    return float(normalise_answer(answer) == normalise_answer(true))


def word_f1(answer: str, true: str) -> float:
    """F1 of the words, each as often as it occurs; for an answer without words 1 if the other one has none either, else 0."""
    words, true_words = normalise_answer(answer).split(), normalise_answer(true).split()
    if not words or not true_words:
        return float(words == true_words)
    common = sum((Counter(words) & Counter(true_words)).values())
    return 2 * common / (len(words) + len(true_words))


def best_scores(answer: str, answers: Sequence[str]) -> tuple[float, float]:
    """Exact match and F1, each with the true answer that it is highest for.

    Args:
        answer: The answer; empty for none.
        answers: The true answers; none for a question without an answer.
    """
    true = answers or ("",)
    return max(exact_match(answer, each) for each in true), max(word_f1(answer, each) for each in true)


def encode_text(text: str) -> list[int]:
    """Code points of a text; the separator is a blank."""
    return [*map(ord, text.replace(SEPARATOR, " ").replace("\0", " "))]


def encode_texts(texts: Sequence[str]) -> list[int]:
    """Code points of several texts, each but the last with a separator after it."""
    return [point for index, text in enumerate(texts) for point in ([ord(SEPARATOR)] if index else []) + encode_text(text)]


def decode_text(points: Sequence[int]) -> str:
    """The text of code points up to the first 0."""
    return "".join(map(chr, points)).partition("\0")[0]


def decode_texts(points: Sequence[int]) -> list[str]:
    """The texts of code points with separators; none without code points."""
    text = decode_text(points)
    return text.split(SEPARATOR) if text else []
