"""Splits of named tensors."""

from __future__ import annotations

import pytest
import torch

from compress.data.named_split import NamedSplit, read_rows, split_indices


@pytest.mark.parametrize("count", [3, 4, 10, 100])
def test_parts_are_disjoint_and_none_is_empty(count: int) -> None:
    parts = [part.tolist() for part in split_indices(count, 0.15, 0.3, 0)]
    assert sorted(index for part in parts for index in part) == list(range(count))
    assert all(parts)


def test_fewer_than_three_samples_are_in_every_part() -> None:
    assert [part.tolist() for part in split_indices(2, 0.15, 0.3, 0)] == [[0, 1]] * 3


def test_an_epoch_has_every_sample_once_in_another_order() -> None:
    x = torch.arange(9.0)[:, None]
    split = NamedSplit(torch.tensor([1, 3, 5, 7, 8]), read_rows({"x": x}, {"target": x[:, 0]}), "f")
    batches = list(split.epoch(0, 2, 1))
    assert [batch.size for batch in batches] == [2, 2]
    first, again, other = (
        torch.cat([batch.inputs["x"] for batch in split.epoch(number, 5, 1)]).flatten().tolist() for number in (0, 0, 1)
    )
    assert first == again
    assert sorted(first) == sorted(other) == [1, 3, 5, 7, 8]
    ordered = next(iter(split.ordered(8)))
    assert ordered.target.tolist() == [1, 3, 5, 7, 8]
    assert ordered.samples is not None
    assert ordered.samples.tolist() == [0, 1, 2, 3, 4]


def test_labels_are_class_numbers_of_the_selected_samples() -> None:
    values, samples = torch.arange(600), torch.arange(0, 600, 2)
    split = NamedSplit(samples, read_rows({"x": values}, {"target": values % 7}), "")
    assert split.labels is not None
    assert split.labels.tolist() == (samples % 7).tolist()
    assert NamedSplit(samples, read_rows({"x": values}, {}), "").labels is None
    assert NamedSplit(samples, read_rows({"x": values}, {"target": values.float()}), "").labels is None
