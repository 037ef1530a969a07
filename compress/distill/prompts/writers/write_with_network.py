"""Texts of a network to prompts: of a causal language model in a context, or of an encoder-decoder."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from compress.backends.continue_prompts import Sampling, continue_prompts
from compress.backends.eval_mode import eval_mode
from compress.core.language import gettext
from compress.core.seed_of import seed_of
from compress.data.text.context_tokens import context_tokens, prompt_tokens, reads_apart
from compress.data.text.packing import end_token
from compress.data.text.prompt_context import PromptContext
from compress.data.text.prompt_response import source_tokens
from compress.data.text.tokenizer import TextTokenizer
from compress.distill.prompts.writers.base import WritingJob
from compress.distill.prompts.written_text import RawText
from compress.distill.teachers.prompted_network import prompted
from compress.train.distributed import resolve_device
from compress.train.memory_format import to_cpu, to_device

BATCH = 64
"""Texts that are written together."""


def write_with_network(
    network: nn.Module, tokenizer: TextTokenizer, prompts: Sequence[str], job: WritingJob
) -> list[list[RawText]]:
    """Texts for each prompt.

    Args:
        network: A causal language model or an encoder-decoder on the CPU.
        tokenizer: Its tokenizer, with its chat template.
        prompts: The prompts.
        job: Context and settings; the seed is that of the stage.

    Raises:
        DataError: A prompt is too long with the context.
    """
    device = torch.device(resolve_device(job.context.device))
    settings, is_apart = job.settings, reads_apart(job.context.data.validation)
    reader, most, tokens = (_apart if is_apart else _in_context)(network, tokenizer, prompts, job.before)
    sampling = Sampling(settings.temperature, settings.top_p, None, settings.max_new_tokens)
    end = end_token(tokenizer)
    order = [row for row in range(len(prompts)) for _ in range(settings.samples)]
    texts: list[list[RawText]] = [[] for _ in prompts]
    try:
        to_device(reader, device)
        with job.context.reporter.bar(gettext("texts"), -(-len(order) // BATCH)) as bar, eval_mode(reader):
            for start in range(0, len(order), BATCH):
                rows = order[start : start + BATCH]
                generator = torch.Generator(device).manual_seed(seed_of("generate", job.context.seed, start))
                asked = [tokens[row].to(device) for row in rows]
                found = continue_prompts([(reader, 1.0)], asked, sampling, end=end, most=most, generator=generator)
                for row, written, length in zip(rows, found.tokens.tolist(), found.lengths.tolist(), strict=True):
                    own = written[:length]
                    texts[row].append(RawText(tokenizer.tokenizer.decode(own), own[-1] == end))
                bar.advance()
    finally:
        to_cpu(reader)
    return texts


def _in_context(
    network: nn.Module, tokenizer: TextTokenizer, prompts: Sequence[str], before: PromptContext
) -> tuple[nn.Module, int, list[Tensor]]:
    """A language model that reads a context before each prompt, the longest prompt with its text, and prompts in tokens."""
    context = context_tokens(before, tokenizer)
    reader = prompted(network, context)
    most = (reader.most or tokenizer.max_length) - context.shift
    return reader, most, [torch.from_numpy(each) for each in prompt_tokens(prompts, tokenizer)]


def _apart(
    network: nn.Module, tokenizer: TextTokenizer, prompts: Sequence[str], before: PromptContext
) -> tuple[nn.Module, int, list[Tensor]]:
    """An encoder-decoder, its longest prompt and longest response, and prompts in tokens; nothing stands before them."""
    assert before.is_empty  # noqa: S101  # the stage refuses it
    most = tokenizer.max_length
    return network, most, [torch.from_numpy(each) for each in source_tokens(prompts, tokenizer, most)]
