import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compress.data.stratified import balanced_subset, divide_splits, hold_out, limit_items, stratified_hold_out

labels_of_any_kind = st.lists(st.integers(0, 5), min_size=2, max_size=60).map(lambda values: np.array(values, dtype=np.int64))


@given(labels_of_any_kind, st.floats(0.01, 0.95), st.integers(0, 5))
def test_hold_out_parts_are_disjoint_complete_and_never_empty_a_class(labels, fraction, seed):
    rest, held = stratified_hold_out(labels, fraction, seed)
    assert sorted([*rest, *held]) == list(range(len(labels)))
    assert set(labels[rest]) == set(labels)


@given(labels_of_any_kind, st.floats(0.05, 0.9))
def test_each_class_is_held_out_in_proportion(labels, fraction):
    _, held = stratified_hold_out(labels, fraction, 0)
    for label in np.unique(labels):
        total, taken = (labels == label).sum(), (labels[held] == label).sum()
        assert taken == min(max(1, round(fraction * total)), total - 1)


def test_hold_out_follows_the_seed():
    labels = np.repeat(np.arange(4), 25)
    assert np.array_equal(stratified_hold_out(labels, 0.2, 1)[1], stratified_hold_out(labels, 0.2, 1)[1])
    assert not np.array_equal(stratified_hold_out(labels, 0.2, 1)[1], stratified_hold_out(labels, 0.2, 2)[1])


@given(labels_of_any_kind, st.integers(1, 70), st.integers(0, 3))
def test_a_limited_choice_is_as_even_as_the_classes_allow(labels, limit, seed):
    chosen = balanced_subset(labels, limit, seed)
    assert len(set(chosen.tolist())) == len(chosen) == min(limit, len(labels))
    counts = {label: (labels[chosen] == label).sum() for label in np.unique(labels)}
    for label, count in counts.items():
        exhausted = count == (labels == label).sum()
        assert exhausted or count >= max(counts.values()) - 1


def test_no_limit_takes_all_in_order():
    labels = np.array([1, 0, 1, 0], dtype=np.int64)
    assert balanced_subset(labels, None, 0).tolist() == [0, 1, 2, 3]


def test_holding_out_keeps_order_and_every_sample_once():
    rest, held = hold_out("abcdefghij", 0.3, (0, 1))
    assert len(held) == 3
    assert list(rest) == sorted(rest)
    assert sorted(rest + held) == list("abcdefghij")
    assert hold_out("abcdefghij", 0.3, (0, 1)) == (rest, held)
    assert hold_out("abcdefghij", 0.3, (0, 2)) != (rest, held)
    assert len(hold_out("abc", 0.01, (0,))[1]) == 1


def test_a_limit_takes_some_samples_in_their_order():
    some = limit_items("abcdefghij", 4, (0, 2))
    assert len(some) == 4
    assert list(some) == sorted(some)
    assert limit_items("abc", None, (0,)) == limit_items("abc", 5, (0,)) == ("a", "b", "c")


@pytest.mark.parametrize(
    ("splits", "expected"),
    [
        ({"all": "x"}, ("x-0.3-0.1", "held 0.1", "held 0.3")),
        ({"train": "x"}, ("x-0.3-0.1", "held 0.1", "held 0.3")),
        ({"train": "x", "val": "v"}, ("x-0.1", "held 0.1", "v")),
        ({"train": "x", "test": "t"}, ("x-0.1", "held 0.1", "t")),
        ({"train": "x", "val": "v", "test": "t"}, ("x", "v", "t")),
    ],
)
def test_missing_splits_are_held_out_and_validation_alone_is_the_test(splits, expected):
    def divide(samples, fraction):
        return f"{samples}-{fraction}", f"held {fraction}"

    assert divide_splits(splits, divide, validation=0.1, test=0.3) == expected
