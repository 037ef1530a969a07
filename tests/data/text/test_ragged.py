import torch

from compress.data.text.ragged import Ragged

ROWS = Ragged.of([[1, 2, 3], [], [4]], padding=9)


def test_rows_are_padded_to_the_longest_of_those_asked_for():
    assert ROWS.padded(torch.tensor([2, 0])).tolist() == [[4, 9, 9], [1, 2, 3]]
    assert ROWS.padded(torch.tensor([2])).tolist() == [[4]]
    assert ROWS.padded(torch.tensor([1])).tolist() == [[9]]
    assert ROWS.padded(torch.tensor([0])).dtype == torch.int64


def test_rows_and_their_lengths_are_those_given():
    assert len(ROWS) == 3
    assert ROWS.lengths.tolist() == [3, 0, 1]
    assert ROWS.row(0).tolist() == [1, 2, 3]
    assert ROWS.select(torch.tensor([2, 0])).padded(torch.arange(2)).tolist() == [[4, 9, 9], [1, 2, 3]]


def test_rows_of_two_are_one_after_the_other():
    first, second = Ragged.of([[1, 2], [3]], 9), Ragged.of([[], [4, 5]], 0)
    joined = first.joined(second)
    assert [joined.row(index).tolist() for index in range(4)] == [[1, 2], [3], [], [4, 5]]
    assert joined.padding == 9
