"""Metrics of the texts that a network writes to prompts of templates, those that it learned from and those held out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from compress.backends.decoder.greedy_texts import greedy_texts
from compress.core.entries import Row, Tables
from compress.core.language import gettext
from compress.core.record import Metrics
from compress.core.stage import Context
from compress.data.text.context_tokens import prompt_tokens, reads_apart, text_origin
from compress.data.text.packing import end_token
from compress.data.text.prompt_response import source_tokens
from compress.distill.generation.generated_texts import SMOKE
from compress.distill.prompts.template_prompts import TemplatePrompt
from compress.tasks.metric_quantity import estimate
from compress.tasks.text.generated_text_metrics import ExactMatch, RougeL

TEMPLATES = "templates"
"""Name of the table."""
METRICS = (ExactMatch(), RougeL())


def measure_templates(
    network: nn.Module | Path, runtime: str, context: Context, prompts: Sequence[TemplatePrompt]
) -> tuple[Metrics, Tables]:
    """Metrics of the held-out templates together, and a table of each template.

    Args:
        network: A module on the CPU, or a file.
        runtime: Of a file.
        context: Of the stage, with `generated` of the task.
        prompts: Prompts with their right responses.
    """
    settings, text = context.task.generated, context.data.spec.text
    assert settings is not None  # noqa: S101  # as the caller checked
    assert text is not None  # noqa: S101  # data with prompts are texts
    tokenizer = text_origin(context.data.validation, "task.generated").tokenizer
    longest = min(settings.max_new_tokens, SMOKE) if context.smoke else settings.max_new_tokens
    asked, is_apart = [each.prompt for each in prompts], reads_apart(context.data.validation)
    ids = source_tokens(asked, tokenizer, text.max_length) if is_apart else prompt_tokens(asked, tokenizer)
    tokens = [torch.from_numpy(each) for each in ids]
    end = end_token(tokenizer)
    written = greedy_texts(network, tokens, end=end, most=text.max_length, max_new_tokens=longest, runtime=runtime)
    answers = [settings.answer(tokenizer.tokenizer.decode(each)) for each in written]
    pairs = list(zip(prompts, answers, strict=True))
    held_out = [pair for pair in pairs if pair[0].held_out]
    where = gettext("{count} validation prompts in held-out templates", count=len(held_out))
    found = _metrics(held_out, context, where) if held_out else {}
    results = {f"held_out_{name}": quantity for name, quantity in found.items()}
    rows: list[Row] = []
    for template in dict.fromkeys(each.template for each in prompts):
        own = [pair for pair in pairs if pair[0].template == template]
        where = gettext("{count} prompts in this template", count=len(own))
        values = {name: quantity.model_dump(mode="json") for name, quantity in _metrics(own, context, where).items()}
        rows.append({"template": template, "held_out": own[0][0].held_out, "prompts": len(own), **values})
    return results, {TEMPLATES: tuple(rows)}


def _metrics(pairs: Sequence[tuple[TemplatePrompt, str]], context: Context, where: str) -> Metrics:
    settings = context.task.generated
    assert settings is not None  # noqa: S101  # as the caller checked
    answers, references = [answer for _, answer in pairs], [settings.answer(prompt.reference) for prompt, _ in pairs]
    return {each.info.name: estimate(each, each.compare(answers, references), where) for each in METRICS}
