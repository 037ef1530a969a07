"""What the terms of one training see besides the answers: matched layers, and modules that are learned with the student."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from compress.core.errors import ModelError
from compress.core.registry_field import name_of
from compress.train.features.discover_layers import Spot, Survey, matched
from compress.train.features.hooks import Seen, Tap
from compress.train.loss_term import Joint, Layers, LossTerm, Match, Pair

ALONE = -1
"""In place of a teacher's number where there is none."""


@dataclass(frozen=True)
class Place:
    """A tap of the student and one of a teacher."""

    student: Tap
    teacher: Tap
    number: int


class Sight:
    """Resolves the layers that terms name, and makes what they learn.

    Attributes:
        learned: Modules that are trained with the student, by the term's place in the list.
        joints: What was matched, by the term's place.

    Args:
        terms: All terms with a weight.
        student: The network that is trained.
        teachers: Networks that feature terms look into; empty when no term does.
        inputs: A few samples, (N, C, H, W), where the networks are.
        samples: Of the training split.

    Raises:
        ModelError: A layer does not exist, or nothing joins two that were matched.
    """

    def __init__(
        self, terms: Sequence[LossTerm], student: nn.Module, teachers: Sequence[nn.Module], inputs: Tensor, samples: int = 0
    ) -> None:
        self.terms = terms
        self.samples = samples
        self.learned = nn.ModuleDict()
        self.joints: dict[int, tuple[Joint, ...]] = {}
        self._places: dict[int, list[Place]] = {}
        if any(term.sees for term in terms):
            own = Survey(student, inputs, "student")
            theirs = [Survey(teacher, inputs, "teacher") for teacher in teachers]
            for index, term in enumerate(terms):
                self._match(index, term, own, theirs)
        for index, term in enumerate(terms):
            made = self._prepare(term, self.joints.get(index, ()))
            if made is not None:
                self.learned[str(index)] = made

    @property
    def taps(self) -> list[Tap]:
        """Of the student."""
        return list(dict.fromkeys(place.student for places in self._places.values() for place in places))

    def teacher_taps(self, number: int) -> list[Tap]:
        """Of one teacher."""
        found = (place.teacher for places in self._places.values() for place in places if place.number == number)
        return list(dict.fromkeys(found))

    def pairs(self, index: int, own: Seen, theirs: Sequence[Seen]) -> tuple[Pair, ...]:
        """What a term's layers gave.

        Raises:
            ModelError: A layer did not run in this pass.
        """
        found = []
        for place in self._places.get(index, ()):
            if place.number == ALONE and place.student in own:
                found.append(Pair(own[place.student].float(), own[place.student].detach().float(), ALONE))
                continue
            if place.number == ALONE or place.student not in own or place.teacher not in theirs[place.number]:
                msg = (
                    f"layer {place.student.name} of the student or {place.teacher.name} of the teacher did not run; name others"
                )
                raise ModelError(msg)
            found.append(Pair(own[place.student].float(), theirs[place.number][place.teacher].float(), place.number))
        return tuple(found)

    def learned_by(self, index: int) -> nn.Module | None:
        """What a term learns; None for nothing."""
        return self.learned[str(index)] if str(index) in self.learned else None  # noqa: SIM401 - a ModuleDict has no get

    def rows(self) -> tuple[dict[str, Any], ...]:
        """The matches, for the record."""
        return tuple(
            {
                "loss": name_of("loss", self.terms[index]),
                "student_layer": joint.student,
                "student_shape": list(joint.student_shape),
                "teacher": joint.number,
                "teacher_layer": joint.teacher,
                "teacher_shape": list(joint.teacher_shape),
            }
            for index, joints in self.joints.items()
            for joint in joints
        )

    def notes(self) -> tuple[str, ...]:
        """The matches, in words."""
        return tuple(
            f"loss {name_of('loss', self.terms[index])!r} matched {'; '.join(map(str, joints))}"
            for index, joints in self.joints.items()
        )

    def _match(self, index: int, term: LossTerm, own: Survey, theirs: Sequence[Survey]) -> None:
        if term.sees is None:
            return
        layers: Layers = getattr(term, "layers", "auto")
        if term.alone:
            chosen = own.listed(term.sees)[:-1] if layers == "auto" else [own.find(_own(entry), term.sees) for entry in layers]
            self._places[index] = [Place(spot.tap, spot.tap, ALONE) for spot in chosen]
            self.joints[index] = tuple(Joint(s.tap.name, s.shape, "its own answer", own.answer, ALONE) for s in chosen)
            return
        found: list[tuple[Spot, Spot, int]] = []
        for number, survey in enumerate(theirs):
            if layers == "auto":
                found += [(a, b, number) for a, b in matched(own, survey, term.sees)]
                continue
            for entry in layers:
                match = entry if isinstance(entry, Match) else Match(student=entry, teacher=entry)
                found.append((own.find(match.student, term.sees), survey.find(match.teacher, term.sees), number))
        self._places[index] = [Place(a.tap, b.tap, number) for a, b, number in found]
        self.joints[index] = tuple(Joint(a.tap.name, a.shape, b.tap.name, b.shape, number) for a, b, number in found)

    def _prepare(self, term: LossTerm, joints: Sequence[Joint]) -> nn.Module | None:
        try:
            return term.prepare(joints, self.samples)
        except ModelError as error:
            msg = f"loss {name_of('loss', term)!r}: {error}"
            raise ModelError(msg) from error


def _own(entry: Match | str | int) -> str | int:
    return entry.student if isinstance(entry, Match) else entry


class Clock:
    """Adds up the seconds that teachers took.

    Attributes:
        seconds: So far.
    """

    def __init__(self, device: torch.device) -> None:
        self.device, self.seconds, self._began = device, 0.0, 0.0

    def __enter__(self) -> None:
        self._wait()
        self._began = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self._wait()
        self.seconds += time.perf_counter() - self._began

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
