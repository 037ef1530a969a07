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
from compress.train.features.discover_layers import LayerCatalog, LayerInfo, match_layers
from compress.train.features.hooks import Activations, HookSpec
from compress.train.loss_term import LayerMatch, LayerSelection, LossTerm, MatchedFeatures, MatchedLayers

NO_TEACHER = -1
"""In place of a teacher's number where there is none."""


@dataclass(frozen=True)
class HookPair:
    """A tap of the student and one of a teacher."""

    student: HookSpec
    teacher: HookSpec
    teacher_index: int


class FeatureMatcher:
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
        self.loss_modules = nn.ModuleDict()
        self.matched: dict[int, tuple[MatchedLayers, ...]] = {}
        self._places: dict[int, list[HookPair]] = {}
        if any(term.feature_kind for term in terms):
            own = LayerCatalog(student, inputs, "student")
            theirs = [LayerCatalog(teacher, inputs, "teacher") for teacher in teachers]
            for index, term in enumerate(terms):
                self._match(index, term, own, theirs)
        for index, term in enumerate(terms):
            made = self._prepare(term, self.matched.get(index, ()))
            if made is not None:
                self.loss_modules[str(index)] = made

    @property
    def student_hooks(self) -> list[HookSpec]:
        """Of the student."""
        return list(dict.fromkeys(place.student for places in self._places.values() for place in places))

    def teacher_hooks(self, number: int) -> list[HookSpec]:
        """Of one teacher."""
        found = (place.teacher for places in self._places.values() for place in places if place.teacher_index == number)
        return list(dict.fromkeys(found))

    def features(self, index: int, own: Activations, theirs: Sequence[Activations]) -> tuple[MatchedFeatures, ...]:
        """What a term's layers gave.

        Raises:
            ModelError: A layer did not run in this pass.
        """
        found = []
        for place in self._places.get(index, ()):
            if place.teacher_index == NO_TEACHER and place.student in own:
                found.append(MatchedFeatures(own[place.student].float(), own[place.student].detach().float(), NO_TEACHER))
                continue
            if (
                place.teacher_index == NO_TEACHER
                or place.student not in own
                or place.teacher not in theirs[place.teacher_index]
            ):
                msg = (
                    f"layer {place.student.name} of the student or {place.teacher.name} of the teacher did not run; name others"
                )
                raise ModelError(msg)
            found.append(
                MatchedFeatures(
                    own[place.student].float(), theirs[place.teacher_index][place.teacher].float(), place.teacher_index
                )
            )
        return tuple(found)

    def modules_of(self, index: int) -> nn.Module | None:
        """What a term learns; None for nothing."""
        return self.loss_modules[str(index)] if str(index) in self.loss_modules else None  # noqa: SIM401 - a ModuleDict has no get

    def rows(self) -> tuple[dict[str, Any], ...]:
        """The matches, for the record."""
        return tuple(
            {
                "loss": name_of("loss", self.terms[index]),
                "student_layer": joint.student,
                "student_shape": list(joint.student_shape),
                "teacher": joint.teacher_index,
                "teacher_layer": joint.teacher,
                "teacher_shape": list(joint.teacher_shape),
            }
            for index, joints in self.matched.items()
            for joint in joints
        )

    def notes(self) -> tuple[str, ...]:
        """The matches, in words."""
        return tuple(
            f"loss {name_of('loss', self.terms[index])!r} matched {'; '.join(map(str, joints))}"
            for index, joints in self.matched.items()
        )

    def _match(self, index: int, term: LossTerm, own: LayerCatalog, theirs: Sequence[LayerCatalog]) -> None:
        if term.feature_kind is None:
            return
        layers: LayerSelection = getattr(term, "layers", "auto")
        if term.student_only:
            chosen = (
                own.layers_of_kind(term.feature_kind)[:-1]
                if layers == "auto"
                else [own.find(_own(entry), term.feature_kind) for entry in layers]
            )
            self._places[index] = [HookPair(spot.hook, spot.hook, NO_TEACHER) for spot in chosen]
            self.matched[index] = tuple(
                MatchedLayers(s.hook.name, s.shape, "its own answer", own.output_shape, NO_TEACHER) for s in chosen
            )
            return
        found: list[tuple[LayerInfo, LayerInfo, int]] = []
        for number, survey in enumerate(theirs):
            if layers == "auto":
                found += [(a, b, number) for a, b in match_layers(own, survey, term.feature_kind)]
                continue
            for entry in layers:
                match = entry if isinstance(entry, LayerMatch) else LayerMatch(student=entry, teacher=entry)
                found.append(
                    (own.find(match.student, term.feature_kind), survey.find(match.teacher, term.feature_kind), number)
                )
        self._places[index] = [HookPair(a.hook, b.hook, number) for a, b, number in found]
        self.matched[index] = tuple(MatchedLayers(a.hook.name, a.shape, b.hook.name, b.shape, number) for a, b, number in found)

    def _prepare(self, term: LossTerm, joints: Sequence[MatchedLayers]) -> nn.Module | None:
        try:
            return term.prepare(joints, self.samples)
        except ModelError as error:
            msg = f"loss {name_of('loss', term)!r}: {error}"
            raise ModelError(msg) from error


def _own(entry: LayerMatch | str | int) -> str | int:
    return entry.student if isinstance(entry, LayerMatch) else entry


class TeacherTimer:
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
