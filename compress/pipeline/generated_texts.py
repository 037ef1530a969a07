"""Texts that the network of a stage writes to validation prompts, their metrics, and their agreement with those of the parent.

The parent of a converted or quantized network is the last torch network, that of a torch network the reference of the run.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from compress.backends.iterate_split import iterate_split
from compress.core.entries import Tables
from compress.core.language import gettext
from compress.core.record import Metric, Metrics, Quantity
from compress.core.stage import Candidate, Context
from compress.data.batch import TARGET, UNLABELLED
from compress.data.text.ragged import Ragged
from compress.data.text.settings import DECODER_IDS
from compress.data.text.split import IDS, TextSplit
from compress.distill.generation.generated_texts import BATCH, PROMPTED, GeneratedTexts, write_texts
from compress.distill.generation.written_batches import prompts_of
from compress.distill.prompts.template_prompts import read_template_prompts
from compress.pipeline.template_metrics import measure_templates
from compress.tasks.metric_quantity import estimate, loss_of
from compress.tasks.text.cider import CiderD
from compress.tasks.text.generated_text_agreement import AGREEMENT, FirstDivergence, IdenticalTexts
from compress.tasks.text.generated_text_metrics import (
    TEXT_METRICS,
    Bleu,
    CharacterErrors,
    ExactMatch,
    GeneratedTextMetric,
    SumShare,
)

if TYPE_CHECKING:
    from compress.pipeline.stage_output import StageOutput
    from compress.tasks.text.generated_text import GeneratedText


CAPTION_METRICS = (CharacterErrors(), Bleu(), CiderD())
"""Metrics of answers and captions on images."""
EXACT = ExactMatch()
SHARE = SumShare(
    Metric(
        name="exact_match_share",
        label="exact match as a share of the prompted network's",
        unit="fraction",
        higher_is_better=True,
    )
)


def measure_generated(
    candidate: Candidate, context: Context, parent: StageOutput | None, previous: StageOutput | None = None
) -> tuple[Metrics, Tables]:
    """Metrics of the texts of a network, and their agreement with the parent's; the texts are written to the folder.

    Args:
        candidate: The network.
        context: Of its stage.
        parent: The parent; None for none.
        previous: Output of the stage before; the answers of a prompted network, and prompts of templates, are in its folder or
            in those before.

    Returns:
        Quantities, and tables.

    Raises:
        DataError: The data are no prompts with responses.
    """
    settings = context.task.generated
    if settings is None:
        return {}, {}
    runtime, network = ("", candidate.module) if candidate.module is not None else candidate.artifact
    own = write_texts(network, context, settings, runtime)
    own.save(context.folder)
    results = _own_results(own, parent, settings, _metrics(context))
    if parent is not None and (texts := _comparable(own, GeneratedTexts.read(parent.origin.folder))) is not None:
        against = gettext("the network after {stage}", stage=parent.record.name)
        results |= _agreement(candidate, context, own, texts, against)
    folders = _folders(previous)
    results |= _shares(own, next(filter(None, (GeneratedTexts.read(folder, PROMPTED) for folder in folders)), None), settings)
    prompts = next(filter(None, map(read_template_prompts, folders)), [])
    found, tables = measure_templates(network, runtime, context, prompts) if prompts else ({}, {})
    return results | found, tables


def _folders(output: StageOutput | None) -> list[Path]:
    """Folders of the stages so far, the last first."""
    folders = []
    while output is not None:
        folders.append(output.folder)
        output = output.previous
    return folders


def _comparable(own: GeneratedTexts, other: GeneratedTexts | None) -> GeneratedTexts | None:
    return other if other is not None and own.compares_with(other) else None


def _shares(own: GeneratedTexts, prompted: GeneratedTexts | None, settings: GeneratedText) -> Metrics:
    """Exact match as a share of that of the prompted network on the same prompts; empty without its texts."""
    if prompted is None or _comparable(own, prompted) is None:
        return {}
    rows = [EXACT.compare(*_answers(each, settings)) for each in (own, prompted)]
    where = gettext("against the network with system message and examples, same {count} validation prompts", count=len(rows[0]))
    return {SHARE.info.name: estimate(SHARE, np.stack(rows, axis=1).astype(np.float64), where)}


def _answers(texts: GeneratedTexts, settings: GeneratedText) -> tuple[list[str], list[str]]:
    """Answers and references."""
    return list(map(settings.answer, texts.texts)), list(map(settings.answer, texts.references))


def _metrics(context: Context) -> tuple[GeneratedTextMetric, ...]:
    """Metrics of the texts; whether an answer on an image is exact is a metric of its task on the test samples already."""
    return TEXT_METRICS if context.data.spec.image_text is None else CAPTION_METRICS


def _own_results(
    own: GeneratedTexts, parent: StageOutput | None, settings: GeneratedText, metrics: Sequence[GeneratedTextMetric]
) -> Metrics:
    """Metrics of the texts, and their losses against the parent's."""
    where = gettext("texts of {count} validation prompts, the likeliest tokens", count=len(own.texts))
    scores = {metric: metric.compare(*_answers(own, settings)) for metric in metrics}
    results = {metric.info.name: estimate(metric, rows, where) for metric, rows in scores.items()}
    length = float(np.mean([len(tokens) for tokens in own.tokens]))
    results["generated_tokens"] = Quantity.measured(length, "1", gettext("mean length of {detail}", detail=where))
    other = None if parent is None else _comparable(own, GeneratedTexts.read(parent.origin.folder))
    if parent is None or other is None:
        return results
    against = gettext("the network after {stage}", stage=parent.record.name)
    for metric, rows in scores.items():
        before = metric.compare(*_answers(other, settings))
        results[metric.info.loss_name] = loss_of(metric, before, rows, against, "validation")
    return results


