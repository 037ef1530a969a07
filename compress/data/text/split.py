"""`TextSplit`: texts as token numbers, in batches that are padded to their longest sequence."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from compress.core.seed_of import seed_of
from compress.data.batch import TARGET, Batch, Tensors
from compress.data.stratified import Indices
from compress.data.text.buckets import bucketed_batches
from compress.data.text.ragged import Ragged
from compress.data.text.settings import DECODER_IDS

if TYPE_CHECKING:
    from compress.data.text.origin import TextOrigin

IDS, MASK, TYPES = "input_ids", "attention_mask", "token_type_ids"
"""Names of the inputs, in this order: token numbers, 1 for each that is no padding, and 1 for those of a second text."""
_NAMED = 60


class TextSplit:
    """Texts of a split. See `compress.data.batch.Split` for the interface.

    Args:
        inputs: `input_ids`, for pairs `token_type_ids`, and for networks that read responses apart `decoder_input_ids`.
        targets: By name, (N, …), or rows of different lengths, such as a class for each token.
        texts: Text of each sample for messages; empty for none.
        views: Forms of the inputs, one for each view of an epoch; none for the inputs themselves.

    Attributes:
        origin: The texts that it was encoded from; None where they are unknown.
    """

    views: int | None
    origin: TextOrigin | None = None

    def __init__(
        self,
        inputs: Mapping[str, Ragged],
        targets: Mapping[str, Tensor | Ragged],
        texts: Sequence[str] = (),
        views: Sequence[Mapping[str, Ragged]] = (),
    ) -> None:
        self.inputs, self.targets, self.texts = dict(inputs), dict(targets), texts
        self.forms = tuple(views) or (self.inputs,)
        self.views = len(self.forms)
        digest = hashlib.sha256()
        for form in (self.inputs, *views, self.targets):
            for name, values in form.items():
                tensors = (values.values, values.offsets) if isinstance(values, Ragged) else (values,)
                for tensor in tensors:
                    digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
                    digest.update(tensor.contiguous().numpy().tobytes())
        self.fingerprint = digest.hexdigest()

    def __len__(self) -> int:
        return len(self.inputs[IDS])

    @property
    def lengths(self) -> Tensor:
        """Tokens of each sample, int64 (N,)."""
        return self.inputs[IDS].lengths

    @property
    def labels(self) -> Indices | None:
        """Class of each sample, int64 (N,), negative without a label; None where targets are no class numbers."""
        target = next(iter(self.targets.values())) if len(self.targets) == 1 else None
        if not isinstance(target, Tensor) or target.ndim != 1 or target.is_floating_point():
            return None
        return target.numpy().astype(np.int64)

    def sizes(self) -> Indices:
        """A checksum of the tokens of each sample, (N,)."""
        return np.array([zlib.crc32(self._bytes(index)) for index in range(len(self))], dtype=np.int64)

    def contents(self, index: int) -> bytes:
        """Hash of the tokens."""
        return hashlib.sha256(self._bytes(index)).digest()

    def name(self, index: int) -> str:
        """Number of the sample and the beginning of its text."""
        text = " ".join(self.texts[index].split()) if len(self.texts) else ""
        shown = text if len(text) <= _NAMED else f"{text[: _NAMED - 1]}…"
        return f"number {index}: {shown}" if shown else f"number {index}"

    def batches(self, batch_size: int) -> int:
        """How many batches `epoch` gives."""
        whole, rest = divmod(len(self), batch_size)
        return whole + (rest > 1)

    def ordered(self, batch_size: int) -> Iterator[Batch]:
        """Every sample once, in order, last batch short."""
        return (self._batch(samples, self.inputs) for samples in torch.split(torch.arange(len(self)), batch_size))

    def view(self, number: int, batch_size: int) -> Iterator[Batch]:
        """Every sample once, in order, as in this view."""
        form = self.forms[number % len(self.forms)]
        for samples in torch.split(torch.arange(len(self)), batch_size):
            yield self._batch(samples, form)._replace(views=torch.full_like(samples, number))

    def epoch(self, number: int, batch_size: int, seed: int) -> Iterator[Batch]:
        """Batches of sequences of similar lengths, in a random order; a rest of one sample is left out."""
        view = number % len(self.forms)
        form = self.forms[view]
        for samples in bucketed_batches(form[IDS].lengths, batch_size, seed_of("order", seed, number)):
            yield self._batch(samples, form)._replace(views=torch.full_like(samples, view))

    def at(self, samples: Tensor) -> Batch:
        """These samples, in this order.

        Args:
            samples: Indices, int64 (R,), on the CPU.
        """
        return self._batch(samples, self.inputs)

    def _bytes(self, index: int) -> bytes:
        return b"".join(values.row(index).numpy().tobytes() for values in self.inputs.values())

    def _batch(self, samples: Tensor, form: Mapping[str, Ragged]) -> Batch:
        return Batch(padded_inputs(form, samples), targets_at(self.targets, samples), samples)


def padded_inputs(inputs: Mapping[str, Ragged], samples: Tensor) -> dict[str, Tensor]:
    """Inputs of these samples, padded to the longest, each int64 (R, L).

    Args:
        inputs: `input_ids`, and where there are `token_type_ids` and `decoder_input_ids`.
        samples: Indices, int64 (R,).
    """
    ids = inputs[IDS].padded(samples)
    mask = (torch.arange(ids.shape[1]) < inputs[IDS].lengths[samples][:, None]).long()
    return {IDS: ids, MASK: mask, **{name: inputs[name].padded(samples) for name in (TYPES, DECODER_IDS) if name in inputs}}


def targets_at(targets: Mapping[str, Tensor | Ragged], samples: Tensor) -> Tensors:
    """Targets of these samples by name, rows padded to the longest.

    Args:
        targets: Of all samples.
        samples: Indices, int64 (R,).
    """
    return {name: each.padded(samples) if isinstance(each, Ragged) else each[samples] for name, each in targets.items()}


def only_target(target: Tensor) -> dict[str, Tensor | Ragged]:
    """One target under its default name."""
    return {TARGET: target}
