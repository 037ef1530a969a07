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
from compress.data.batch import Tensors
from compress.train.features.discover_layers import LayerCatalog
from compress.train.features.hooks import Activations, HookSpec
from compress.train.features.layer_maps import LayerPairs, LearnedLayers, map_layers, match_layers, split_embedding
from compress.train.features.layer_search import search
from compress.train.loss_term import NETWORK_OUTPUT, LayerMatch, LayerSelection, LossTerm, MatchedFeatures, MatchedLayers

NO_TEACHER = -1
"""Teacher index of a student's layer that is compared with the output of the student."""


@dataclass(frozen=True)
class HookPair:
    """A hook of the student, and the hook of a teacher or the hooks that a learned mean is taken of.

    Attributes:
        student: Of the student.
        teacher: Of the teacher.
        teacher_index: Index of the teacher, from 0.
        learned: Name of the module that computes the mean, in `loss_modules`; None for one hook.
        row: Which of its means.
    """

    student: HookSpec
    teacher: tuple[HookSpec, ...]
    teacher_index: int
    learned: str | None = None
    row: int = 0


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
        search: Named inputs of validation samples, for `layers: searched`.

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
        search: Tensors | None = None,
    ) -> None:
        self.terms = terms
        self.loss_modules = nn.ModuleDict()
        self.matched: dict[int, tuple[MatchedLayers, ...]] = {}
        self._hooks: dict[int, list[HookPair]] = {}
        self._search = search
        self._similarity: dict[int, tuple[float, ...]] = {}
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
        pairs = (pair for pairs in self._hooks.values() for pair in pairs if pair.teacher_index == index)
        return list(dict.fromkeys(hook for pair in pairs for hook in pair.teacher))

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
            source = student if no_teacher else teachers[pair.teacher_index]
            targets = [source[hook].detach().float() for hook in pair.teacher if hook in source]
            if pair.student not in student or len(targets) != len(pair.teacher):
                names = gettext(
                    "layer {name!r} of the student or {teacher_name!r} of the teacher",
                    name=pair.student.label,
                    teacher_name=", ".join(hook.label for hook in pair.teacher),
                )
                raise ModelError(gettext("{names} did not run in this step; name other layers", names=names))
            target = targets[0] if pair.learned is None else self.loss_modules[pair.learned](targets)[pair.row]
            states = student[pair.student]
            features.append(MatchedFeatures(states.float(), target, pair.teacher_index, states))
        return tuple(features)

    def modules_of(self, index: int) -> nn.Module | None:
        """The modules that a term trains, or None."""
        return self.loss_modules[str(index)] if str(index) in self.loss_modules else None  # noqa: SIM401 - a ModuleDict has no get

    def rows(self) -> tuple[Row, ...]:
        """Table of the matched layers, for the record; with the similarity of searched and the weights of learned pairs."""
        rows: list[Row] = []
        for index, matched in self.matched.items():
            similarity = self._similarity.get(index, ())
            for number, (layers, pair) in enumerate(zip(matched, self._hooks[index], strict=True)):
                row: dict[str, object] = {
                    "loss": name_of("loss", self.terms[index]),
                    "student_layer": layers.student,
                    "student_shape": list(layers.student_shape),
                    "teacher": layers.teacher_index,
                    "teacher_layer": layers.teacher,
                    "teacher_shape": list(layers.teacher_shape),
                }
                if similarity:
                    row["similarity"] = similarity[number]
                if pair.learned is not None:
                    row["weights"] = self._weights(pair)
                rows.append(row)
        return tuple(rows)

    def facts(self) -> tuple[Fact, ...]:
        """Facts: the matched layers of each loss, and how far searched layers agree."""
        matched = tuple(
            Fact.of("train.layers_matched", name_of("loss", self.terms[index]), layers=tuple(map(str, matched)))
            for index, matched in self.matched.items()
        )
        return matched + tuple(
            Fact.of(
                "train.layers_searched",
                name_of("loss", self.terms[index]),
                similarity=similarity,
                samples=len(next(iter((self._search or {}).values()))),
            )
            for index, similarity in self._similarity.items()
        )

    def facts_after_training(self) -> tuple[Fact, ...]:
        """Facts: the weights of the teacher's layers that were learned, for each layer of the student."""
        return tuple(
            Fact.of(
                "train.layers_learned",
                name_of("loss", self.terms[index]),
                layer=pair.student.label,
                layers=tuple(hook.label for hook in pair.teacher),
                weights=tuple(self._weights(pair)),
            )
            for index, pairs in self._hooks.items()
            for pair in pairs
            if pair.learned is not None
        )

    def _weights(self, pair: HookPair) -> list[float]:
        learned: LearnedLayers = self.loss_modules[str(pair.learned)]  # type: ignore[assignment]
        return learned.weights()[pair.row].detach().tolist()

    def _match(self, index: int, term: LossTerm, student: LayerCatalog, teachers: Sequence[LayerCatalog]) -> None:
        if term.feature_kind is None:
            return
        if term.student_only:
            self._match_with_output(index, term, student)
            return
        hooks: list[HookPair] = []
        matched: list[MatchedLayers] = []
        for teacher_index, teacher in enumerate(teachers):
            if getattr(term, "layers", "auto") == "learned":
                pairs, learned = self._learn(index, term, student, teacher, teacher_index)
                hooks += learned
            else:
                pairs = self._pairs(index, term, student, teacher)
                hooks += [HookPair(a.hook, (b.hook,), teacher_index) for a, b in pairs]
            of_teacher = hooks[len(matched) :]
            matched += [
                MatchedLayers(_label((pair.student,)), a.shape, _label(pair.teacher), b.shape, teacher_index)
                for (a, b), pair in zip(pairs, of_teacher, strict=True)
            ]
        self._hooks[index], self.matched[index] = hooks, tuple(matched)

    def _match_with_output(self, index: int, term: LossTerm, student: LayerCatalog) -> None:
        """Layers of the student and its own output."""
        layers, kind = getattr(term, "layers", "auto"), term.feature_kind or "maps"
        candidates = student.layers_of_kind(kind)[:-1]
        selected = candidates if layers == "auto" else [student.find(_as_match(entry).student, kind) for entry in layers]
        self._hooks[index] = [HookPair(layer.hook, (layer.hook,), NO_TEACHER) for layer in selected]
        self.matched[index] = tuple(
            MatchedLayers(layer.hook.label, layer.shape, gettext("its own output"), student.output_shape, NO_TEACHER)
            for layer in selected
        )

    def _pairs(self, index: int, term: LossTerm, student: LayerCatalog, teacher: LayerCatalog) -> LayerPairs:
        layers: LayerSelection = getattr(term, "layers", "auto")
        kind = term.feature_kind or "maps"
        if layers == "auto":
            pairs = match_layers(student, teacher, kind)
        elif layers == "searched":
            pairs, similarity = search(student, teacher, kind, self._search or {})
            self._similarity[index] = (*self._similarity.get(index, ()), *similarity)
        elif isinstance(layers, str):
            pairs = map_layers(layers, student, teacher, kind)
        else:
            matches = map(_as_match, layers)
            return [(student.find(match.student, kind), teacher.find(match.teacher, kind)) for match in matches]
        return [pair for pair in pairs if term.takes_embedding or pair[0] not in student.layers_of_kind("embedding")]

    def _learn(
        self, index: int, term: LossTerm, student: LayerCatalog, teacher: LayerCatalog, teacher_index: int
    ) -> tuple[LayerPairs, list[HookPair]]:
        """Each layer of the student with a learned mean of the teacher's layers; embedding layers with each other.

        Raises:
            ModelError: The teacher's layers have different shapes.
        """
        embedding, product = split_embedding(student, teacher, term.feature_kind or "maps")
        students, layers = list(dict.fromkeys(a for a, _ in product)), list(dict.fromkeys(b for _, b in product))
        if other := next((layer for layer in layers if layer.shape != layers[0].shape), None):
            msg = gettext(
                "layers: learned takes means of the teacher's layers, and {first} and {other} have different shapes; "
                "use uniform, or name layers",
                first=layers[0].hook.label,
                other=other.hook.label,
            )
            raise ModelError(msg)
        embedding = embedding if term.takes_embedding else []
        name = f"layers {index} {teacher_index}"
        self.loss_modules[name] = LearnedLayers(len(students), len(layers))
        sources = tuple(layer.hook for layer in layers)
        hooks = [HookPair(a.hook, (b.hook,), teacher_index) for a, b in embedding]
        hooks += [HookPair(layer.hook, sources, teacher_index, name, row) for row, layer in enumerate(students)]
        return embedding + [(layer, layers[-1]) for layer in students], hooks


def _prepare(term: LossTerm, matched: Sequence[MatchedLayers], samples: int) -> nn.Module | None:
    try:
        return term.prepare(matched, samples)
    except ModelError as error:
        msg = gettext("loss {name_of!r}: {error}", name_of=name_of("loss", term), error=error)
        raise ModelError(msg) from error


def _label(hooks: Sequence[HookSpec]) -> str:
    return " + ".join(hook.label or NETWORK_OUTPUT for hook in hooks)


def _as_match(entry: LayerMatch | str | int) -> LayerMatch:
    return entry if isinstance(entry, LayerMatch) else LayerMatch(student=entry, teacher=entry)
