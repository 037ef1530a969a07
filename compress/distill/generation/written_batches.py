"""Batches of prompts with responses that a network wrote, and the prompts and responses of batches of data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from compress.data.batch import TARGET, UNLABELLED, Batch
from compress.data.text.settings import DECODER_IDS
from compress.data.text.split import IDS, MASK


def last_run(target: Tensor) -> tuple[int, int]:
    """Places of the first target of the last response, and after its last one.

    Args:
        target: Next token at each place, int64 (L,), negative where none is predicted; one at least is.
    """
    known = target >= 0
    places = known.nonzero()[:, 0]
    stop = int(places[-1]) + 1
    gaps = (~known[:stop]).nonzero()[:, 0]
    return (int(gaps[-1]) + 1 if len(gaps) else 0), stop


def prompts_of(batch: Batch) -> list[Tensor]:
    """Tokens before the last response of each sample; of an encoder-decoder those that the encoder reads."""
    if DECODER_IDS in batch.inputs:
        return [ids[mask > 0] for ids, mask in zip(batch.inputs[IDS], batch.inputs[MASK], strict=True)]
    rows = zip(batch.inputs[IDS], batch.targets[TARGET], strict=True)
    return [ids[: last_run(target)[0] + 1] for ids, target in rows]


def responses_of(batch: Batch) -> list[Tensor]:
    """Tokens of the last response of each sample, with its end."""
    return [target[slice(*last_run(target))] for target in batch.targets[TARGET]]


def written_batch(
    batch: Batch,
    prompts: Sequence[Tensor],
    responses: Sequence[Tensor],
    values: Mapping[str, Sequence[Tensor]],
    pad_id: int,
) -> Batch:
    """The batch with other responses; its samples have no number, so that no stored answers are taken for them.

    Args:
        batch: The batch of data, of N samples.
        prompts: Tokens of each prompt.
        responses: Tokens of each response, at least one.
        values: By the name of the target, numbers for each token of each response.
        pad_id: Token that fills shorter sequences.
    """
    if DECODER_IDS in batch.inputs:
        return _read_apart(batch, responses, values, pad_id)
    sizes = [len(prompt) + len(response) - 1 for prompt, response in zip(prompts, responses, strict=True)]
    shape, device = (len(prompts), max(sizes)), prompts[0].device
    ids = torch.full(shape, pad_id, device=device)
    mask = torch.zeros(shape, dtype=torch.int64, device=device)
    target = torch.full(shape, UNLABELLED, device=device)
    others = {name: torch.zeros(shape, device=device) for name in values}
    for row, (prompt, response) in enumerate(zip(prompts, responses, strict=True)):
        start = len(prompt) - 1
        ids[row, : sizes[row]] = torch.cat([prompt, response[:-1]])
        mask[row, : sizes[row]] = 1
        target[row, start : sizes[row]] = response
        for name, tensors in values.items():
            others[name][row, start : sizes[row]] = tensors[row]
    inputs = {name: {IDS: ids, MASK: mask}.get(name, torch.zeros_like(ids)) for name in batch.inputs}
    return Batch(inputs, {TARGET: target, **others})


def _read_apart(batch: Batch, responses: Sequence[Tensor], values: Mapping[str, Sequence[Tensor]], pad_id: int) -> Batch:
    """The batch of an encoder-decoder with other responses; arguments as for `written_batch`."""
    shape, device = (len(responses), max(map(len, responses))), responses[0].device
    read = torch.full(shape, pad_id, device=device)
    target = torch.full(shape, UNLABELLED, device=device)
    others = {name: torch.zeros(shape, device=device) for name in values}
    for row, response in enumerate(responses):
        read[row, 1 : len(response)] = response[:-1]
        target[row, : len(response)] = response
        for name, tensors in values.items():
            others[name][row, : len(response)] = tensors[row]
    inputs = {name: read if name == DECODER_IDS else each.to(device) for name, each in batch.inputs.items()}
    return Batch(inputs, {TARGET: target, **others})
