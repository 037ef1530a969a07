"""Cells of conversations."""

import json

import pytest

from compress.core.errors import DataError
from compress.data.sources.text.conversations import messages_in
from compress.data.text.cells import ChatMessage

TALK = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]


@pytest.mark.parametrize("cell", [TALK, json.dumps(TALK)])
def test_lists_and_their_json_are_messages(cell):
    assert messages_in(cell, "talk", "row 1") == [ChatMessage("user", "Hi"), ChatMessage("assistant", "Hello")]


def test_a_message_without_content_is_empty():
    assert messages_in([{"role": "user", "content": None}], "talk", "row 1") == [ChatMessage("user", "")]


@pytest.mark.parametrize("cell", [None, "hello", "[]", 3, [{"role": "user"}, 3], [{"from": "human", "value": "Hi"}]])
def test_other_cells_are_refused_with_an_example(cell):
    with pytest.raises(DataError, match="row 1: the column talk holds no conversation"):
        messages_in(cell, "talk", "row 1")
