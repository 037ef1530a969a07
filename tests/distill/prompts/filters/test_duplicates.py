"""Equal and similar texts, similarity against rouge-score."""

import random

import pytest
from rouge_score.rouge_scorer import RougeScorer

from compress.distill.prompts.filters.duplicates import DuplicateFilter, common_subsequence
from tests.distill.prompts.filters.texts import kept, texts


def test_the_first_of_equal_texts_of_a_prompt_is_kept():
    given = [*texts("yes", "no", "yes "), *texts("yes", prompt="q")]
    assert kept(DuplicateFilter(), given) == ["yes", "no", "yes"]


def test_similar_texts_are_those_of_rouge_l():
    words = random.Random(0)
    given = [text for n in range(40) for text in texts(" ".join(words.choices("abcdefgh", k=6)), prompt=f"q{n % 3}", source=n)]
    scorer, expected = RougeScorer(["rougeL"]), []
    for each in given:
        whole = f"{each.prompt} {each.text}"
        if all(scorer.score(f"{other.prompt} {other.text}", whole)["rougeL"].fmeasure < 0.6 for other in expected):
            expected.append(each)
    assert 1 < len(expected) < len(given)
    assert kept(DuplicateFilter(similarity=0.6), given) == [each.text for each in expected]


@pytest.mark.parametrize(("first", "second", "length"), [("abcbdab", "bdcaba", 4), ("", "a", 0), ("abc", "abc", 3)])
def test_the_common_subsequence_is_the_longest(first, second, length):
    assert common_subsequence(first, second) == common_subsequence(second, first) == length
