"""Batches with other responses against the tokens that they are made of."""

import torch

from compress.data.batch import TARGET, Batch
from compress.data.text.ragged import Ragged
from compress.data.text.split import IDS, MASK, TextSplit
from compress.distill.generation.written_batches import (
    last_run,
    prompts_of,
    responses_of,
    written_batch,
)

ROWS = [([5, 6, 7, 8], [-100, 7, 8, 1]), ([9, 4, 3, 2], [4, 1, -100, 1]), ([6, 2], [-100, 1])]


def batch():
    split = TextSplit(
        {IDS: Ragged.of([ids for ids, _ in ROWS])}, {TARGET: Ragged.of([target for _, target in ROWS], -100)}, ["a", "b", "c"]
    )
    return next(iter(split.ordered(3)))


def test_prompts_and_responses_are_those_of_the_last_answer():
    assert [prompt.tolist() for prompt in prompts_of(batch())] == [[5, 6], [9, 4, 3, 2], [6, 2]]
    assert [response.tolist() for response in responses_of(batch())] == [[7, 8, 1], [1], [1]]
    assert last_run(torch.tensor([3, 4, -100])) == (0, 2)


def test_a_batch_with_its_own_responses_is_the_same_batch():
    first = batch()
    again = written_batch(first, prompts_of(first), responses_of(first), {}, 0)
    for name in (IDS, MASK):
        assert torch.equal(again.inputs[name], first.inputs[name])
    last = first.targets[TARGET].clone()
    last[1, :2] = -100  # an earlier response of the same conversation is not learned again
    assert torch.equal(again.targets[TARGET], last)
    assert again.samples is None
    assert again.views is None


def test_numbers_of_tokens_stand_at_their_targets():
    first = batch()
    responses = [torch.tensor([2, 1]), torch.tensor([3, 3, 3, 1]), torch.tensor([1])]
    values = [torch.arange(1.0, len(row) + 1) for row in responses]
    made = written_batch(first, prompts_of(first), responses, {"value": values}, 0)
    known = made.targets[TARGET] >= 0
    assert made.targets["value"][known].tolist() == [1.0, 2.0, 1.0, 2.0, 3.0, 4.0, 1.0]
    assert made.targets[TARGET][known].tolist() == [2, 1, 3, 3, 3, 1, 1]
    assert bool((made.targets["value"][~known] == 0).all())
    assert made.inputs[MASK].sum(1).tolist() == [3, 7, 2]
    assert isinstance(made, Batch)
