"""Texts that a student and its teacher write to test prompts, and what the teacher thinks of them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from rouge_score.rouge_scorer import RougeScorer
from tokenizers import Tokenizer
from torch import Tensor, nn

import compress
from compress.backends.continue_prompts import Sampling, continue_prompts
from compress.core.record import Quantity
from compress.data.batch import Batch
from compress.data.interface import Data
from compress.data.text.settings import FILE
from compress.distill.generation.written_batches import prompts_of, responses_of, written_batch
from compress.distill.losses.token_divergence import forward_kl
from compress.pipeline.pipeline import Pipeline
from compress.tasks.text.causal_language_model import CausalLanguageModel
from compress.train.teachers.rows import rows_of

BATCH, LONGEST = 64, 32
LIKELIEST, DRAWN = Sampling(max_new_tokens=LONGEST), Sampling(1.0, max_new_tokens=LONGEST)
TASK = CausalLanguageModel()
Column = NDArray[np.float64]


class Written(NamedTuple):
    """One arm of one seed; N test prompts.

    Attributes:
        rouge: ROUGE-L (F1) of the student's likeliest text against that of the data, (N,).
        drawn_rouge: The same of the text that the student draws at temperature 1, as published comparisons have it.
        teacher_rouge: Of the teacher's likeliest text.
        log_likelihood: log p_t per token of the text that the student draws at temperature 1, (N,), nat.
        own: KL(p_t ‖ p_s) at each place of the student's own drawn texts, mean over the texts that reach it, (32,), nat.
        guided: The same on texts that the teacher draws.
        perplexity: Of the data's responses.
    """

    rouge: Column
    drawn_rouge: Column
    teacher_rouge: Column
    log_likelihood: Column
    own: Column
    guided: Column
    perplexity: Quantity


class _Writer:
    """Texts to the test prompts of a run.

    Args:
        data: With a tokenizer.
        seed: Of what is drawn.
    """

    def __init__(self, data: Data, seed: int) -> None:
        self.split, self.seed = data.test, seed
        text = data.spec.text
        assert text is not None
        assert text.end_token is not None
        self.text, self.tokenizer = text, Tokenizer.from_str(data.files[FILE].decode())
        self.end = self.tokenizer.token_to_id(text.end_token)

    def write(self, network: nn.Module, sampling: Sampling) -> list[Batch]:
        """The batches of test with responses that the network writes."""
        generator, batches = torch.Generator().manual_seed(self.seed), []
        for batch in self.split.ordered(BATCH):
            prompts = prompts_of(batch)
            found = continue_prompts(
                [(network, 1.0)], prompts, sampling, end=self.end, most=self.text.max_length, generator=generator
            )
            texts = [tokens[: int(length)] for tokens, length in zip(found.tokens, found.lengths, strict=True)]
            batches.append(written_batch(batch, prompts, texts, {}, self.text.pad_id))
        return batches

    def rouge(self, batches: list[Batch]) -> Column:
        """ROUGE-L (F1) of texts that `write` gave, (N,)."""
        scorer, scores = RougeScorer(["rougeL"]), []
        for wanted, written in zip(self.split.ordered(BATCH), batches, strict=True):
            for reference, response in zip(responses_of(wanted), responses_of(written), strict=True):
                scores.append(scorer.score(self._words(reference), self._words(response))["rougeL"].fmeasure)
        return np.array(scores)

    def _words(self, tokens: Tensor) -> str:
        words: str = self.tokenizer.decode(tokens.tolist(), skip_special_tokens=True)
        return words


def log_likelihoods(network: nn.Module, batches: list[Batch]) -> Column:
    """Log p per token of the responses, (N,), nat."""
    parts = []
    for batch in batches:
        rows = rows_of(network, batch, TASK)
        log_p = rows.logits.log_softmax(1).gather(1, _targets(batch)[:, None])[:, 0].double()
        sums = torch.zeros(2, batch.size, dtype=torch.float64)
        sums[0].index_add_(0, rows.samples, log_p)
        sums[1].index_add_(0, rows.samples, torch.ones_like(log_p))
        parts.append((sums[0] / sums[1]).numpy())
    return np.concatenate(parts)


def divergence_by_place(student: nn.Module, teacher: nn.Module, batches: list[Batch]) -> Column:
    """KL(p_t ‖ p_s) at each place of the responses, mean over the texts that reach it, (32,), nat; NaN where none does."""
    sums = torch.zeros(2, LONGEST, dtype=torch.float64)
    for batch in batches:
        rows = rows_of(student, batch, TASK)
        gap = forward_kl(rows.logits.log_softmax(1), rows_of(teacher, batch, TASK).logits.log_softmax(1)).double()
        known = batch.targets["target"] >= 0
        places = (known.cumsum(1) - 1)[known]
        sums[0].index_add_(0, places, gap)
        sums[1].index_add_(0, places, torch.ones_like(gap))
    means: Column = (sums[0] / sums[1]).numpy()
    return means


def _targets(batch: Batch) -> Tensor:
    target = batch.targets["target"]
    return target[target >= 0]


@torch.no_grad()
def write_texts(pipeline: Pipeline, run: compress.Run, seed: int) -> Written:
    """Write texts with the networks of a run and measure them.

    Args:
        pipeline: Of the run, for its data.
        run: With a teacher.
        seed: Of what is drawn.
    """
    writer = _Writer(pipeline.plan.load_data(), seed)
    teacher = compress.load(run.folder / "00-teacher")
    student = compress.load(max(run.folder.glob("[0-9][0-9]-*")))
    own, guided = writer.write(student, DRAWN), writer.write(teacher, DRAWN)
    return Written(
        writer.rouge(writer.write(student, LIKELIEST)),
        writer.rouge(own),
        writer.rouge(writer.write(teacher, LIKELIEST)),
        log_likelihoods(teacher, own),
        divergence_by_place(student, teacher, own),
        divergence_by_place(student, teacher, guided),
        run.record.stages[-1].after["perplexity"],
    )
