import torch

from compress.data.text.masked_split import MaskedSplit
from compress.data.text.masking import MaskRule
from compress.data.text.ragged import Ragged


def split(views=3, **rule):
    rows = [list(range(5, 5 + length)) for length in (12, 30, 20, 25)]
    words = [[-1, *range(1, len(row))] for row in rows]
    return MaskedSplit({"input_ids": Ragged.of(rows)}, Ragged.of(words, -1), MaskRule(0.3, 4, 60, **rule), views=views)


def masked(batches):
    return {
        int(sample): [int(token) for token in target if token >= 0]
        for batch in batches
        for sample, target in zip(batch.samples, batch.targets["target"], strict=True)
    }


def test_evaluations_see_the_same_masks_and_epochs_others():
    data = split()
    fixed = masked(data.ordered(4))
    assert fixed == masked(data.ordered(2))
    views = [masked(data.view(number, 2)) for number in range(4)]
    assert views[0] == views[3] == masked(data.epoch(0, 2, seed=5)) == masked(data.epoch(3, 4, seed=1))
    assert len({str(each) for each in (fixed, *views[:3])}) == 4


def test_targets_are_the_hidden_tokens_and_padding_has_none():
    (batch,) = split().ordered(4)
    original = torch.arange(5, 35).expand(4, 30)
    target, mask = batch.targets["target"], batch.inputs["attention_mask"]
    known = target >= 0
    assert torch.equal(target[known], original[known])
    assert not bool((known & (mask == 0)).any())
    assert not bool(known[:, 0].any())
    assert bool((batch.inputs["input_ids"][known] == 4).any())


def test_the_rule_is_part_of_the_fingerprint():
    prints = {each.fingerprint for each in (split(), split(seed=1), split(whole_words=True), split(views=1), split())}
    assert len(prints) == 4
