"""Prompts for the metrics of templates, those trained on and those held out, in a file of the stage `generate`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from compress.core.atomic_files import write_text
from compress.distill.prompts.writers.base import WritingJob
from compress.distill.prompts.written_text import GuidedPrompt

if TYPE_CHECKING:
    from compress.distill.prompts.stage import Generate

TEMPLATES = "templates.jsonl"
"""Name of the file."""


class TemplatePrompt(NamedTuple):
    """A line of the file.

    Attributes:
        template: Of the guide.
        held_out: Whether no text was written to it.
        prompt: The prompt.
        reference: The right response: that of the data, or the answer of the writer.
    """

    template: str
    held_out: bool
    prompt: str
    reference: str


def write_template_prompts(stage: Generate, prompts: Sequence[GuidedPrompt], job: WritingJob) -> None:
    """Write the file; the writer answers prompts without a response of the data, with its likeliest tokens.

    Args:
        stage: Guide and writer.
        prompts: Prompts of each template.
        job: Networks and context.
    """
    greedy = replace(job, settings=stage.model_copy(update={"samples": 1, "temperature": 0.0}))
    open_prompts = [each.prompt for each in prompts if each.reference is None]
    answers = iter(stage.writer.write(open_prompts, greedy) if open_prompts else ())
    rows = []
    for each in prompts:
        reference = each.reference
        if reference is None:
            texts = next(answers)
            if not texts:
                continue
            reference = texts[0].text
        rows.append(TemplatePrompt(each.template, each.template in stage.guide.held_out, each.prompt, reference))
    lines = (json.dumps(row._asdict(), ensure_ascii=False) for row in rows)
    write_text(job.context.folder / TEMPLATES, "".join(f"{line}\n" for line in lines))


def read_template_prompts(folder: Path) -> list[TemplatePrompt]:
    """The prompts in the folder of a stage; empty where there are none."""
    path = folder / TEMPLATES
    if not path.exists():
        return []
    return [TemplatePrompt(**json.loads(line)) for line in path.read_text(encoding="utf-8").split("\n") if line]
