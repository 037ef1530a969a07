"""Outputs of texts of different lengths, in batches of different sizes, are the same and are compared without padding."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from compress.backends.compare_on_split import collect_outputs, compare_on_split, record_outputs
from compress.backends.token_rows import have_lengths, same_length
from compress.core.network_spec import NetworkSpec
from compress.data.batch import Batch
from compress.tasks.base import Task
from compress.tasks.text.masked_language_model import MaskedLanguageModel
from compress.tasks.text.question_answering import QuestionAnswering
from compress.tasks.text.token_classification import TokenClassification
from tests.tasks.text.text_arrays import VOCABULARY, text_spec, tokens

COUNT = 20


class Texts:
    """Texts of 6 to 12 tokens; each batch is as long as its longest text."""

    views: int | None = 1

    def __init__(self, targets: dict[str, Tensor]) -> None:
        self.inputs, self.targets = tokens(COUNT, 0), targets

    def __len__(self) -> int:
        return COUNT

    def ordered(self, batch_size: int):
        for start in range(0, COUNT, batch_size):
            rows = slice(start, start + batch_size)
            longest = int(self.inputs["attention_mask"][rows].sum(1).max())
            cut = lambda values: values[rows, :longest] if values.ndim > 1 else values[rows]  # noqa: B023, E731
            inputs = {name: cut(values) for name, values in self.inputs.items()}
            yield Batch(inputs, {name: cut(values) for name, values in self.targets.items()}, torch.arange(COUNT)[rows])


class Network(nn.Module):
    """Logits of each token."""

    def __init__(self, size: int, outputs: int) -> None:
        super().__init__()
        self.table, self.outputs = nn.Embedding(VOCABULARY, size), outputs

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor | tuple[Tensor, ...]:
        logits = self.table(input_ids) + torch.arange(input_ids.shape[1])[:, None] % 3 + attention_mask[..., None]
        return logits if self.outputs == 1 else (logits[..., 0], logits[..., 1])


def cases() -> list[tuple[Task, dict[str, Tensor], Network]]:
    mask = tokens(COUNT, 0)["attention_mask"]
    tags = torch.where(mask > 0, torch.arange(12).expand(COUNT, 12) % 3, -100)
    words = torch.where(mask > 0, torch.arange(12).expand(COUNT, 12) + 5, -100)
    first = mask.cumsum(1) * mask
    answers = {"start": torch.full((COUNT,), 2), "end": torch.full((COUNT,), 3)}
    answers |= {"first_character": first, "next_character": first + mask}
    return [
        (TokenClassification().for_spec(spec(("O", "B-X", "I-X"))), {"target": tags}, Network(3, 1)),
        (MaskedLanguageModel(), {"target": words}, Network(VOCABULARY, 1)),
        (QuestionAnswering(), answers, Network(2, 2)),
    ]


def spec(classes: tuple[str, ...]) -> NetworkSpec:
    return text_spec(classes)


@pytest.mark.parametrize(("task", "targets", "network"), cases(), ids=["tags", "masked", "answers"])
def test_batches_of_other_sizes_change_no_comparison(task: Task, targets: dict[str, Tensor], network: Network) -> None:
    split = Texts(targets)
    for reference in (network, record_outputs(network, split, task, batch_size=8)):
        for size in (1, 3):
            compared = compare_on_split(reference, network, split, task, batch_size=8, other_batch_size=size)
            assert compared.noise == 0
            assert compared.signal > 0
            assert (compared.reference == compared.other).all()
    collected = [collect_outputs(network, split, task, batch_size=size, limit=17) for size in (1, 8, COUNT)]
    for each in collected[:2]:
        assert len(each) == 17
        for name, values in each.outputs.items():
            mask = split.inputs["attention_mask"][:17, : values.shape[1]] > 0
            torch.testing.assert_close(values[mask], collected[2].outputs[name][:, : values.shape[1]][mask])
        whole = task.deciding.scores(each.outputs, each.targets)
        torch.testing.assert_close(whole, task.deciding.scores(collected[2].outputs, collected[2].targets))


def test_other_axes_are_left_as_they_are() -> None:
    a, b = {"x": torch.ones(2, 5, 3), "y": torch.ones(2)}, {"x": torch.ones(2, 4, 3), "y": torch.ones(2)}
    assert have_lengths([a, b])
    assert not have_lengths([a, a])
    assert [values["x"].shape for values in same_length(a, b)] == [(2, 4, 3), (2, 4, 3)]
