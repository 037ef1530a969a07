"""Metrics of written texts, against the packages that define them."""

import numpy as np
import pytest
import sacrebleu
from rouge_score.rouge_scorer import RougeScorer

from compress.tasks.metric_quantity import drawn_rows, estimate
from compress.tasks.text.generated_text_metrics import Bleu, CharacterErrors, ExactMatch, RougeL

REFERENCES = [
    "Return the absolute value of the argument.",
    "Open a file and return a stream, or raise OSError upon failure.",
    "Remove all items from D; it has no others.",
    "yes",
] * 5
TEXTS = [
    "Return the value of an argument.",
    "Open a file and return a file object, or raise OSError upon failure.",
    " Remove all items from D; it has no others.\n",
    "",
] * 5


def test_rouge_l_is_that_of_rouge_score():
    scorer = RougeScorer(["rougeL"])
    expected = [scorer.score(reference, text)["rougeL"].fmeasure for text, reference in zip(TEXTS, REFERENCES, strict=True)]
    assert RougeL().compare(TEXTS, REFERENCES) == pytest.approx(expected)


def test_rouge_l_of_other_scripts_compares_words_and_chinese_characters():
    found = RougeL().compare(["打开文件", "открыть файл", "Öl", ""], ["打开一个文件", "открыть файлы", "Öl", ""])
    assert found == pytest.approx([2 * 4 / (4 + 6), 0.5, 1.0, 1.0])


def test_bleu_of_the_sums_is_that_of_the_corpus_and_its_draws_are_those_of_drawn_texts():
    metric = Bleu()
    scores = metric.compare(TEXTS, REFERENCES)
    assert metric.value(scores) == pytest.approx(sacrebleu.corpus_bleu(TEXTS, [REFERENCES]).score)
    drawn = next(drawn_rows(len(TEXTS)))
    texts, references = [TEXTS[row] for row in drawn], [REFERENCES[row] for row in drawn]
    value = metric.resampled(scores)(np.bincount(drawn, minlength=len(TEXTS)))
    assert value == pytest.approx(sacrebleu.corpus_bleu(texts, [references]).score)


def test_exact_match_leaves_out_white_space_at_the_ends():
    assert ExactMatch().compare(TEXTS, REFERENCES).tolist() == [0.0, 0.0, 1.0, 0.0] * 5


@pytest.mark.parametrize("metric", [ExactMatch(), RougeL(), Bleu()], ids=lambda metric: metric.info.name)
def test_each_has_an_interval_and_is_better_for_the_reference(metric):
    own = estimate(metric, metric.compare(TEXTS, REFERENCES), "texts")
    best = estimate(metric, metric.compare(REFERENCES, REFERENCES), "texts")
    assert own.low < own.value < own.high <= best.value == pytest.approx(100.0 if metric.info.name == "bleu" else 1.0)


def test_character_errors_are_a_ratio_of_sums_and_lower_is_better():
    metric = CharacterErrors()
    scores = metric.compare(["abc ", "x", ""], ["abd", "xyz", "q"])
    assert scores.tolist() == [[1.0, 3.0], [2.0, 3.0], [1.0, 1.0]]
    assert metric.value(scores) == pytest.approx(4 / 7)
    assert metric.resampled(scores)(np.array([2, 1, 0])) == pytest.approx(4 / 9)
    assert not metric.info.higher_is_better
