"""Training data whose responses are written while a student is distilled, and what the record says of them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import torch
from torch import nn

from compress.core.errors import DataError
from compress.core.language import gettext
from compress.core.record import Metrics, Quantity
from compress.core.stage import Context
from compress.data.text.context_tokens import text_origin
from compress.data.text.settings import FILE
from compress.distill.generation.on_policy_split import OnPolicySplit, Writing, only_network
from compress.distill.generation.own_texts import own_text_divergence, own_text_scores
from compress.distill.generation.settings import Generation
from compress.distill.generation.teacher_texts import write_teacher_texts
from compress.distill.rewards.reward_texts import TokenRewards
from compress.train.distributed import resolve_device
from compress.train.memory_format import to_cpu, to_device

if TYPE_CHECKING:
    from compress.train.teachers.base import Teacher


def with_written_texts(
    context: Context, student: nn.Module, settings: Generation, teacher: Teacher | None, *, window: int
) -> tuple[Context, OnPolicySplit]:
    """The context with training samples whose responses networks write, and their split; validation and test stay.

    Args:
        context: Of the stage, with prompts and responses.
        student: The network to train.
        settings: `generation:` of the stage.
        teacher: The teacher; None where it writes nothing.
        window: Batches whose texts are written together, unless the settings say.

    Raises:
        CompressError: The training samples are no prompts with responses, the tokenizer is not known, or the teacher is not one
            network.
    """
    split, text = context.data.train, context.data.spec.text
    text_origin(split, "generation")
    end = end_token(context)
    if text is None or end is None:
        msg = gettext("generation: the data have no tokenizer; use a source of texts, such as jsonl:PATH")
        raise DataError(msg)
    writing = Writing(end, text.pad_id, text.max_length, settings.window or window, context.seed)
    texts = None
    if settings.teacher > 0.0 and teacher is not None:
        network = only_network(teacher, torch.device(resolve_device(context.device)))
        texts = write_teacher_texts(
            split,
            network,
            settings,
            end=end,
            most=text.max_length,
            seed=context.seed,
            key=teacher.key,
            cache=context.cache,
            reporter=context.reporter,
        )
    rewards = None
    if settings.reward is not None:
        tokenizer = text_origin(split, "generation").tokenizer.tokenizer
        rewards = TokenRewards(settings.reward, tokenizer, context)
    written = OnPolicySplit(split, student, settings, writing, teacher if settings.teacher_share else None, texts, rewards)
    return replace(context, data=replace(context.data, train=written)), written


class OwnTexts:
    """Measures how far a student is from its teacher on its own texts, on the validation prompts.

    Args:
        context: With the data of the stage.
        written: Training data whose responses networks write.
        teacher: The teacher; without one, or with several networks, nothing is measured.
    """

    def __init__(self, context: Context, written: OnPolicySplit, teacher: Teacher | None) -> None:
        self.context, self.written, self.teacher = context, written, teacher
        self.device = torch.device(resolve_device(context.device))

    def measure(self, student: nn.Module, when: Literal["before", "after"]) -> Metrics:
        """The divergence by name; empty where none is measured.

        Args:
            student: The network, on the CPU.
            when: Relative to the training.
        """
        networks = [] if self.teacher is None else self.teacher.networks(self.device)
        if len(networks) != 1:
            return {}
        data, task = self.context.data, self.context.task
        most = self.written.settings.max_new_tokens
        try:
            to_device(student, self.device)
            scores = own_text_scores(student, networks[0], data.validation, task, self.written.writing, most)
        finally:
            to_cpu(student)
        return {f"own_text_divergence_{when}": own_text_divergence(scores, when)}


def end_token(context: Context) -> int | None:
    """Number of the token that ends a text; None where it is not known."""
    text, file = context.data.spec.written_text, context.data.files.get(FILE)
    if text is None or text.end_token is None or file is None:
        return None
    from tokenizers import Tokenizer

    number: int | None = Tokenizer.from_str(file.decode()).token_to_id(text.end_token)
    return number


def writing_results(split: OnPolicySplit, epochs: int) -> Metrics:
    """Number, mean length and time of the texts that a student wrote.

    Args:
        split: After the training.
        epochs: Epochs of the training; more than those of this process where it was continued.
    """
    if "student" not in split.settings.kinds:
        return {}
    written = split.written
    if written.epochs < epochs or not written.texts:
        reason = gettext("the training was continued, and texts of earlier processes are not counted")
        names = {"texts_written": "1", "tokens_per_text": "1", "texts_ended": "fraction", "writing_s": "s"}
        return {name: Quantity.missing(unit, reason) for name, unit in names.items()}
    detail = gettext(
        "texts that the student wrote in training, with {tokens} tokens at most", tokens=split.settings.max_new_tokens
    )
    rewards = {}
    if split.settings.reward is not None:
        rewards["reward"] = Quantity.measured(
            written.rewards / written.texts, "1", gettext("mean of {detail}", detail=detail), runs=written.texts
        )
    return {
        **rewards,
        "texts_written": Quantity.measured(written.texts, "1", detail),
        "tokens_per_text": Quantity.measured(written.tokens / written.texts, "1", gettext("mean of {detail}", detail=detail)),
        "texts_ended": Quantity.measured(
            written.ended / written.texts, "fraction", gettext("{detail}, that ended by themselves", detail=detail)
        ),
        "writing_s": Quantity.measured(written.seconds, "s", gettext("time of the {detail}", detail=detail)),
    }
