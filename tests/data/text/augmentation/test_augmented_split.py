"""Training splits with copies of their texts."""

from pathlib import Path

import numpy as np
import pytest
import torch

from compress.core.errors import DataError
from compress.data.batch import UNLABELLED
from compress.data.interface import Data
from compress.data.text.augmentation import augmented_split as module
from compress.data.text.augmentation.augmented_split import augmented_split, origin_of
from compress.data.text.augmentation.base import Resources
from compress.data.text.augmentation.copies import read_copies
from compress.data.text.augmentation.embedding_neighbours import EmbeddingNeighbours
from compress.data.text.augmentation.random_deletion import RandomDeletion
from compress.data.text.cells import TaggedWord
from compress.data.text.masked_split import MaskedSplit
from compress.data.text.tag_targets import NO_TAG
from tests.data.text.augmentation.augmentation_checks import teacher_of, tokenizer
from tests.data.text.toy_texts import toy_rows

DELETION, NEAR = RandomDeletion(p=0.3, copies=2), EmbeddingNeighbours(p=0.6, copies=2)


def data_of(rows, **more):
    return Data.from_texts(rows[:30], rows[30:40], rows[40:], tokenizer=tokenizer().tokenizer, most=32, **more)


def augmented(data, methods, folder, **more):
    own = data.train.origin.tokenizer
    others = (data.validation, data.test)
    given = Resources(own, teacher_of(own))
    return augmented_split(data.train, methods, given, seed=0, folder=folder, others=others, **more)


def rows_of(split):
    (batch,) = split.ordered(10_000)
    return batch


def test_copies_follow_the_samples_with_their_labels_or_none(tmp_path):
    data = data_of(toy_rows(50))
    split, fact = augmented(data, (DELETION, NEAR), tmp_path)
    copies = read_copies(tmp_path / fact.subject)
    assert len(split) == 30 + len(copies)
    batch = rows_of(split)
    own = rows_of(data.train)
    assert torch.equal(batch.target[:30], own.target)
    for copy, target, text in zip(copies, batch.target[30:], split.texts[30:], strict=True):
        assert int(target) == (int(own.target[copy.row]) if copy.method == "random_deletion" else UNLABELLED)
        assert text == copy.text
    encoded = data.train.origin.tokenizer.encode([copy.text for copy in copies])
    assert torch.equal(split.inputs["input_ids"].values[-len(encoded.ids.values) :], encoded.ids.values)
    assert fact.values["labels"] == "teacher"
    assert fact.values["copies"] + fact.values["left_out"] == 30 * 4
    assert len(data.train) == 30


def test_values_of_copies_without_a_label_are_nan_and_sets_of_classes_too(tmp_path):
    rows = [(text, float(index)) for index, (text, _) in enumerate(toy_rows(50))]
    split, _ = augmented(data_of(rows, targets="values", names=("value",)), (DELETION, NEAR), tmp_path)
    target = rows_of(split).target
    copies = read_copies(next(tmp_path.glob("*.jsonl")))
    blank = torch.tensor([False] * 30 + [not copy.labelled for copy in copies])
    assert torch.equal(target.isnan()[:, 0], blank)


def test_pairs_keep_their_token_types(tmp_path):
    rows = toy_rows(100)
    pairs = [(first, second, name) for (first, name), (second, _) in zip(rows[:50], rows[50:], strict=True)]
    split, _ = augmented(data_of(pairs), (DELETION,), tmp_path)
    batch = rows_of(split)
    assert ((batch.inputs["token_type_ids"] == 1).sum(1) >= 2).all()
    assert (batch.inputs["attention_mask"] >= batch.inputs["token_type_ids"]).all()


def tagged_rows():
    rows = []
    for text, _ in toy_rows(50):
        place, words = 0, []
        for word in text.split():
            words.append(TaggedWord(place, place + len(word), "B-X" if word in {"cat", "dog", "bird"} else "O"))
            place += len(word) + 1
        rows.append((text, words))
    return rows


def test_tags_of_copies_are_those_of_their_words_or_the_teachers(tmp_path, monkeypatch):
    from compress.data.settings import DataSettings, DataSource
    from compress.data.text.build import build_text_data
    from compress.data.text.table import TextTable

    rows = tagged_rows()
    table = TextTable([text for text, _ in rows], targets=[words for _, words in rows])
    (tmp_path / "tokenizer.json").write_bytes(tokenizer().file)
    settings = DataSettings(source="jsonl:x", tokenizer="tokenizer.json", columns={"targets": "tags"})
    data = build_text_data({"all": table}, settings, DataSource("jsonl", "x", tmp_path))
    split, _ = augmented(data, (DELETION, NEAR), tmp_path)
    copies = read_copies(next(tmp_path.glob("augmented*.jsonl")))
    batch = rows_of(split)
    named = {data.train.origin.tokenizer.tokenizer.token_to_id(word) for word in ("cat", "dog", "bird")}
    labelled = np.array([True] * len(data.train) + [copy.labelled for copy in copies])
    ids, target, mask = batch.inputs["input_ids"], batch.target, batch.inputs["attention_mask"].bool()
    expected = torch.isin(ids, torch.tensor(sorted(named)))
    assert torch.equal((target == 1)[labelled], expected[labelled])
    assert (target[~labelled][mask[~labelled]] == NO_TAG).all()
    assert (target[~mask] == UNLABELLED).all()


def test_copies_of_texts_for_a_masked_language_model_are_masked(tmp_path):
    data = data_of([text for text, _ in toy_rows(50)], targets="masked")
    split, _ = augmented(data, (DELETION,), tmp_path)
    assert isinstance(split, MaskedSplit)
    assert split.views == data.train.views
    targets = rows_of(split).target
    assert len(split) == len(targets) > 30
    assert (targets[30:] >= 0).any()


def test_a_file_is_made_once_and_for_equal_inputs_alone(tmp_path, monkeypatch):
    data = data_of(toy_rows(50))
    first, _ = augmented(data, (NEAR,), tmp_path, teacher_hash="a")
    augmented(data, (NEAR,), tmp_path, teacher_hash="b")
    augmented(data, (NEAR.model_copy(update={"p": 0.2}),), tmp_path, teacher_hash="a")
    assert len(list(tmp_path.glob("augmented-*.jsonl"))) == 3
    monkeypatch.setattr(module, "make_copies", None)
    again, _ = augmented(data, (NEAR,), tmp_path, teacher_hash="a")
    assert again.fingerprint == first.fingerprint != data.train.fingerprint


def test_texts_without_copies_and_samples_without_texts_are_told(tmp_path):
    rows = [(f"word{index}", "ab"[index % 2]) for index in range(50)]
    with pytest.raises(DataError, match="no changed copy of the 30 training texts"):
        augmented(data_of(rows), (DELETION,), tmp_path)
    with pytest.raises(DataError, match=r"training samples have none; for images use data\.augment"):
        origin_of(object(), (DELETION,))
    assert list(Path(tmp_path).glob("*.jsonl")) == []
