"""How far a student is from its teacher on its own texts, which a student meets when it is used.

    D = Σ_texts Σ_t KL(p_s(· | s_t) ‖ p_t(· | s_t)) / Σ_texts T     nat per token,   texts drawn from p_s

A student that learned the texts of others alone is measured by its perplexity on texts of others; its own mistakes lead it to
states that those do not have (exposure bias, Bengio et al. 2015, arXiv:1506.03099).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from compress.backends.continue_prompts import Sampling, continue_prompts
from compress.backends.eval_mode import eval_mode, module_device
from compress.core.language import gettext
from compress.core.record import Metric, Quantity
from compress.core.seed_of import seed_of
from compress.data.batch import Split, Tensors
from compress.distill.generation.written_batches import prompts_of, written_batch
from compress.distill.losses.token_divergence import token_divergence
from compress.tasks.base import Task
from compress.tasks.metric import RatioOfSums, Scores
from compress.tasks.metric_quantity import estimate
from compress.train.teachers.rows import rows_of

if TYPE_CHECKING:
    from compress.distill.generation.on_policy_split import Writing

BATCH, TEXTS = 32, 192
"""Prompts that are answered together, and in all."""


class OwnTextDivergence(RatioOfSums):
    """D, from the scores of `own_text_scores`."""

    def scores(self, outputs: Tensors, targets: Tensors) -> Tensor:
        """They come from two networks, see `own_text_scores`."""
        raise NotImplementedError(own_text_scores.__name__)


METRIC = OwnTextDivergence(
    Metric(name="own_text_divergence", label="divergence on own texts", unit="nat", higher_is_better=False)
)


@torch.no_grad()
def own_text_scores(
    student: nn.Module, teacher: nn.Module, split: Split, task: Task, writing: Writing, max_new_tokens: int
) -> Scores:
    """Divergence, summed over the tokens, and number of tokens of each text, (N, 2).

    Args:
        student: Writes a text to each prompt, drawn at temperature 1.
        teacher: On the same device.
        split: Prompts; the first `TEXTS` are answered.
        task: Runs the networks.
        writing: Tokens, lengths and seed.
        max_new_tokens: Longest text.
    """
    device, sampling, parts, count = module_device(student), Sampling(1.0, max_new_tokens=max_new_tokens), [], 0
    with eval_mode(student), eval_mode(teacher):
        for place, batch in enumerate(split.ordered(BATCH)):
            if count >= TEXTS:
                break
            prompts = [prompt.to(device) for prompt in prompts_of(batch)]
            generator = torch.Generator(device).manual_seed(seed_of("own", writing.seed, place))
            found = continue_prompts(
                [(student, 1.0)], prompts, sampling, end=writing.end, most=writing.most, generator=generator
            )
            texts = [tokens[: int(length)] for tokens, length in zip(found.tokens, found.lengths, strict=True)]
            written = written_batch(batch, prompts, texts, {}, writing.pad_id)
            rows = rows_of(student, written, task)
            divergence = token_divergence(rows.logits, rows_of(teacher, written, task).logits, kind="reverse").double()
            sums = torch.zeros(batch.size, dtype=torch.float64, device=device).index_add_(0, rows.samples, divergence)  # type: ignore[arg-type]
            parts.append(torch.stack([sums, found.lengths.double()], dim=1).cpu().numpy())
            count += batch.size
    return np.concatenate(parts)[:TEXTS]


def own_text_divergence(scores: Scores, when: str) -> Quantity:
    """D with its interval.

    Args:
        scores: Of `own_text_scores`.
        when: `before` or `after` the training.
    """
    where = (
        gettext("on texts that the student writes to validation prompts, before the stage")
        if when == "before"
        else gettext("on texts that the student writes to validation prompts, after the stage")
    )
    return estimate(METRIC, scores, where)
