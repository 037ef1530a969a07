import numpy as np

from compress.data.text.table import TextTable, divide, limited, withhold

TABLE = TextTable(
    [f"text {index}" for index in range(100)], targets=["ab"[index % 2] if index >= 10 else None for index in range(100)]
)


def test_texts_without_a_target_are_for_training():
    train, validation, test = divide({"all": TABLE}, validation=0.2, test=0.2, seed=0)
    assert len(train) + len(validation) + len(test) == 100
    assert train.targets.count(None) == 10
    assert None not in validation.targets
    assert test.targets.count("a") == test.targets.count("b")
    assert not set(train.texts) & set(test.texts)


def test_splits_of_the_source_are_kept():
    parts = {"train": TABLE, "val": TABLE.select(np.arange(20, 30)), "test": TABLE.select(np.arange(30, 40))}
    train, validation, test = divide(parts, validation=0.5, test=0.5, seed=0)
    assert (len(train), len(validation), len(test)) == (100, 10, 10)


def test_a_limit_takes_all_classes_alike():
    some = limited(TABLE.select(np.arange(10, 100)), 10, seed=0)
    assert some.targets.count("a") == some.targets.count("b") == 5


def test_withheld_targets_leave_their_texts():
    table = withhold(TABLE, 6, seed=0)
    assert len(table) == 100
    assert len([target for target in table.targets if target is not None]) == 6


def test_names_are_places():
    assert TABLE.name(3) == "number 3"
    assert TextTable(["a"], origin=["x.csv line 2"]).name(0) == "x.csv line 2"
