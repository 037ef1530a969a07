import numpy as np
import pytest
import torch

from compress.core.fact import Fact
from compress.core.sentences import render
from compress.tasks.classification import Classification
from compress.train.teachers import logit_shards as kept
from compress.train.teachers.cached_logits import CachedTeacher
from compress.train.teachers.logit_shards import LogitFolder, LogitShards, decode, encode, row_dtype
from tests.train.toy_training import ToySplit, conv_net


def draw(rows, classes, seed=0):
    return (3 * np.random.default_rng(seed).standard_normal((rows, classes))).astype(np.float32)


def softmax(z):
    e = np.exp(z.astype(np.float64) - z.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def test_ten_classes_cost_at_most_64_bytes_a_view():
    assert row_dtype(10, 1000).itemsize == 44
    assert row_dtype(10, 70_000).itemsize == 64
    assert encode(draw(8, 100), 10).nbytes == 8 * 44


@pytest.mark.parametrize(("classes", "k"), [(62, 10), (12, 10), (70_000, 3)])
def test_top_classes_and_the_remaining_mass_come_back(classes, k):
    z = draw(5, classes)
    p, found = softmax(z), softmax(decode(encode(z, k), classes))
    for row, back in zip(p, found, strict=True):
        best = np.argsort(-row)[:k]
        np.testing.assert_allclose(back[best], row[best], rtol=4e-3)
        others = np.setdiff1d(np.arange(classes), best)
        assert back[others].sum() == pytest.approx(row[others].sum(), rel=2e-3, abs=1e-6)
        np.testing.assert_allclose(back[others], back[others][0], rtol=1e-5)


@pytest.mark.parametrize("k", [None, 5, 9])
def test_all_classes_come_back_as_they_are(k):
    z = draw(4, 5)
    assert np.array_equal(decode(encode(z, k), 5), z)


def cached(split, folder, teacher, k=None):
    return CachedTeacher([teacher], split, Classification(), key="t", cache=LogitFolder(folder, k), device="cpu")


def test_shards_that_are_there_are_not_made_again_after_an_interruption(tmp_path, monkeypatch):
    monkeypatch.setattr(kept, "SHARD_SIZE", 128)
    monkeypatch.setattr("compress.train.teachers.cached_logits.SHARD_SIZE", 128)
    split, teacher = ToySplit(300, 1, views=1), conv_net()
    whole = cached(split, tmp_path / "whole", teacher)
    whole.precompute([0])
    cut = cached(split, tmp_path / "cut", teacher)
    asked = []

    def ask(batch):
        if len(asked) == 2:
            raise KeyboardInterrupt
        asked.append(len(batch.target))
        return CachedTeacher._compute(cut, batch)

    monkeypatch.setattr(cut, "_compute", ask)
    with pytest.raises(KeyboardInterrupt):
        cut.precompute([0])
    assert len(list(cut.folder.glob("*.npy"))) == 2
    again = cached(split, tmp_path / "cut", teacher)
    monkeypatch.setattr(
        again, "_compute", lambda batch: asked.append(len(batch.target)) or CachedTeacher._compute(again, batch)
    )
    again.precompute([0])
    assert asked == [128, 128, 44]
    batch = next(iter(split.epoch(0, 300, 0)))
    assert torch.equal(again.logits(batch), whole.logits(batch))
    next(again.folder.glob("*-00001.npy")).write_bytes(b"cut")
    third = cached(split, tmp_path / "cut", teacher)
    monkeypatch.setattr(
        third, "_compute", lambda batch: asked.append(len(batch.target)) or CachedTeacher._compute(third, batch)
    )
    third.precompute([0])
    assert asked[3:] == [128]
    assert torch.equal(third.logits(batch), whole.logits(batch))


def test_answers_of_few_classes_are_another_folder_and_the_note_tells_their_size(tmp_path):
    split, teacher = ToySplit(30, 1), conv_net()
    dense, few = cached(split, tmp_path, teacher), cached(split, tmp_path, teacher, k=2)
    assert dense.folder != few.folder
    assert dense.key != few.key
    assert dense.precompute([0]) is None
    note = few.precompute([0])
    assert note == Fact.of("train.teacher_logits_top_k", k=2, bytes_per_view=12)
    assert render(note) == (
        "teacher logits were stored as the 2 most probable classes and the probability of the rest, 12 bytes per view"
    )
    batch = next(iter(split.epoch(0, 30, 0)))
    torch.testing.assert_close(few.logits(batch).softmax(1), dense.logits(batch).softmax(1), atol=1e-3, rtol=4e-3)
    few.precompute([0, 1])
    mixed = next(iter(split.view(1, 30)))
    views = batch.views.clone()
    views[::2] = 1
    found = few.logits(batch._replace(views=views))
    assert torch.equal(found[::2], few.logits(mixed)[batch.samples[::2]])
    assert torch.equal(found[1::2], few.logits(batch)[1::2])


def test_a_manifest_that_is_no_manifest_is_made_again(tmp_path):
    split = ToySplit(30, 1)
    first = cached(split, tmp_path, conv_net())
    first.precompute([0])
    (manifest,) = first.folder.glob("*.json")
    for text in ("[]", "{}", "nothing"):
        manifest.write_text(text)
        view = LogitShards(first.folder, 0, 30, {})
        assert view.missing() == [0]
    cached(split, tmp_path, conv_net()).precompute([0])
    assert manifest.read_text() != "nothing"
