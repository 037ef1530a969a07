"""Comparison of the tokenizers of pretrained networks with that of the data. Imports no torch."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from compress.config.cross_checks import PartialRecipe, StageEntry, teacher_terms
from compress.config.pydantic_messages import Finding
from compress.core.language import gettext
from compress.core.registry import entries
from compress.core.registry_field import name_of
from compress.core.user_path import user_path
from compress.data.settings import DataSettings
from compress.data.text.augmentation.base import TextAugmentation
from compress.data.text.augmentation.fitting import FAMILY
from compress.data.text.positions import positions_of, read_json
from compress.data.text.settings import FILE, WHOLE_TEXTS, TrainedTokenizer
from compress.models.settings import CONFIG, FRESH, ModelSettings, split_source
from compress.train.loss_term import LossTerm

VOCABULARY_FILE = "vocab.txt"
"""Tokens of BERT in their order, in a folder without `tokenizer.json`."""


def check_tokenizers(draft: PartialRecipe, data: DataSettings, base: Path) -> Iterator[Finding]:
    """Networks with weights for another tokenizer than that of the data: the same number is another token for them.

    A teacher with another tokenizer reads the texts in its own tokens. This fits losses on answers for whole texts alone. Only
    tokenizers in files are compared.

    Args:
        draft: The recipe, without faults so far.
        data: The `data:` block with its tokenizer and its targets.
        base: Folder for relative paths.
    """
    models = dict(draft.models)
    model = models[("model",)]
    if own_tokenizer(data, model, base) is not None:
        yield (
            ("model", "source"),
            gettext(
                "{source} has weights for another tokenizer than that of the data: the same number is another token; set "
                "data.tokenizer: {name}, or weights: fresh",
                source=model.source,
                name=split_source(model.source)[1],
            ),
        )
    teachers = {path: teacher for path, teacher in draft.models if path[0] == "teacher"}
    for path, teacher in teachers.items():
        if own_tokenizer(data, teacher, base) is None:
            continue
        if (reason := _why_no_own_tokens(data, model)) is not None:
            yield (*path, "source"), _refusal(teacher, reason)
            continue
        for entry in draft.chain:
            yield from _misfits(entry, teacher) if data.columns.prompt is None else _unmerged(entry, teacher)


def check_lengths(draft: PartialRecipe, data: DataSettings, base: Path) -> Iterator[Finding]:
    """A longest text that is longer than the positions of a network, whose configuration is in a folder.

    The tokenizer of a network cuts texts at the positions of that network, unless `lengths.most` is set.

    Args:
        draft: The recipe, without faults so far.
        data: The `data:` block with its tokenizer.
        base: Folder for relative paths.
    """
    if not data.is_text:
        return
    most, source = data.lengths.most, data.tokenizer_source
    if "most" not in data.lengths.model_fields_set and source is not None:
        most = min(most, _positions_in(source, base) or most)
    for path, settings in draft.models:
        kind, name = split_source(settings.source)
        positions = settings.args.get("max_position_embeddings") if kind == "hf" else None
        if kind == "hf" and positions is None:
            positions = _positions_in(name, base)
        has_own = path[0] == "teacher" and own_tokenizer(data, settings, base) is not None
        if isinstance(positions, int) and most > positions and not has_own:
            yield (
                ("data", "lengths", "most"),
                gettext(
                    "texts have up to {most} tokens, and {source} has positions for {positions}; set data.lengths.most: "
                    "{positions}, and longer texts are cut",
                    most=most,
                    source=settings.source,
                    positions=positions,
                ),
            )


def _positions_in(source: str, base: Path) -> int | None:
    path = user_path(source, base)
    return positions_of(read_json(path / "config.json")) if path.is_dir() else None


def own_tokenizer(data: DataSettings, settings: ModelSettings, base: Path) -> str | None:
    """Folder of a network that has weights for another tokenizer than that of the data; None for any other one.

    Args:
        data: The `data:` block with its tokenizer.
        settings: The network.
        base: Folder for relative paths.
    """
    kind, name = split_source(settings.source)
    if not data.is_text or kind != "hf" or settings.weights == FRESH or CONFIG in settings.args:
        return None
    theirs = vocabulary(user_path(name, base))
    return name if theirs is not None and _differs(data, theirs, base) else None


def vocabulary(path: Path) -> dict[str, int] | None:
    """Number of each token of a tokenizer in a file or folder; None if it cannot be read."""
    file = path / FILE if path.is_dir() else path
    try:
        if not file.is_file() and (path / VOCABULARY_FILE).is_file():
            lines = (path / VOCABULARY_FILE).read_text(encoding="utf-8").splitlines()
            return {token: number for number, token in enumerate(lines)}
        tokens = json.loads(file.read_text(encoding="utf-8"))["model"]["vocab"]
        if isinstance(tokens, list):  # Unigram: pairs of token and score
            return {str(token): number for number, (token, _) in enumerate(tokens)}
        return {str(token): int(number) for token, number in tokens.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _differs(data: DataSettings, theirs: dict[str, int], base: Path) -> bool:
    if isinstance(data.tokenizer, TrainedTokenizer):
        return True
    if data.tokenizer_source is None:
        return False
    own = vocabulary(user_path(data.tokenizer_source, base))
    return own is not None and own != theirs


def _why_no_own_tokens(data: DataSettings, model: ModelSettings) -> str | None:
    """Why a teacher cannot have tokens of its own in a recipe, whatever its losses are; None where it can."""
    if model.needs_teacher:
        return gettext("the student starts from its weights")
    if data.columns.targets not in WHOLE_TEXTS and data.columns.prompt is None:
        return gettext("the answers of this task are of tokens")
    return None


def _misfits(entry: StageEntry, teacher: ModelSettings) -> Iterator[Finding]:
    """Losses and methods of augmentation of a stage that need the tokens of the data for a teacher with its own."""
    for path, term in teacher_terms(entry):
        if term.aligns_tokens or tuple(term.needs) != ("teacher_logits",):
            reason = gettext("loss {name} compares the networks token by token", name=name_of("loss", term))
            losses = ", ".join(_losses_on_answers())
            advice = gettext("or use only losses on answers for whole texts: {losses}", losses=losses)
            yield path, f"{_refusal(teacher, reason)}, {advice}"
    methods: tuple[TextAugmentation, ...] = getattr(entry.stage, "augment", ())
    for index, method in enumerate(methods):
        if method.uses_teacher:
            name = name_of(FAMILY, method)
            reason = gettext("{name} takes the vectors of the data's tokens from it", name=name)
            advice = gettext("or set `source` of {name} to a file or folder of its own", name=name)
            yield (*entry.path, "augment", index), f"{_refusal(teacher, reason)}, {advice}"


def _unmerged(entry: StageEntry, teacher: ModelSettings) -> Iterator[Finding]:
    """Losses on responses that do not compare groups of tokens, and texts of the teacher in its own tokens."""
    for path, term in teacher_terms(entry):
        if not term.merges_tokens:
            reason = gettext("loss {name} compares the networks token by token", name=name_of("loss", term))
            yield (
                path,
                gettext("{refusal}, or use the losses uld and gold, which merge tokens", refusal=_refusal(teacher, reason)),
            )
    if getattr(getattr(entry.stage, "generation", None), "uses_teacher", False):
        reason = gettext("it would write texts for the student in its own tokens")
        yield (
            (*entry.path, "generation"),
            gettext("{refusal}, or let it write in a stage `generate`", refusal=_refusal(teacher, reason)),
        )


def _refusal(teacher: ModelSettings, reason: str) -> str:
    return gettext(
        "{source} has another tokenizer than the data, and {reason}: set data.tokenizer: {name}, which the student takes, too",
        source=teacher.source,
        reason=reason,
        name=split_source(teacher.source)[1],
    )


def _losses_on_answers() -> Sequence[str]:
    """Names of the losses that need only the teacher's answers for whole texts."""
    classes: dict[str, type[LossTerm]] = {row.name: row.load() for row in entries("loss")}
    answers = {name: term for name, term in classes.items() if not (term.aligns_tokens or term.merges_tokens)}
    return [name for name, term in answers.items() if tuple(term.needs) == ("teacher_logits",)]
