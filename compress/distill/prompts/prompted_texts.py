"""Answers of the prompted network to validation prompts, which the network that learns without the prompt is compared with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compress.core.language import gettext
from compress.core.record import Metrics
from compress.data.text.context_tokens import context_tokens
from compress.data.text.tokenizer import TextTokenizer
from compress.distill.generation.generated_texts import PROMPTED, write_texts
from compress.distill.prompts.writers.base import WritingJob
from compress.distill.prompts.writers.network import ParentWriter
from compress.distill.teachers.prompted_network import prompted
from compress.tasks.metric_quantity import estimate
from compress.tasks.text.generated_text_metrics import TEXT_METRICS

if TYPE_CHECKING:
    from compress.distill.prompts.stage import Generate


def write_prompted(stage: Generate, job: WritingJob, tokenizer: TextTokenizer) -> Metrics:
    """Write the answers, and give their metrics; empty for a teacher with a tokenizer of its own, whose tokens differ.

    Args:
        stage: With a network as writer.
        job: Networks and context.
        tokenizer: Of the data.
    """
    settings, writer = job.context.task.generated, stage.writer
    if settings is None or not isinstance(writer, ParentWriter) or any(job.context.teacher_tokenizers):
        return {}
    network = prompted(writer.network(job), context_tokens(job.before, tokenizer))
    texts = write_texts(network, job.context, settings)
    texts.save(job.context.folder, PROMPTED)
    where = gettext("{count} validation prompts after the system message and examples", count=len(texts.texts))
    answers, references = (list(map(settings.answer, each)) for each in (texts.texts, texts.references))
    return {f"prompted_{each.info.name}": estimate(each, each.compare(answers, references), where) for each in TEXT_METRICS}
