"""Requests: prompts of a split, and what a speculative decoder did with them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import numpy as np

from compress.backends.decoder.speculative import SpeculativeDecoder, SpeculativeRound
from compress.backends.runner_protocol import Array
from compress.core.entries import Row
from compress.data.batch import Split
from compress.data.text.origin import TextOrigin
from compress.data.text.split import IDS, MASK
from compress.distill.generation.written_batches import prompts_of

BATCH = 32


@dataclass
class ServedRequest:
    """One text.

    Attributes:
        prompt: Tokens before it.
        tokens: Its tokens.
        rejected: For each place of prompt and text whose next token was proposed and refused: the logits of the target, (V,).
        taken: The same for all other places of the text whose next token the target judged, where they are kept.
        seconds: Time of all rounds.
    """

    prompt: list[int]
    tokens: list[int] = field(default_factory=list)
    rejected: dict[int, Array] = field(default_factory=dict)
    taken: dict[int, Array] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass
class Acceptance:
    """Proposals by their position in a round.

    Attributes:
        reached: Rounds in which all proposals before the position were taken.
        accepted: Those of them in which that at the position was taken.
    """

    reached: list[int] = field(default_factory=list)
    accepted: list[int] = field(default_factory=list)

    def add(self, one: SpeculativeRound) -> None:
        """Count the proposals of a round. The last one counts as taken alone where a text ended with it."""
        taken = min(one.accepted, len(one.drafted))
        for position in range(min(taken + 1, len(one.drafted))):
            if position == len(self.reached):
                self.reached.append(0)
                self.accepted.append(0)
            self.reached[position] += 1
            self.accepted[position] += position < taken

    @property
    def rate(self) -> float:
        """Mean acceptance a of a proposal whose predecessors were taken; 0 without proposals."""
        return sum(self.accepted) / max(1, sum(self.reached))

    def rows(self) -> tuple[Row, ...]:
        """Position, proposals, accepted ones, rate."""
        return tuple(
            {"position": index + 1, "proposals": reached, "accepted": accepted, "rate": accepted / reached}
            for index, (reached, accepted) in enumerate(zip(self.reached, self.accepted, strict=True))
        )


def request_prompts(split: Split, count: int, most: int) -> list[list[int]]:
    """The first prompts of a split, each once; of texts without prompts the first half.

    Args:
        split: Texts.
        count: Number of prompts.
        most: Longest prompt in tokens; longer ones are cut.
    """
    prompts: dict[tuple[int, ...], None] = {}
    origin = getattr(split, "origin", None)
    has_prompts = isinstance(origin, TextOrigin) and origin.settings.columns.has_responses
    for batch in split.ordered(BATCH):
        if has_prompts:
            found = [prompt.tolist() for prompt in prompts_of(batch)]
        else:
            lengths = batch.inputs[MASK].sum(dim=1).tolist()
            found = [ids[: max(1, length // 2)].tolist() for ids, length in zip(batch.inputs[IDS], lengths, strict=True)]
        prompts |= dict.fromkeys(tuple(prompt[:most]) for prompt in found if prompt)
        if len(prompts) >= count:
            break
    return [list(prompt) for prompt in prompts][:count]


def serve(
    decoder: SpeculativeDecoder,
    prompt: Sequence[int],
    *,
    most: int,
    stops: Collection[int],
    acceptance: Acceptance,
    keep_taken: bool = False,
) -> ServedRequest:
    """Continue one prompt.

    Args:
        decoder: Target and draft.
        prompt: Its tokens.
        most: Most tokens.
        stops: Tokens that end a text.
        acceptance: Receives the counts.
        keep_taken: Keep the logits of the target at all places, not only at refused ones.
    """
    served = ServedRequest(list(prompt))
    for one in decoder.rounds(prompt, most=most, stops=stops):
        first = len(served.prompt) + len(served.tokens) - 1
        if one.accepted < len(one.drafted):
            served.rejected[first + one.accepted] = np.array(one.logits[one.accepted], np.float32)
        if keep_taken:
            judged = range(len(one.tokens) - (one.accepted < len(one.drafted)))
            served.taken |= {first + index: np.array(one.logits[index], np.float32) for index in judged}
        acceptance.add(one)
        served.tokens += one.tokens
        served.seconds += one.seconds
    return served
