import torch

from compress.data.split_checks import find_copies
from compress.data.text.pair_split import PairSplit
from compress.data.text.ragged import Ragged


def test_second_texts_are_targets_padded_by_themselves():
    split = PairSplit(Ragged.of([[2, 5], [2, 6, 7]]), Ragged.of([[2, 8, 9, 9], [2]], 1), torch.tensor([0.5, 3.0]))
    (batch,) = split.ordered(2)
    assert batch.inputs["input_ids"].shape == (2, 3)
    assert batch.targets["pair_input_ids"].tolist() == [[2, 8, 9, 9], [2, 1, 1, 1]]
    assert batch.targets["pair_attention_mask"].tolist() == [[1, 1, 1, 1], [1, 0, 0, 0]]
    assert batch.targets["score"].tolist() == [0.5, 3.0]
    assert set(PairSplit(split.inputs["input_ids"], split.second, None).targets) == {"pair_input_ids", "pair_attention_mask"}


def test_a_first_text_in_several_pairs_is_no_copy():
    first, scores = Ragged.of([[2, 5]] * 2), torch.zeros(2)
    splits = [PairSplit(first, Ragged.of([[2, 8 + index], [2, 18 + index]]), scores) for index in range(3)]
    assert find_copies(*splits) == ()
    assert find_copies(splits[0], splits[1], splits[0]) != ()
