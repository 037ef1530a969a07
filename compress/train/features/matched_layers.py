"""Matched layers of student and teacher for feature losses, and the modules that losses train with the student."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from compress.core.entries import Row
from compress.core.errors import ModelError
from compress.core.fact import Fact
from compress.core.language import gettext
from compress.core.registry_field import name_of
from compress.train.features.discover_layers import LayerCatalog, LayerInfo, match_layers
from compress.train.features.hooks import Activations, HookSpec
from compress.train.loss_term import NETWORK_OUTPUT, LayerMatch, LayerSelection, LossTerm, MatchedFeatures, MatchedLayers

NO_TEACHER = -1
"""Teacher index of a student's layer that is compared with the output of the student."""


@dataclass(frozen=True)
class HookPair:
    """A hook of the student and a hook of a teacher."""

    student: HookSpec
    teacher: HookSpec
    teacher_index: int


class FeatureMatcher:
    """Resolves the layers that terms name, and builds the modules that terms train.

    Attributes:
        loss_modules: Modules that are trained with the student, by the index of the term.
        matched: The matched layers, by the index of the term.

    Args:
        terms: All terms with a weight above 0.
        student: The network in training.
        teachers: Networks whose features are compared; empty if no term needs them.
        inputs: A few samples, (N, …), on the device of the networks; one tensor, or several in the order of the signature.
        samples: Size of the training split.

    Raises:
        ModelError: A layer does not exist, or two matched layers cannot be compared.
    """

    def __init__(
        self,
        terms: Sequence[LossTerm],
        student: nn.Module,
        teachers: Sequence[nn.Module],
        inputs: Tensor | Sequence[Tensor],
        samples: int = 0,
    ) -> None:
        self.terms = terms
        self.loss_modules = nn.ModuleDict()
        self.matched: dict[int, tuple[MatchedLayers, ...]] = {}
        self._hooks: dict[int, list[HookPair]] = {}
        if any(term.feature_kind for term in terms):
            student_layers = LayerCatalog(student, inputs, "student")
            teacher_layers = [LayerCatalog(teacher, inputs, "teacher") for teacher in teachers]
            for index, term in enumerate(terms):
                self._match(index, term, student_layers, teacher_layers)
        for index, term in enumerate(terms):
            modules = _prepare(term, self.matched.get(index, ()), samples)
            if modules is not None:
                self.loss_modules[str(index)] = modules

    @property
    def student_hooks(self) -> list[HookSpec]:
        """All hooks of the student."""
        return list(dict.fromkeys(pair.student for pairs in self._hooks.values() for pair in pairs))

    def teacher_hooks(self, index: int) -> list[HookSpec]:
        """All hooks of one teacher."""
        hooks = (pair.teacher for pairs in self._hooks.values() for pair in pairs if pair.teacher_index == index)
        return list(dict.fromkeys(hooks))

    def features(self, index: int, student: Activations, teachers: Sequence[Activations]) -> tuple[MatchedFeatures, ...]:
        """The matched features of a term.

        Args:
            index: Index of the term.
            student: Activations of the student on one batch.
            teachers: Activations of each teacher on the same batch.

        Raises:
            ModelError: A layer did not run in this pass.
        """
        features = []
        for pair in self._hooks.get(index, ()):
            no_teacher = pair.teacher_index == NO_TEACHER
            target = student.get(pair.student) if no_teacher else teachers[pair.teacher_index].get(pair.teacher)
            if pair.student not in student or target is None:
                names = gettext(
                    "layer {name!r} of the student or {teacher_name!r} of the teacher",
                    name=pair.student.name,
                    teacher_name=pair.teacher.name,
                )
                raise ModelError(gettext("{names} did not run in this step; name other layers", names=names))
            target = target.detach() if no_teacher else target
            features.append(MatchedFeatures(student[pair.student].float(), target.float(), pair.teacher_index))
        return tuple(features)

    def modules_of(self, index: int) -> nn.Module | None:
        """The modules that a term trains, or None."""
        return self.loss_modules[str(index)] if str(index) in self.loss_modules else None  # noqa: SIM401 - a ModuleDict has no get

    def rows(self) -> tuple[Row, ...]:
        """Table of the matched layers, for the record."""
        return tuple(
            {
                "loss": name_of("loss", self.terms[index]),
                "student_layer": layers.student,
                "student_shape": list(layers.student_shape),
                "teacher": layers.teacher_index,
                "teacher_layer": layers.teacher,
                "teacher_shape": list(layers.teacher_shape),
            }
            for index, matched in self.matched.items()
            for layers in matched
        )

    def facts(self) -> tuple[Fact, ...]:
        """Facts: the matched layers of each loss."""
        return tuple(
            Fact.of("train.layers_matched", name_of("loss", self.terms[index]), layers=tuple(map(str, matched)))
            for index, matched in self.matched.items()
        )

    def _match(self, index: int, term: LossTerm, student: LayerCatalog, teachers: Sequence[LayerCatalog]) -> None:
        if term.feature_kind is None:
            return
        layers: LayerSelection = getattr(term, "layers", "auto")
        kind = term.feature_kind
        if term.student_only:
            candidates = student.layers_of_kind(kind)[:-1]
            selected = candidates if layers == "auto" else [student.find(_as_match(entry).student, kind) for entry in layers]
            self._hooks[index] = [HookPair(layer.hook, layer.hook, NO_TEACHER) for layer in selected]
            self.matched[index] = tuple(
                MatchedLayers(layer.hook.name, layer.shape, gettext("its own output"), student.output_shape, NO_TEACHER)
                for layer in selected
            )
            return
        pairs: list[tuple[LayerInfo, LayerInfo, int]] = []
        for teacher_index, teacher in enumerate(teachers):
            if layers == "auto":
                pairs += [(a, b, teacher_index) for a, b in match_layers(student, teacher, kind)]
                continue
            for match in map(_as_match, layers):
                pairs.append((student.find(match.student, kind), teacher.find(match.teacher, kind), teacher_index))
        self._hooks[index] = [HookPair(a.hook, b.hook, teacher_index) for a, b, teacher_index in pairs]
        self.matched[index] = tuple(
            MatchedLayers(_label(a), a.shape, _label(b), b.shape, teacher_index) for a, b, teacher_index in pairs
        )


def _prepare(term: LossTerm, matched: Sequence[MatchedLayers], samples: int) -> nn.Module | None:
    try:
        return term.prepare(matched, samples)
    except ModelError as error:
        msg = gettext("loss {name_of!r}: {error}", name_of=name_of("loss", term), error=error)
        raise ModelError(msg) from error


def _label(layer: LayerInfo) -> str:
    return layer.hook.name or NETWORK_OUTPUT


def _as_match(entry: LayerMatch | str | int) -> LayerMatch:
    return entry if isinstance(entry, LayerMatch) else LayerMatch(student=entry, teacher=entry)
