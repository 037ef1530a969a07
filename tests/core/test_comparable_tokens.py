"""Metrics of each token are not compared with those of a teacher that has other tokens."""

from __future__ import annotations

import pytest

from compress.core.comparable_tokens import OWN_TOKENS, is_comparable_with_teacher, own_tokens_remark
from compress.core.fact import Fact
from compress.core.record import Quantity
from compress.core.run_record import RunRecord
from compress.pipeline.report.tables import change_cell


@pytest.fixture
def other_tokens(record: RunRecord) -> RunRecord:
    """The record of a run whose teacher has a tokenizer of its own."""
    assert record.teacher is not None
    fact = Fact.of(OWN_TOKENS, "hf:teacher", tokens=500, cut=0, texts=10, most=64)
    return record.model_copy(update={"teacher": record.teacher.model_copy(update={"notes": (fact,)})})


@pytest.mark.parametrize(
    ("name", "expected"),
    [("perplexity", False), ("perplexity_validation", False), ("next_token_accuracy", False), ("bits_per_byte", True)],
)
def test_of_other_tokens_only_bits_per_byte_are_comparable(name: str, expected: bool, other_tokens: RunRecord) -> None:
    assert is_comparable_with_teacher(other_tokens, name) is expected


def test_the_change_says_so_and_a_sentence_names_what_is_comparable(record: RunRecord, other_tokens: RunRecord) -> None:
    before, after = Quantity.measured(40.0, "1"), Quantity.measured(20.0, "1")
    assert change_cell(record, "perplexity", before, after).text == "−50.0 %"
    assert change_cell(other_tokens, "perplexity", before, after).text == "not comparable"
    assert change_cell(other_tokens, "bits_per_byte", before, after).text == "−50.0 %"
    assert own_tokens_remark(record) == ()
    assert "bits per byte are" in own_tokens_remark(other_tokens)[0]
