import pytest
from pydantic import ValidationError

from compress.core.errors import DataError
from compress.data.factory import load_data
from compress.data.settings import DataSettings
from compress.data.text.settings import Columns, Lengths


def test_typical_length_is_at_most_the_longest():
    with pytest.raises(ValidationError, match="typical 64 is above most 32"):
        Lengths(most=32)


def test_settings_of_the_other_kind_of_data_are_refused(tmp_path):
    assert DataSettings(source="python_docs", image_size=32, augment="none").misplaced == ("image_size", "augment")
    assert DataSettings(source="digits", encoding="gb18030", lengths=Lengths(typical=8)).misplaced == ("lengths", "encoding")
    assert DataSettings(source="python_docs", image_size=64).misplaced == ()
    assert DataSettings(source="python:a.py:b", image_size=32, encoding="gb18030").misplaced == ()
    with pytest.raises(DataError, match="image_size is a setting of images, and python_docs gives texts"):
        load_data(DataSettings(source="python_docs", image_size=32), base=tmp_path)
    with pytest.raises(DataError, match="encoding is a setting of texts, and digits gives none"):
        load_data(DataSettings(source="digits", encoding="gb18030"), base=tmp_path)


def test_a_smoke_run_has_short_texts():
    small = DataSettings(source="python_docs").smoke()
    assert (small.lengths.typical, small.lengths.most, small.limit) == (32, 32, 96)
    assert small.misplaced == ()


@pytest.mark.parametrize(
    ("columns", "fault"),
    [
        ({"prompt": "q"}, "response is not; name both"),
        ({"response": "a"}, "prompt is not; name both"),
        ({"prompt": "q", "response": "a", "messages": "m"}, "name `prompt` and `response`, or `messages`"),
        ({"messages": "m", "text_pair": "t"}, "text_pair has no effect"),
    ],
)
def test_columns_of_prompts_are_complete_and_alone(columns, fault):
    with pytest.raises(ValueError, match=fault):
        Columns(**columns)
    assert Columns(prompt="q", response="a").has_responses
    assert not Columns().has_responses


def test_a_prompt_leaves_room_for_a_response():
    assert Lengths(most=512, prompt=500).prompt == 500
    with pytest.raises(ValueError, match="prompt 512 leaves no room for a response in most 512"):
        Lengths(most=512, prompt=512)
