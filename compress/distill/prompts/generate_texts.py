"""Run of the stage `generate`: prompts, texts, filters, files, and the prompted network's answers to validation prompts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from compress.core.atomic_files import write_text
from compress.core.entries import Row
from compress.core.errors import DataError
from compress.core.fact import Fact
from compress.core.language import gettext
from compress.core.printable import shorten
from compress.core.record import Metrics, Quantity
from compress.core.registry_field import name_of
from compress.core.stage import Candidate, Context, Outcome
from compress.data.text.context_tokens import check_reads_prompts, text_origin
from compress.data.text.generated_train import GeneratedRow, prompts_with_responses, write_rows
from compress.data.text.settings import GENERATED_FILE
from compress.distill.prompts.guide import DataPrompt, evaluation_prompts, training_prompts
from compress.distill.prompts.prompted_texts import write_prompted
from compress.distill.prompts.template_prompts import write_template_prompts
from compress.distill.prompts.writers.base import WritingJob
from compress.distill.prompts.written_text import GuidedPrompt, RawText, WrittenText

if TYPE_CHECKING:
    from compress.distill.prompts.stage import Generate

ORIGIN_FILE = "origin.json"
"""Where texts are from: writer, settings, seed, filters."""
LEAST = 2
"""Fewest texts to train on."""
SHOWN = 160
"""Characters of a text in a table."""


@dataclass(frozen=True)
class Filtered:
    """Texts after the filters.

    Attributes:
        texts: Those that are kept.
        table: A row for each filter.
    """

    texts: list[WrittenText]
    table: tuple[Row, ...]


def generate_texts(stage: Generate, candidate: Candidate, context: Context) -> Outcome:
    """Write and filter texts.

    Args:
        stage: Settings.
        candidate: Input network.
        context: Data with prompts and responses, teachers, folder.

    Raises:
        CompressError: The data are no prompts with responses, texts cannot be written, or the filters leave none.
    """
    origin = text_origin(context.data.train, "generate")
    if not stage.before.is_empty:
        check_reads_prompts(context.data.validation, "generate")
    data = [DataPrompt(*row) for row in prompts_with_responses(context.data.train)] if stage.guide.asks_data else []
    asked = training_prompts(stage.guide, data, context.seed)
    job = WritingJob(candidate, context, stage.before, stage)
    written = stage.writer.write([each.prompt for each in asked], job)
    texts = [text for number, (prompt, own) in enumerate(zip(asked, written, strict=True))
             for text in _texts(number, prompt, own, stage.answer.after)]  # fmt: skip
    filtered = apply_filters(texts, stage, context)
    notes: tuple[Fact, ...] = ()
    kept = filtered.texts
    if len(kept) < LEAST:
        if not context.smoke or len(texts) < LEAST:
            raise _nothing_left(len(texts), filtered)
        kept, notes = texts, (Fact.of("train.smoke_keeps_texts", count=len(texts)),)
    rows = [GeneratedRow(each.prompt, _learned(each, stage), each.template) for each in kept]
    if stage.with_data:
        rows += [GeneratedRow(prompt, response, "") for prompt, response in prompts_with_responses(context.data.train)]
    path = context.folder / GENERATED_FILE
    write_rows(path, rows)
    results = _results(asked, written, texts, kept)
    _write_origin(stage, job, results)
    validation = [DataPrompt(*row) for row in prompts_with_responses(context.data.validation)] if stage.guide.asks_data else []
    if not stage.guide.is_plain and context.task.generated is not None:
        write_template_prompts(stage, evaluation_prompts(stage.guide, validation, context.seed), job)
    if stage.writer.is_network and not stage.before.is_empty and context.task.generated is not None:
        results |= write_prompted(stage, job, origin.tokenizer)
    return Outcome(candidate, results=results, notes=notes, tables={"text_filters": filtered.table}, training_set=path)


def apply_filters(texts: Sequence[WrittenText], stage: Generate, context: Context) -> Filtered:
    """The texts that all filters keep.

    Args:
        texts: All texts; those whose answer cannot be found are left out.
        stage: The filters.
        context: Of the stage.
    """
    kept = [each for each in texts if stage.answer.after is None or stage.answer.after in each.text]
    table = [] if len(kept) == len(texts) else [_row("answer", texts, kept)]
    for each in stage.filters:
        before, kept = kept, each.keep(kept, context)
        table.append(_row(name_of("text_filter", each), before, kept))
    return Filtered(kept, tuple(table))


def _texts(number: int, prompt: GuidedPrompt, texts: Sequence[RawText], after: str | None) -> list[WrittenText]:
    return [
        WrittenText(
            number,
            prompt.prompt,
            prompt.template,
            each.text,
            each.text if after is None else each.text.rpartition(after)[2],
            each.ended,
            prompt.reference,
        )
        for each in texts
    ]


def _learned(text: WrittenText, stage: Generate) -> str:
    return text.answer.strip() if stage.answer.learn == "answer" else text.text.strip()


def _row(name: str, before: Sequence[WrittenText], kept: Sequence[WrittenText]) -> Row:
    """Counts of a filter, and a text that it removed."""
    known = set(map(id, kept))
    example = next((each for each in before if id(each) not in known), None)
    shown = None if example is None else shorten(f"{example.prompt.strip()} → {example.text.strip()}", SHOWN)
    return {"filter": name, "texts": len(before), "removed": len(before) - len(kept), "example": shown}


def _results(
    asked: Sequence[GuidedPrompt],
    written: Sequence[Sequence[RawText]],
    texts: Sequence[WrittenText],
    kept: Sequence[WrittenText],
) -> Metrics:
    count = sum(map(len, written))
    ended = sum(each.ended for each in texts)
    detail = gettext("{count} prompts", count=len(asked))
    results = {
        "texts_generated": Quantity.measured(count, "1", detail),
        "texts_kept": Quantity.measured(len(kept), "1", gettext("after the filters")),
        "prompts_kept": Quantity.measured(
            len({each.source for each in kept}), "1", gettext("prompts with a text after the filters")
        ),
    }
    if count:
        results["texts_ended"] = Quantity.measured(ended / count, "fraction", detail)
    return results


def _write_origin(stage: Generate, job: WritingJob, results: Metrics) -> None:
    """Where the texts are from, beside them."""
    known = {
        **stage.writer.provenance(job),
        "settings": stage.model_dump(mode="json"),
        "seed": job.context.seed,
        "data": job.context.data.train.fingerprint,
        "counts": {name: quantity.value for name, quantity in results.items()},
    }
    write_text(job.context.folder / ORIGIN_FILE, json.dumps(known, ensure_ascii=False, indent=1))


def _nothing_left(count: int, filtered: Filtered) -> DataError:
    removed = ", ".join(f"{row['filter']} {row['removed']}" for row in filtered.table) or gettext("no filter")
    return DataError(
        gettext(
            "generate: {kept} of {count} texts are left to train on, at least {least} needed; removed by {removed}; loosen the "
            "filters, ask for more samples, or look at the texts of the writer",
            kept=len(filtered.texts),
            count=count,
            least=LEAST,
            removed=removed,
        )
    )
