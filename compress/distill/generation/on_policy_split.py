"""`OnPolicySplit`: training samples with responses of the student as it is, of the teacher, or of the data.

    window of batches ──► prompts of the student's batches ──► one generation ──► batches with new responses, `passes` times

Random numbers depend on the seed, the epoch and the number of the window, so that a training that is continued after an
interruption draws the same texts.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from compress.backends.continue_prompts import Sampling, continue_prompts
from compress.backends.eval_mode import eval_mode, module_device
from compress.core.errors import TrainingError
from compress.core.language import gettext
from compress.core.seed_of import seed_of
from compress.data.batch import Batch, Split
from compress.distill.generation.settings import Generation
from compress.distill.generation.written_batches import prompts_of, responses_of, written_batch
from compress.train.loss_term import POLICY, REWARD, SAMPLED
from compress.train.optimizer_step import group_batches

if TYPE_CHECKING:
    from compress.distill.generation.teacher_texts import TeacherTexts
    from compress.distill.rewards.reward_texts import TokenRewards
    from compress.train.teachers.base import Teacher


@dataclass(frozen=True)
class Writing:
    """What texts are written with.

    Attributes:
        end: Token that ends a text.
        pad_id: Token that fills shorter sequences.
        most: Longest sequence in tokens.
        window: Batches whose texts are written together.
        seed: Of the random numbers.
    """

    end: int
    pad_id: int
    most: int
    window: int
    seed: int


@dataclass
class WrittenTexts:
    """Texts of the student so far.

    Attributes:
        texts: Their number.
        tokens: Their tokens.
        ended: Texts that ended by themselves.
        seconds: Time that they took.
        epochs: Epochs that were begun.
        rewards: Sum of their rewards.
    """

    texts: int = 0
    tokens: int = 0
    ended: int = 0
    seconds: float = 0.0
    epochs: int = 0
    rewards: float = 0.0


class OnPolicySplit:
    """Prompts with responses that networks write. See `compress.data.batch.Split` for the interface.

    Args:
        split: Prompts and responses.
        student: The network in training, which writes texts.
        settings: Proportions and sampling.
        writing: Tokens, lengths, window and seed.
        teacher: The teacher; None where it writes nothing.
        teacher_texts: Responses of the teacher; None where it writes none.
        rewards: Rewards of texts; None for none.

    Attributes:
        written: Counts of the texts so far.
    """

    views: int | None = None

    def __init__(
        self,
        split: Split,
        student: nn.Module,
        settings: Generation,
        writing: Writing,
        teacher: Teacher | None = None,
        teacher_texts: TeacherTexts | None = None,
        rewards: TokenRewards | None = None,
    ) -> None:
        self.split, self.student, self.settings, self.writing = split, student, settings, writing
        self.teacher, self.teacher_texts, self.rewards = teacher, teacher_texts, rewards
        own = f"{split.fingerprint} {settings.model_dump_json()} {writing}"
        self.fingerprint = hashlib.sha256(own.encode()).hexdigest()
        self.written = WrittenTexts()

    def __len__(self) -> int:
        return len(self.split)

    def batches(self, batch_size: int) -> int:
        """Batches of an epoch: those of the data, `passes` times."""
        return self.settings.passes * self.split.batches(batch_size)

    def ordered(self, batch_size: int) -> Iterable[Batch]:
        """The samples of the data."""
        return self.split.ordered(batch_size)

    def view(self, number: int, batch_size: int) -> Iterable[Batch]:
        """The samples of the data."""
        return self.split.view(number, batch_size)

    def epoch(self, number: int, batch_size: int, seed: int) -> Iterator[Batch]:
        """Batches of an epoch, each written when it is reached."""
        self.written.epochs += 1
        first = number * self.split.batches(batch_size)
        for place, window in enumerate(group_batches(self.split.epoch(number, batch_size, seed), self.writing.window)):
            kinds = [self.settings.kind_of(first + index) for index in range(len(window))]
            first += len(window)
            ready = list(window)
            for index, kind in enumerate(kinds):
                if kind == "teacher" and self.teacher_texts is not None:
                    ready[index] = self.teacher_texts.batch(window[index], self.writing.pad_id)
            chosen = [index for index, kind in enumerate(kinds) if kind == "student"]
            texts = self._write([window[index] for index in chosen], seed_of("texts", self.writing.seed, number, place))
            for index, batch in zip(chosen, texts, strict=True):
                ready[index] = batch
            for _ in range(self.settings.passes):
                yield from ready

    def _write(self, batches: Sequence[Batch], seed: int) -> list[Batch]:
        """The batches with responses of the student, on the device of the network."""
        if not batches:
            return []
        start = time.perf_counter()
        device = module_device(self.student)
        prompts = [[prompt.to(device) for prompt in prompts_of(batch)] for batch in batches]
        settings = self.settings
        sampling = Sampling(settings.temperature, settings.top_p, settings.top_k, settings.max_new_tokens)
        networks = self._networks(device)
        generator = torch.Generator(device).manual_seed(seed)
        with ExitStack() as modes:
            for network, _ in networks:
                modes.enter_context(eval_mode(network))
            every = [prompt for each in prompts for prompt in each]
            found = continue_prompts(
                networks, every, sampling, end=self.writing.end, most=self.writing.most, generator=generator
            )
        lengths: list[int] = found.lengths.tolist()
        responses = [tokens[:length] for tokens, length in zip(found.tokens, lengths, strict=True)]
        values = {
            name: [row[:length] for row, length in zip(rows, lengths, strict=True)]
            for name, rows in ((POLICY, found.policy_log_probs), (SAMPLED, found.sampling_log_probs))
        }
        if self.rewards is not None:
            references = [reference for batch in batches for reference in responses_of(batch)]
            values[REWARD] = self.rewards.of(every, responses, references)
            self.written.rewards += sum(float(row.sum()) for row in values[REWARD])
        self._count(responses, time.perf_counter() - start)
        made, place = [], 0
        for batch, own in zip(batches, prompts, strict=True):
            part = slice(place, place + len(own))
            own_values = {name: rows[part] for name, rows in values.items()}
            made.append(written_batch(batch, own, responses[part], own_values, self.writing.pad_id))
            place += len(own)
        return made

    def _networks(self, device: torch.device) -> list[tuple[nn.Module, float]]:
        """The student, and the teacher where it has a part in the texts, with their shares."""
        share = self.settings.teacher_share
        if not share or self.teacher is None:
            return [(self.student, 1.0)]
        return [(self.student, 1.0 - share), (only_network(self.teacher, device), share)]

    def _count(self, responses: Sequence[Tensor], seconds: float) -> None:
        written = self.written
        written.texts += len(responses)
        written.tokens += sum(map(len, responses))
        written.ended += sum(int(response[-1]) == self.writing.end for response in responses)
        written.seconds += seconds


def only_network(teacher: Teacher, device: torch.device) -> nn.Module:
    """The network of a teacher that writes texts.

    Args:
        teacher: The teacher.
        device: Device of the network.

    Raises:
        TrainingError: It has none, or several.
    """
    networks = teacher.networks(device)
    if len(networks) != 1:
        msg = gettext(
            "generation: the teacher has {count} networks, and one network writes a text; use one teacher, or the student's "
            "texts alone",
            count=len(networks),
        )
        raise TrainingError(msg)
    return networks[0]
