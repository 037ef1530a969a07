"""Entities of tags against a state machine that is written from the definition of the CoNLL-2000 evaluation."""

import numpy as np
import pytest

from compress.core.errors import DataError
from compress.tasks.text.spans import TagScheme

BIO = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
BIOES = [*BIO, "E-PER", "S-PER", "E-LOC", "S-LOC"]


def entities(tags: list[str]) -> set[tuple[str, int, int]]:
    """Type, first and last token of each entity, one tag after another."""
    found, start, kind = set(), None, ""
    for place, tag in enumerate([*tags, "O"]):
        prefix, _, name = tag.partition("-")
        previous = tags[place - 1][0] if place else "O"
        goes_on = start is not None and prefix in ("I", "E") and name == kind and previous not in ("E", "S")
        if start is not None and not goes_on:
            found.add((kind, start, place - 1))
            start = None
        if prefix != "O" and start is None:
            start, kind = place, name
    return found


def found_by_scheme(names: list[str], sequences: list[list[str]]) -> list[set[tuple[str, int, int]]]:
    scheme = TagScheme.of(names)
    flat = np.array([names.index(tag) for tags in sequences for tag in tags])
    samples = np.repeat(np.arange(len(sequences)), [len(tags) for tags in sequences])
    offsets = np.cumsum([0, *map(len, sequences)])
    results: list[set[tuple[str, int, int]]] = [set() for _ in sequences]
    for sample, begin, end, kind in zip(*scheme.find(flat, samples), strict=True):
        results[sample].add((scheme.names[kind], int(begin - offsets[sample]), int(end - offsets[sample])))
    return results


@pytest.mark.parametrize("names", [BIO, BIOES])
def test_entities_equal_those_of_a_state_machine(names):
    generator = np.random.default_rng(0)
    sequences = [[names[tag] for tag in generator.integers(0, len(names), generator.integers(1, 12))] for _ in range(400)]
    assert found_by_scheme(names, sequences) == [entities(tags) for tags in sequences]


def test_an_entity_ends_with_its_sequence():
    assert found_by_scheme(BIO, [["O", "B-PER"], ["I-PER", "O"]]) == [{("PER", 1, 1)}, {("PER", 0, 0)}]


def test_bilou_has_the_same_entities_as_bioes():
    bilou = ["O", "B-X", "I-X", "L-X", "U-X"]
    assert found_by_scheme(bilou, [["U-X", "B-X", "I-X", "L-X", "U-X"]]) == [{("X", 0, 0), ("X", 1, 3), ("X", 4, 4)}]


def test_tags_without_an_entity_are_refused():
    with pytest.raises(DataError, match="the tags are O; entities need tags such as O, B-PER and I-PER"):
        TagScheme.of(["O"])
