import pytest

from compress.core.errors import CompressError
from compress.distill.text_function import call_on_text


def test_the_function_gets_prompt_text_and_the_others():
    assert call_on_text("python:a.py:f", lambda *values: values, "p", "t", 1, None) == ("p", "t", 1, None)


def test_an_error_is_told_with_function_prompt_and_a_shortened_text():
    def fails(_prompt: str, _text: str) -> None:
        raise KeyError("x")

    with pytest.raises(CompressError, match=r"python:a.py:f failed on prompt 'p' with the text '.*: KeyError: 'x'") as found:
        call_on_text("python:a.py:f", fails, "p", "word " * 1000)
    assert len(str(found.value)) < 400
