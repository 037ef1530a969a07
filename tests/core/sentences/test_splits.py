import pytest

from compress.core.fact import Fact
from compress.core.language import in_language
from compress.core.sentences import render

CUT = {"count": 5, "texts": 90, "most": 64}


@pytest.mark.parametrize(("name", "word"), [("training", "训练"), ("validation", "验证"), ("test", "测试"), ("other", "other")])
def test_a_split_is_named_in_the_language_in_use(name: str, word: str) -> None:
    fact = Fact.of("data.texts_cut", name, **CUT)
    with in_language("zh"):
        assert render(fact).startswith(word)
    assert f"of 90 {name} texts" in render(fact)


def test_both_splits_of_a_sentence_are_named_in_the_language_in_use() -> None:
    fact = Fact.of("data.duplicates_between_splits", "test/3.png", count=5, first="training", second="test")
    with in_language("zh"):
        text = render(fact)
    assert "training" not in text
    assert "test/3.png" in text
