"""Answers of most samples."""

from compress.distill.prompts.filters.agreement import AgreementFilter
from compress.distill.prompts.written_text import WrittenText
from tests.distill.prompts.filters.texts import kept


def samples(source, *pairs):
    return [WrittenText(source, "p", "{prompt}", text, answer) for text, answer in pairs]


GIVEN = [
    *samples(0, ("so 4", "4"), ("thus 5", "5"), ("hence 4", " 4")),
    *samples(1, ("a", "1"), ("b", "2"), ("c", "3")),
    *samples(2, ("only", "9")),
]


def test_one_text_with_the_most_frequent_answer_is_kept():
    assert kept(AgreementFilter(), GIVEN) == ["so 4", "only"]
    assert kept(AgreementFilter(keep_samples="all"), GIVEN) == ["so 4", "hence 4", "only"]
    assert kept(AgreementFilter(least=0.7), GIVEN) == ["only"]
    assert kept(AgreementFilter(least=0.3), GIVEN) == ["so 4", "a", "only"]
