"""Texts of a causal language model to prompts in a context."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from compress.backends.continue_prompts import Sampling, continue_prompts
from compress.backends.eval_mode import eval_mode
from compress.core.language import gettext
from compress.core.seed_of import seed_of
from compress.data.text.context_tokens import context_tokens, prompt_tokens
from compress.data.text.packing import end_token
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
        network: A causal language model on the CPU.
        tokenizer: Its tokenizer, with its chat template.
        prompts: The prompts.
        job: Context and settings; the seed is that of the stage.

    Raises:
        DataError: A prompt is too long with the context.
    """
    device = torch.device(resolve_device(job.context.device))
    before, settings = context_tokens(job.before, tokenizer), job.settings
    reader = prompted(network, before)
    sampling = Sampling(settings.temperature, settings.top_p, None, settings.max_new_tokens)
    end = end_token(tokenizer)
    most = (reader.most or tokenizer.max_length) - before.shift
    order = [row for row in range(len(prompts)) for _ in range(settings.samples)]
    tokens = [torch.from_numpy(each) for each in prompt_tokens(prompts, tokenizer)]
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
