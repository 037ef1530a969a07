"""Texts that the network of a stage writes to validation prompts, their metrics, and their agreement with those of the parent.

The parent of a converted or quantized network is the last torch network, that of a torch network the reference of the run.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from compress.backends.decoder.greedy_texts import greedy_texts
from compress.backends.iterate_split import iterate_split
from compress.core.atomic_files import write_text
from compress.core.language import gettext
from compress.core.record import Metrics, Quantity
from compress.core.stage import Candidate, Context
from compress.data.batch import TARGET, UNLABELLED
from compress.data.text.ragged import Ragged
from compress.data.text.settings import DECODER_IDS, FILE
from compress.data.text.split import IDS, TextSplit
from compress.distill.generation.prepare import end_token
from compress.distill.generation.written_batches import check_has_prompts, prompts_of, responses_of
from compress.tasks.metric_quantity import estimate, loss_of
from compress.tasks.text.generated_text_agreement import AGREEMENT, FirstDivergence, IdenticalTexts
from compress.tasks.text.generated_text_metrics import TEXT_METRICS

if TYPE_CHECKING:
    from compress.pipeline.stage_output import StageOutput
    from compress.tasks.text.generated_text import GeneratedText

GENERATED = "generated.jsonl"
"""File of the texts in the folder of a stage: a line about them, then one for each."""
BATCH = 32
SMOKE = 8
"""Prompts and tokens of a smoke run."""


@dataclass(frozen=True)
class GeneratedTexts:
    """Texts of a network.

    Attributes:
        tokenizer: Hash of the tokenizer, since tokens of another one cannot be compared.
        max_new_tokens: Longest text.
        prompts: The prompts.
        references: The responses of the data.
        texts: The texts of the network.
        tokens: Their tokens.
    """

    tokenizer: str
    max_new_tokens: int
    prompts: tuple[str, ...]
    references: tuple[str, ...]
    texts: tuple[str, ...]
    tokens: tuple[tuple[int, ...], ...]

    def save(self, folder: Path) -> None:
        """Write the file of the texts."""
        columns = zip(self.prompts, self.references, self.texts, self.tokens, strict=True)
        rows = [dict(zip(("prompt", "reference", "text", "tokens"), row, strict=True)) for row in columns]
        head = {"tokenizer": self.tokenizer, "max_new_tokens": self.max_new_tokens}
        lines = (json.dumps(row, ensure_ascii=False) for row in (head, *rows))
        write_text(folder / GENERATED, "\n".join(lines) + "\n")

    @staticmethod
    def read(folder: Path) -> GeneratedTexts | None:
        """The texts in a folder; None where there are none."""
        path = folder / GENERATED
        if not path.exists():
            return None
        head, *rows = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
        prompts, references, texts = (tuple(row[name] for row in rows) for name in ("prompt", "reference", "text"))
        tokens = tuple(tuple(row["tokens"]) for row in rows)
        return GeneratedTexts(head["tokenizer"], head["max_new_tokens"], prompts, references, texts, tokens)

    def compares_with(self, other: GeneratedTexts) -> bool:
        """Whether both answer the same prompts in the same tokens."""
        own, others = ((each.tokenizer, each.max_new_tokens, each.prompts) for each in (self, other))
        return own == others


def measure_generated(candidate: Candidate, context: Context, parent: StageOutput | None) -> Metrics:
    """Metrics of the texts of a network, and their agreement with the parent's; the texts are written to the folder.

    Args:
        candidate: The network.
        context: Of its stage.
        parent: The parent; None for none.

    Raises:
        DataError: The data are no prompts with responses.
    """
    settings = context.task.generated
    if settings is None:
        return {}
    own = write_texts(candidate, context, settings)
    own.save(context.folder)
    where = gettext("texts of {count} validation prompts, the likeliest tokens", count=len(own.texts))
    scores = {metric: metric.compare(own.texts, own.references) for metric in TEXT_METRICS}
    results = {metric.info.name: estimate(metric, rows, where) for metric, rows in scores.items()}
    length = float(np.mean([len(tokens) for tokens in own.tokens]))
    results["generated_tokens"] = Quantity.measured(length, "1", gettext("mean length of {detail}", detail=where))
    other = None if parent is None else GeneratedTexts.read(parent.origin.folder)
    if parent is None or other is None or not own.compares_with(other):
        return results
    against = gettext("the network after {stage}", stage=parent.record.name)
    for metric, rows in scores.items():
        before = metric.compare(other.texts, other.references)
        results[metric.info.loss_name] = loss_of(metric, before, rows, against, "validation")
    return results | _agreement(candidate, context, own, other, against)


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


def write_texts(candidate: Candidate, context: Context, settings: GeneratedText) -> GeneratedTexts:
    """The texts of a network to the first validation prompts; errors as for `measure_generated`."""
    from tokenizers import Tokenizer

    data, count, longest = context.data, settings.prompts, settings.max_new_tokens
    if context.smoke:
        count, longest = min(count, SMOKE), min(longest, SMOKE)
    check_has_prompts(data.validation, "task.generated")
    text, end = data.spec.text, end_token(context)
    assert text is not None  # noqa: S101  # data with prompts are texts
    assert end is not None  # noqa: S101  # responses end with it
    batches = list(data.validation.ordered(BATCH))
    prompts = [prompt for batch in batches for prompt in prompts_of(batch)][:count]
    responses = [response.tolist() for batch in batches for response in responses_of(batch)][:count]
    runtime, network = ("", candidate.module) if candidate.module is not None else candidate.artifact
    tokens = greedy_texts(network, prompts, end=end, most=text.max_length, max_new_tokens=longest, runtime=runtime)
    file = data.files[FILE]
    decode = Tokenizer.from_str(file.decode()).decode
    return GeneratedTexts(
        hashlib.sha256(file).hexdigest()[:16],
        longest,
        tuple(decode(prompt.tolist()) for prompt in prompts),
        tuple(map(decode, responses)),
        tuple(map(decode, tokens)),
        tuple(map(tuple, tokens)),
    )


def _agreement(
    candidate: Candidate, context: Context, own: GeneratedTexts, parent: GeneratedTexts, against: str
) -> dict[str, Quantity]:
    """Agreement with the texts of the parent."""
    where = gettext("against {against}, {count} validation prompts", against=against, count=len(own.texts))
    found = {
        metric.info.name: estimate(metric, metric.compare(own.tokens, parent.tokens), where)
        for metric in (FirstDivergence(), IdenticalTexts())
    }
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
