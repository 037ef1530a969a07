import numpy as np
import torch

from compress.data.text.ragged import Ragged
from compress.data.text.split import IDS, MASK, TYPES, TextSplit

ROWS = [[2, 5, 3], [2, 5, 6, 7, 3], [2, 3], [2, 5, 3]]


def a_split(rows=ROWS, target=(0, 1, -100, 0), **more):
    return TextSplit({IDS: Ragged.of(rows, 0), **more}, {"target": torch.tensor(target)}, texts=["x y"] * len(rows))


def test_batches_are_padded_to_their_longest_sequence():
    first, last = a_split().ordered(2)
    assert list(first.inputs) == [IDS, MASK]
    assert first.inputs[IDS].tolist() == [[2, 5, 3, 0, 0], [2, 5, 6, 7, 3]]
    assert first.inputs[MASK].tolist() == [[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]]
    assert last.inputs[IDS].shape == (2, 3)
    assert last.targets["target"].tolist() == [-100, 0]
    assert last.samples.tolist() == [2, 3]


def test_types_are_an_input_where_the_split_has_them():
    split = a_split(**{TYPES: Ragged.of([[0, 1, 1], [0, 0, 1, 1, 1], [0, 0], [0, 0, 1]])})
    batch = next(iter(split.ordered(2)))
    assert list(batch.inputs) == [IDS, MASK, TYPES]
    assert batch.inputs[TYPES].tolist() == [[0, 1, 1, 0, 0], [0, 0, 1, 1, 1]]


def test_targets_of_tokens_are_padded_as_the_tokens_are():
    split = TextSplit(
        {IDS: Ragged.of(ROWS)}, {"target": Ragged.of([[-100, 1, -100], [-100, 0, 1, 2, -100], [-100, -100], [1, 1, 1]], -100)}
    )
    batch = next(iter(split.ordered(2)))
    assert batch.targets["target"].tolist() == [[-100, 1, -100, -100, -100], [-100, 0, 1, 2, -100]]
    assert split.labels is None


def test_epochs_are_seeded_and_complete():
    split = a_split([[2, *[5] * (index % 9), 3] for index in range(50)], target=list(range(50)))
    epochs = [[batch.samples.tolist() for batch in split.epoch(number, 8, seed=1)] for number in (0, 0, 1)]
    assert epochs[0] == epochs[1] != epochs[2]
    assert sorted(sample for batch in epochs[0] for sample in batch) == list(range(50))
    assert len(epochs[0]) == split.batches(8)


def test_each_view_has_its_own_tokens():
    views = [{IDS: Ragged.of([[2, 3 + view]] * 4)} for view in range(3)]
    split = TextSplit({IDS: Ragged.of(ROWS)}, {"target": torch.zeros(4, dtype=torch.long)}, views=views)
    assert split.views == 3
    assert [next(iter(split.epoch(number, 4, 0))).inputs[IDS][0, 1].item() for number in (0, 1, 5)] == [3, 4, 5]
    assert next(iter(split.view(1, 4))).inputs[IDS][0].tolist() == [2, 4]
    assert next(iter(split.ordered(4))).inputs[IDS].shape == (4, 5)


def test_equal_texts_are_recognised():
    split = a_split()
    assert split.contents(0) == split.contents(3) != split.contents(1)
    sizes = split.sizes()
    assert sizes[0] == sizes[3]
    assert len(np.unique(sizes)) == 3
    assert split.name(0) == "number 0: x y"
    assert split.fingerprint == a_split().fingerprint != a_split(target=(0, 1, 1, 0)).fingerprint
