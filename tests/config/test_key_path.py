import pytest

from compress.config.key_path import format_path, has_key, quote, shorten


def test_places_are_spelled_as_key_paths():
    assert format_path(("stages", 1, "prune", "target", "macs")) == "stages[1].prune.target.macs"
    assert format_path(()) == ""


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "nothing"), (True, "true"), (False, "false"), (1, "1"), ("a", "'a'"), (1.0, "1.0"), ([True], "[True]")],
)
def test_values_are_quoted_in_the_words_of_yaml(value, text):
    assert quote(value) == text


def test_a_long_text_is_cut_to_its_first_characters():
    assert shorten("x" * 60) == "x" * 60
    assert shorten("x" * 61) == "x" * 57 + "…"


@pytest.mark.parametrize(
    ("node", "part", "expected"),
    [({"a": None}, "a", True), ({"a": 1}, "b", False), ([1], 0, True), ([1], 1, False), ([1], "a", False), ("a", "a", False)],
)
def test_a_block_has_its_keys_and_a_list_its_indices(node, part, expected):
    assert has_key(node, part) is expected
