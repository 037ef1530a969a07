"""Copies of texts, and their file."""

import hashlib
import os
import subprocess
import sys

from compress.data.text.augmentation.copies import make_copies, read_copies, texts_of, write_copies
from compress.data.text.augmentation.embedding_neighbours import EmbeddingNeighbours
from compress.data.text.augmentation.random_deletion import RandomDeletion
from compress.data.text.augmentation.random_swap import RandomSwap
from compress.data.text.cells import LabelledSpan, TaggedWord
from compress.data.text.table import TextTable
from tests.data.text.augmentation.augmentation_checks import TEXTS, resources, teacher_of, tokenizer

METHODS = (RandomDeletion(p=0.3, copies=3), RandomSwap(copies=2))
PRINT = """
import hashlib
from tests.data.text.augmentation.test_copies import made
print(hashlib.sha256(str(made()).encode()).hexdigest())
"""


def made(methods=METHODS, table=None, seed=0, **more):
    own = tokenizer()
    table = table or TextTable(TEXTS[:20])
    return list(make_copies(table, methods, resources(own, teacher_of(own)), seed, **more))


def test_copies_are_different_from_their_text_and_from_each_other():
    copies = made()
    texts = {(copy.row, copy.text) for copy in copies}
    assert len(texts) == len(copies) > 60
    assert not {(row, text) for row, text in enumerate(TEXTS)} & texts
    assert all("[" not in copy.text and copy.text.strip() for copy in copies)
    assert {copy.row for copy in copies} == set(range(20))


def test_equal_seeds_give_equal_copies_also_in_another_process():
    assert made() == made()
    assert made() != made(seed=1)
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    done = subprocess.run([sys.executable, "-c", PRINT], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == hashlib.sha256(str(made()).encode()).hexdigest()


def test_texts_of_other_splits_are_no_copies():
    excluded = {(copy.text, None) for copy in made()[:10]}
    assert not excluded & {(copy.text, None) for copy in made(excluded=excluded)}


def test_one_text_of_a_pair_changes_and_the_other_one_stays():
    table = TextTable(TEXTS[:10], TEXTS[10:20])
    for copy in made((RandomDeletion(p=0.3, copies=4),), table):
        own = (table.texts[copy.row], table.pairs[copy.row])
        assert sum(new == old for new, old in zip((copy.text, copy.text_pair), own, strict=True)) == 1


def test_a_text_of_one_word_has_no_copy():
    assert made((RandomDeletion(p=1.0), RandomSwap()), TextTable(["cat", "", "..."])) == []


TAGGED = "Anna drives to New York again"
SPANS = [(0, 4, "B-PER"), (5, 11, "O"), (12, 14, "O"), (15, 18, "B-LOC"), (19, 23, "I-LOC"), (24, 29, "O")]


def test_tags_stay_with_their_words():
    words = TextTable([TAGGED], targets=[[TaggedWord(*span) for span in SPANS]])
    spans = TextTable([TAGGED], targets=[[LabelledSpan(0, 4, "PER"), LabelledSpan(15, 23, "LOC")]])
    for copy in made((RandomDeletion(p=0.6, copies=8),), words, tags=True):
        named = [(copy.text[start:end], tag) for start, end, tag in copy.tags if tag != "O"]
        assert named == [("Anna", "B-PER"), ("New", "B-LOC"), ("York", "I-LOC")]
        assert [copy.text[start:end] for start, end, _ in copy.tags] == copy.text.split()
    for copy in made((RandomDeletion(p=0.6, copies=8),), spans, tags=True):
        assert [(copy.text[start:end], tag) for start, end, tag in copy.tags] == [("Anna", "PER"), ("New York", "LOC")]


def test_copies_that_the_teacher_answers_have_no_tags():
    table = TextTable([TAGGED.replace("drives", "runs")], targets=[[LabelledSpan(0, 4, "PER")]])
    copies = made((EmbeddingNeighbours(p=0.9, copies=3),), table, tags=True)
    assert copies
    assert not any(copy.labelled or copy.tags for copy in copies)


def test_the_file_gives_the_same_copies(tmp_path):
    table = TextTable([TAGGED, "服务 很好"], targets=[[LabelledSpan(0, 4, "PER")], []])
    copies = made((RandomDeletion(p=0.5),), table, tags=True)
    write_copies(tmp_path / "copies.jsonl", copies)
    assert read_copies(tmp_path / "copies.jsonl") == copies
    assert read_copies(tmp_path / "none.jsonl") is None
    (tmp_path / "copies.jsonl").write_text('{"row": 1}\n')
    assert read_copies(tmp_path / "copies.jsonl") is None


def test_texts_of_a_table_are_pairs():
    assert texts_of(TextTable(["a"], ["b"])) == {("a", "b")}
    assert texts_of(TextTable(["a"])) == {("a", None)}
