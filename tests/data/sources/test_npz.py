"""Named arrays as data: their signature, the splits, and what is refused."""

import numpy as np
import pytest
import torch

from compress.core.errors import DataError
from compress.data.factory import data_fingerprint, load_data
from compress.data.settings import DataSettings

RNG = np.random.default_rng(0)
ARRAYS = {
    "signal": RNG.normal(size=(40, 2, 16)),
    "age": RNG.integers(0, 90, size=(40, 1)),
    "target": np.arange(40) % 4,
    "classes": np.array(["a", "b", "c", "d"]),
}


def load(path, **settings):
    return load_data(DataSettings(source=f"npz:{path.name}", **settings), base=path.parent)


def test_one_file_is_split_by_class(tmp_path):
    path = tmp_path / "all.npz"
    np.savez(path, **ARRAYS)
    data = load(path, test=0.25, validation=0.2)
    assert [str(each) for each in data.spec.signature.inputs] == ["signal: float32 batch×2×16", "age: int64 batch×1"]
    assert data.spec.classes == ("a", "b", "c", "d")
    splits = (data.train, data.validation, data.test)
    assert sum(map(len, splits)) == 40
    assert all(np.bincount(split.target, minlength=4).min() > 0 for split in splits)
    rows = {row.numpy().tobytes() for split in splits for row in split.inputs["signal"]}
    assert len(rows) == 40


def test_a_folder_has_its_own_splits_and_order(tmp_path):
    for index, name in enumerate(("train", "validation", "test")):
        np.savez(tmp_path / f"{name}.npz", x=np.full((6, 3), index, np.float32), target=np.linspace(0, 1, 6)[:, None])
    data = load_data(DataSettings(source="npz:."), base=tmp_path)
    assert data.spec.classes == ("0",)
    assert [float(split.inputs["x"][0, 0]) for split in (data.train, data.validation, data.test)] == [0, 1, 2]
    assert torch.equal(torch.cat([batch.target for batch in data.test.ordered(4)]), data.test.target)
    first, again, other = (
        torch.cat([batch.target for batch in data.train.epoch(e, 4, seed)]) for e, seed in ((0, 1), (0, 1), (1, 1))
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(first.sort(0).values, data.train.target)


def test_the_fingerprint_follows_the_contents(tmp_path):
    path, settings = tmp_path / "all.npz", DataSettings(source="npz:all.npz")
    prints = []
    for factor in (1, 2):
        np.savez(path, **ARRAYS | {"signal": factor * ARRAYS["signal"]})
        prints.append((str(data_fingerprint(settings, tmp_path)), load(path).test.fingerprint))
    assert prints[0][0] != prints[1][0]
    assert prints[0][1] != prints[1][1]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"target": ARRAYS["target"][:9]}, "different numbers of samples, or none .*target 9"),
        ({"signal": np.full((40, 2, 16), np.nan)}, "signal has NaN"),
        ({"age": np.array(["x"] * 40)}, "age is <U1; arrays hold numbers"),
        ({"target": np.array([None] * 40, dtype=object)}, "cannot read"),
    ],
)
def test_what_is_no_data_is_refused(changes, said, tmp_path):
    np.savez(tmp_path / "all.npz", **ARRAYS | changes)
    with pytest.raises(DataError, match=said):
        load(tmp_path / "all.npz")


def test_samples_of_one_file_without_a_label_are_training_samples(tmp_path):
    path, target = tmp_path / "all.npz", np.where(np.arange(40) < 12, -1, ARRAYS["target"])
    np.savez(path, **ARRAYS | {"target": target})
    data = load(path)
    assert int((data.train.target < 0).sum()) == 12
    assert sum(map(len, (data.train, data.validation, data.test))) == 40
    assert min(int(split.target.min()) for split in (data.validation, data.test)) == 0


def test_a_folder_without_targets_has_inputs_only(tmp_path):
    for index, name in enumerate(("train", "validation", "test")):
        np.savez(tmp_path / f"{name}.npz", x=np.full((4 + index, 3), index, np.float32))
    data = load_data(DataSettings(source="npz:.", evaluation_limit=5), base=tmp_path)
    (batch,) = data.test.ordered(16)
    assert batch.targets == {}
    assert torch.equal(batch.inputs["x"], torch.full((5, 3), 2.0))
    assert [len(split) for split in (data.train, data.validation, data.test)] == [4, 5, 5]
    np.savez(tmp_path / "test.npz", x=np.zeros((4, 2), np.float32))
    with pytest.raises(DataError, match="the test split has other inputs"):
        load_data(DataSettings(source="npz:."), base=tmp_path)


def test_missing_targets_and_files_are_refused(tmp_path):
    for name in ("train", "validation", "test"):
        np.savez(tmp_path / f"{name}.npz", x=np.zeros((4, 3)), **({} if name == "test" else {"target": np.arange(4) % 2}))
    with pytest.raises(DataError, match=r"test.npz has the arrays x; it needs `target`"):
        load_data(DataSettings(source="npz:."), base=tmp_path)
    (tmp_path / "text.npz").write_text("no archive")
    with pytest.raises(DataError, match=r"cannot read .*text.npz"):
        load(tmp_path / "text.npz")


def test_one_real_number_for_each_sample_is_a_row_of_one_value(tmp_path):
    path = tmp_path / "all.npz"
    np.savez(path, x=ARRAYS["signal"], target=np.linspace(0, 1, 40))
    data = load(path)
    assert next(iter(data.test.ordered(4))).target.shape == (4, 1)
    assert data.spec.classes == ("0",)


@pytest.mark.parametrize(("given", "expected"), [("int32", torch.int32), ("uint8", torch.uint8), ("uint16", torch.int64)])
def test_integers_keep_their_type(given, expected, tmp_path):
    path = tmp_path / "all.npz"
    np.savez(path, tokens=np.ones((40, 5), given), target=np.arange(40) % 2)
    assert next(iter(load(path).test.ordered(4))).inputs["tokens"].dtype == expected


def test_groups_follow_their_samples_into_the_test_split_and_are_no_input(tmp_path):
    groups = np.array(["day" if age >= 45 else "night" for age in ARRAYS["age"][:, 0]])
    np.savez(tmp_path / "all.npz", **ARRAYS, groups=groups)
    data = load(tmp_path / "all.npz")
    assert [each.name for each in data.spec.signature.inputs] == ["signal", "age"]
    ages = data.test.inputs["age"][:, 0].tolist()
    assert list(data.groups) == ["day" if age >= 45 else "night" for age in ages]