def parent_of(candidate: Candidate, previous: StageOutput | None, reference: StageOutput | None) -> StageOutput | None:
    """The network whose texts a network should write: the last torch network before a file, else the reference.

    Args:
        candidate: The network.
        previous: Output of the stage before.
        reference: Reference of the run.
    """
    if candidate.module is not None:
        return reference
    while previous is not None and previous.record.form != "torch":
        previous = previous.previous
    return previous


def _agreement(
    candidate: Candidate, context: Context, own: GeneratedTexts, parent: GeneratedTexts, against: str
) -> dict[str, Quantity]:
    """Agreement with the texts of the parent."""
    where = gettext("against {against}, {count} validation prompts", against=against, count=len(own.texts))
    found = {
        metric.info.name: estimate(metric, metric.compare(own.tokens, parent.tokens), where)
        for metric in (FirstDivergence(), IdenticalTexts())
    }
    if context.data.spec.image_text is not None:
        return dict(found)
    split = _split_of(context, parent)
    runtime, network = ("", candidate.module) if candidate.module is not None else candidate.artifact
    parts = iterate_split(network, split, context.task, batch_size=BATCH, runtime=runtime)
    rows = [AGREEMENT.scores(outputs, batch.targets).numpy() for outputs, batch in parts]
    return {AGREEMENT.info.name: estimate(AGREEMENT, np.concatenate(rows), where), **found}


def _split_of(context: Context, written: GeneratedTexts) -> TextSplit:
    """The prompts with written texts as responses."""
    text = context.data.spec.text
    assert text is not None  # noqa: S101  # as in `write_texts`
    batches = context.data.validation.ordered(BATCH)
    prompts = [prompt.tolist() for batch in batches for prompt in prompts_of(batch)]
    pairs = list(zip(prompts, written.tokens, strict=False))
    if any(spec.name == DECODER_IDS for spec in context.data.spec.signature.inputs):
        read = Ragged.of([[text.pad_id, *tokens[:-1]] for _, tokens in pairs], text.pad_id)
        inputs = {IDS: Ragged.of([prompt for prompt, _ in pairs], text.pad_id), DECODER_IDS: read}
        return TextSplit(inputs, {TARGET: Ragged.of([tokens for _, tokens in pairs], UNLABELLED)})
    ids = [[*prompt, *tokens[:-1]] for prompt, tokens in pairs]
    targets = [[*[UNLABELLED] * (len(prompt) - 1), *tokens] for prompt, tokens in pairs]
    return TextSplit({IDS: Ragged.of(ids, text.pad_id)}, {TARGET: Ragged.of(targets, UNLABELLED)})
