"""Splits of token numbers in memory, for tasks of texts."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from compress.core.network_spec import NetworkSpec
from compress.core.signature import BATCH, AxisSizes, Signature, TensorSpec
from compress.data.batch import Batch

VOCABULARY, LENGTH = 40, 12


def text_spec(classes: Sequence[str] = (), vocabulary: int = VOCABULARY, most: int = 24) -> NetworkSpec:
    shape = (BATCH, "sequence")
    inputs = (
        TensorSpec(name="input_ids", dtype="int64", shape=shape, values=(0, vocabulary - 1)),
        TensorSpec(name="attention_mask", dtype="int64", shape=shape, values=(1, 1)),
    )
    return NetworkSpec(
        signature=Signature(inputs=inputs, sizes={"sequence": AxisSizes(1, LENGTH, most)}), classes=tuple(classes)
    )


def tokens(samples: int, seed: int, *, ragged: bool = True) -> dict[str, Tensor]:
    """Token numbers from 5 on, with 2 at the first place, and their mask; padding is 0."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(5, VOCABULARY, (samples, LENGTH), generator=generator)
    ids[:, 0] = 2
    lengths = (
        torch.randint(LENGTH // 2, LENGTH + 1, (samples,), generator=generator) if ragged else torch.full((samples,), LENGTH)
    )
    mask = (torch.arange(LENGTH) < lengths[:, None]).long()
    return {"input_ids": ids * mask, "attention_mask": mask}


class Arrays:
    """See `compress.data.batch.Split`."""

    views: int | None = 1

    def __init__(self, inputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> None:
        self.inputs, self.targets = dict(inputs), dict(targets)
        digest = hashlib.sha256()
        for values in (*self.inputs.values(), *self.targets.values()):
            digest.update(values.numpy().tobytes())
        self.fingerprint = digest.hexdigest()

    def __len__(self) -> int:
        return len(next(iter(self.inputs.values())))

    def ordered(self, batch_size: int) -> Iterator[Batch]:
        return (self._batch(index) for index in torch.arange(len(self)).split(batch_size))

    def view(self, number: int, batch_size: int) -> Iterator[Batch]:
        return (batch._replace(views=torch.full((batch.size,), number)) for batch in self.ordered(batch_size))

    def epoch(self, number: int, batch_size: int, seed: int) -> Iterator[Batch]:
        order = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed + number))
        return (self._batch(index) for index in order.split(batch_size)[: self.batches(batch_size)])

    def batches(self, batch_size: int) -> int:
        whole, rest = divmod(len(self), batch_size)
        return whole + (rest > 1)

    def _batch(self, index: Tensor) -> Batch:
        parts = ({name: values[index] for name, values in part.items()} for part in (self.inputs, self.targets))
        return Batch(*parts, index, torch.zeros_like(index))
