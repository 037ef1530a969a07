import pytest
import torch

pytest.importorskip("tokenizers")

from compress.core.errors import DataError
from compress.data.sources.text.parts_of_texts import answers_in
from compress.data.text.answer_targets import answer_windows
from compress.data.text.settings import TrainedTokenizer
from compress.data.text.table import TextTable
from compress.data.text.train_tokenizer import train_tokenizer
from compress.tasks.text.answer_metric import ANSWER_F1, EXACT_MATCH, AnswerMetric

CONTEXT = "Ada Lovelace was born in London in 1815. " + "She wrote notes on engines and many letters to friends. " * 3


def table(rows):
    answers = [answers_in(context, answer, "row") for _, context, answer in rows]
    return TextTable([question for question, _, _ in rows], [context for _, context, _ in rows], answers)


def tokenizer(most=40):
    return train_tokenizer(TrainedTokenizer(train="wordpiece", vocabulary=80), [CONTEXT, "when where who"], most)


ROWS = [("when was she born?", CONTEXT, "1815"), ("what did she write?", CONTEXT, ["notes on engines", "many letters"])]


def perfect(windows):
    """Logits that are high at the targets of the windows with the answer."""
    length = int(windows.targets["first_character"].lengths.max())
    start, end = (torch.zeros(len(windows.rows), length) for _ in range(2))
    for row, (first, last) in enumerate(zip(windows.targets["start"], windows.targets["end"], strict=True)):
        if first > 0:
            start[row, first], end[row, last] = 9.0, 9.0
    return {"start_logits": start, "end_logits": end}


def batch_targets(windows):
    everything = torch.arange(len(windows.rows))
    return {
        name: values if isinstance(values, torch.Tensor) else values.padded(everything)
        for name, values in windows.targets.items()
    }


@pytest.mark.parametrize(("stride", "most"), [(8, 40), (None, 240)])
def test_the_targets_of_the_windows_are_the_answers(stride, most):
    windows = answer_windows(table(ROWS), tokenizer(most), stride)
    assert windows.encoded.cut == 0
    assert max(windows.encoded.ids.lengths) <= most
    assert (len(windows.rows) > 2) == bool(stride)
    for info in (EXACT_MATCH, ANSWER_F1):
        metric = AnswerMetric(info)
        assert metric.value(metric.scores(perfect(windows), batch_targets(windows)).numpy()) == 1


def test_all_of_a_text_is_in_a_window():
    windows = answer_windows(table(ROWS[:1]), tokenizer(), 8)
    covered = set()
    for index in range(len(windows.rows)):
        first, last = (windows.targets[name].row(index).tolist() for name in ("first_character", "next_character"))
        covered |= {place for start, end in zip(first, last, strict=True) for place in range(start, end)}
    assert {place for place, letter in enumerate(CONTEXT) if not letter.isspace()} <= covered


def test_without_an_answer_the_first_token_is_the_target():
    windows = answer_windows(table([*ROWS, ("who is he?", CONTEXT, [])]), tokenizer(), None)
    assert windows.targets["start"].tolist()[2] == 0
    assert windows.targets["answers"].lengths.tolist()[2] == 0
    unlabelled = answer_windows(table([("who?", CONTEXT, None)]), tokenizer(), None)
    assert unlabelled.targets["start"].tolist() == [-1]


def test_a_long_question_leaves_half_of_the_room():
    windows = answer_windows(table([("when " * 60, CONTEXT, "Ada")]), tokenizer(), None)
    assert int((windows.targets["next_character"].row(0) > 0).sum()) >= 15


def test_single_texts_and_too_long_strides_are_refused():
    with pytest.raises(DataError, match="questions need texts that have the answers"):
        answer_windows(TextTable(["who?"], targets=[None]), tokenizer(), None)
    with pytest.raises(DataError, match=r"lengths\.stride 30 leaves no room"):
        answer_windows(table(ROWS), tokenizer(), 30)
