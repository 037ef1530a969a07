import pytest
import torch

from compress.core.errors import ConversionError
from compress.tasks.text.samples_by_length import samples_by_length
from tests.tasks.text.text_arrays import Arrays, tokens


class Cut(Arrays):
    """Batches are as long as their longest sample."""

    def _batch(self, index):
        batch = super()._batch(index)
        most = int(batch.inputs["attention_mask"].sum(1).max())
        return batch._replace(inputs={name: values[:, :most] for name, values in batch.inputs.items()})


def of_length(lengths, kind=Cut):
    mask = (torch.arange(12) < torch.tensor(lengths)[:, None]).long()
    return kind({"input_ids": mask * torch.arange(1, len(lengths) + 1)[:, None], "attention_mask": mask}, {})


def test_short_and_long_samples_are_chosen_without_padding():
    split = of_length([2] * 70 + [9] * 20 + [12] * 10)
    chosen = samples_by_length(split, 10, 0)
    assert [sample["input_ids"].shape for sample in chosen] == [(1, 2)] * 7 + [(1, 9)] * 2 + [(1, 12)]
    assert [sample["input_ids"][0, 0] for sample in chosen] == sorted(sample["input_ids"][0, 0] for sample in chosen)


def test_samples_of_a_fixed_number_of_tokens_stay_as_they_are():
    split = Arrays(tokens(80, 0), {})
    chosen = samples_by_length(split, 100, 0)
    assert len(chosen) == 80
    assert {sample["input_ids"].shape for sample in chosen} == {(1, 12)}


def test_an_empty_split_is_refused():
    with pytest.raises(ConversionError, match="training split is empty"):
        samples_by_length(Arrays(tokens(0, 0), {}), 10, 0)
