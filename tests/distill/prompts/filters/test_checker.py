"""A function of the user."""

import pytest

from compress.core.errors import CompressError, TrustError
from compress.distill.prompts.filters.checker import CheckerFilter
from tests.distill.prompts.filters.texts import kept, texts

CODE = """
def is_sum(prompt, text, answer, reference):
    return eval(prompt) == int(answer)

def count(prompt, text, answer, reference):
    return len(text)
"""


def test_texts_that_the_function_accepts_are_kept(tmp_path):
    (tmp_path / "check.py").write_text(CODE)
    rule = CheckerFilter(function="python:check.py:is_sum")
    assert kept(rule, texts("5", "6", prompt="2+3"), tmp_path, trust_code=True) == ["5"]
    with pytest.raises(TrustError):
        kept(rule, texts("5", prompt="2+3"), tmp_path)


@pytest.mark.parametrize(
    ("name", "fault"), [("is_sum", "text 'five': ValueError: invalid literal"), ("count", "it returned 4, not True or False")]
)
def test_a_function_that_fails_is_named_with_the_text(tmp_path, name, fault):
    (tmp_path / "check.py").write_text(CODE)
    with pytest.raises(CompressError, match=rf"python:check.py:{name} failed on prompt '2\+3' with the .*{fault}"):
        kept(CheckerFilter(function=f"python:check.py:{name}"), texts("five", prompt="2+3"), tmp_path, trust_code=True)
