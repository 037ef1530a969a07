"""Responses of the teacher to all training prompts, written once and kept, for sequence-level distillation."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from compress.backends.continue_prompts import Sampling, continue_prompts
from compress.backends.eval_mode import eval_mode, module_device
from compress.core.atomic_files import write_with
from compress.core.language import gettext
from compress.core.progress import Reporter
from compress.core.seed_of import seed_of
from compress.data.batch import Batch, Split
from compress.data.text.ragged import Ragged
from compress.distill.generation.settings import Generation
from compress.distill.generation.written_batches import prompts_of, written_batch

BATCH = 64
"""Prompts that are answered together."""


class TeacherTexts:
    """A response of the teacher for each sample.

    Args:
        responses: Tokens of each, with the end.
    """

    def __init__(self, responses: Ragged) -> None:
        self.responses = responses

    def batch(self, batch: Batch, pad_id: int) -> Batch:
        """The batch with the teacher's responses.

        Args:
            batch: Samples of data, with their numbers.
            pad_id: Token that fills shorter sequences.
        """
        assert batch.samples is not None  # noqa: S101  # texts have numbers
        prompts = prompts_of(batch)
        device = prompts[0].device
        rows = [self.responses.row(int(sample)).long().to(device) for sample in batch.samples]
        return written_batch(batch, prompts, rows, {}, pad_id)


def write_teacher_texts(
    split: Split,
    network: nn.Module,
    settings: Generation,
    *,
    end: int,
    most: int,
    seed: int,
    key: str,
    cache: Path,
    reporter: Reporter,
) -> TeacherTexts:
    """The responses of a network to the prompts of a split; those of an earlier call with the same arguments are read.

    Args:
        split: Prompts with responses.
        network: The teacher, on its device.
        settings: Sampling, and the longest response.
        end: Token that ends a text.
        most: Longest sequence in tokens.
        seed: Of the sampling.
        key: Identity of the network.
        cache: Folder that runs share.
        reporter: Progress bar.
    """
    sampling = Sampling(settings.temperature, settings.top_p, settings.top_k, settings.max_new_tokens)
    identity = json.dumps([key, split.fingerprint, str(sampling), end, most, seed])
    path = cache / f"texts-{hashlib.sha256(identity.encode()).hexdigest()[:16]}.safetensors"
    if (known := _read(path, len(split))) is not None:
        return TeacherTexts(known)
    rows: list[Tensor] = []
    with reporter.bar(gettext("teacher texts"), -(-len(split) // BATCH)) as bar, eval_mode(network):
        for place, batch in enumerate(split.ordered(BATCH)):
            rows += _answers(network, batch, sampling, end=end, most=most, seed=seed_of("teacher", seed, place))
            bar.advance()
    responses = Ragged.of([row.cpu().numpy() for row in rows])  # type: ignore[misc]  # arrays of integers
    cache.mkdir(parents=True, exist_ok=True)
    tensors = {"values": responses.values, "offsets": responses.offsets}
    write_with(path, lambda temporary: save_file(tensors, temporary))
    return TeacherTexts(responses)


def _answers(network: nn.Module, batch: Batch, sampling: Sampling, *, end: int, most: int, seed: int) -> Iterator[Tensor]:
    device = module_device(network)
    prompts = [prompt.to(device) for prompt in prompts_of(batch)]
    generator = torch.Generator(device).manual_seed(seed)
    found = continue_prompts([(network, 1.0)], prompts, sampling, end=end, most=most, generator=generator)
    return (tokens[: int(length)] for tokens, length in zip(found.tokens, found.lengths, strict=True))


def _read(path: Path, count: int) -> Ragged | None:
    """Responses of a file; None where it is missing or damaged."""
    try:
        tensors = load_file(path)
        found = Ragged(tensors["values"], tensors["offsets"])
    except (OSError, SafetensorError, KeyError):
        return None
    return found if len(found) == count else None
