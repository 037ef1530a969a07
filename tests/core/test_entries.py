"""Entries with a checked type: what fits comes back unchanged, anything else is an error that names the entry."""

import pytest

from compress.core.entries import integer, items, mapping, number, number_or_none, text

ENTRIES = {
    "step": 3,
    "macs": 0.25,
    "layer": "conv",
    "kept": True,
    "shape": (2, 3),
    "rows": [1],
    "inner": {"a": 1},
    "none": None,
}


def test_what_fits_comes_back_unchanged():
    assert number(ENTRIES, "macs") == 0.25
    assert type(number(ENTRIES, "step")) is int
    assert integer(ENTRIES, "step") == 3
    assert text(ENTRIES, "layer") == "conv"
    assert items(ENTRIES, "shape") is ENTRIES["shape"]
    assert mapping(ENTRIES, "inner") is ENTRIES["inner"]


def test_a_missing_number_is_none_and_a_missing_mapping_empty():
    assert number_or_none(ENTRIES, "none") is None
    assert number_or_none(ENTRIES, "absent") is None
    assert mapping(ENTRIES, "none") == mapping(ENTRIES, "absent") == {}


@pytest.mark.parametrize("read", [number, integer, text, items])
def test_an_absent_entry_is_an_error(read):
    with pytest.raises(KeyError, match="absent"):
        read(ENTRIES, "absent")


@pytest.mark.parametrize(
    ("read", "name"),
    [
        (number, "layer"), (number, "kept"), (number_or_none, "rows"), (integer, "macs"), (integer, "kept"), (text, "step"),
        (items, "layer"), (items, "inner"), (mapping, "rows"),
    ],
)  # fmt: skip
def test_an_entry_of_another_type_is_an_error_that_names_it(read, name):
    with pytest.raises(TypeError, match=f"'{name}' must be a"):
        read(ENTRIES, name)
