"""Tables of clips → `Data`: division into splits, decoding, targets, and the specification of a network.

train, validation, test ──► clips that can be used ──► characters or classes ──► `AudioSplit`
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from torch import Tensor

from compress.core.errors import DataError
from compress.core.fact import Fact
from compress.core.language import gettext
from compress.core.network_spec import AudioPreprocessing, NetworkSpec
from compress.core.preprocessing import WrittenTokens
from compress.core.signature import BATCH, RESPONSE, AxisSizes, Signature, TensorSpec
from compress.data.audio.clips import Clips
from compress.data.audio.read_clips import ClipIssues, ReadClip, Wave, find_issues, read_all
from compress.data.audio.settings import AUDIO, MASK, SAMPLES, AudioSettings
from compress.data.audio.speech_times import SPEECH_CLASSES, read_times, speech_targets
from compress.data.audio.split import AudioSplit, ClipChanges
from compress.data.audio.token_targets import token_targets
from compress.data.batch import SPLITS
from compress.data.characters import character_names, character_targets, plain_transcript, unwritable
from compress.data.interface import Data
from compress.data.settings import DataSettings
from compress.data.split_checks import find_copies, find_missing_classes
from compress.data.text.ragged import Ragged
from compress.data.text.settings import DECODER_IDS
from compress.data.text.table import TextTable, divide, limited, withhold
from compress.data.text.targets import encode_targets

TRANSCRIBED = ("transcripts", "tokens")
"""Kinds of targets that are what is said."""
TYPICAL_TOKENS = 16
"""Tokens of a text that is served most."""
LEAST_SECONDS = 0.05
"""Shortest clip that a network takes."""


@dataclass(frozen=True)
class _Usable:
    """The clips of a split that can be used, and the rows of their table."""

    table: TextTable
    waves: Sequence[Wave]


class _Targets(NamedTuple):
    """Targets of each split, tokens that a decoder reads, names of the classes, facts, and the tokens around each text."""

    targets: Sequence[Ragged | Tensor]
    read: Sequence[Ragged | None]
    classes: tuple[str, ...]
    facts: tuple[Fact, ...]
    written: WrittenTokens | None = None


def transcript_cell(text: str) -> list[str]:
    """A transcript as the target of a row of a table, so that it is no class by which rows are divided."""
    return [text]


def build_audio_data(splits: Mapping[str, TextTable], read: ReadClip, settings: DataSettings, base: Path = Path()) -> Data:
    """Read clips and split them.

    Args:
        splits: Tables of `train`, `val` and `test`, or of `all`, whose texts are names of clips.
        read: Reads a clip by its name.
        settings: The `data:` block.
        base: Folder for the relative path of a tokenizer.

    Raises:
        DataError: Too few clips, or targets that do not fit.
    """
    audio = settings.audio
    _check_speed(audio)
    if audio.kind in TRANSCRIBED:
        splits = {name: _with_transcripts(table, audio) for name, table in splits.items()}
    if audio.kind == "speech":
        splits = {name: read_times(table) for name, table in splits.items()}
    train, validation, test = divide(splits, validation=settings.validation, test=settings.test, seed=settings.seed)
    seed, most = settings.seed, settings.evaluation_limit
    train = withhold(limited(train, settings.limit, seed), settings.labelled, seed)
    tables = (train, limited(validation, most, seed), limited(test, most, seed))
    issues, reasons = ClipIssues(), dict[str, str]()
    parts = [_usable_clips(table, read, audio, issues, reasons) for table in tables]
    _check_counts(parts, settings.source, reasons)
    made_of = _made_targets(parts, settings, base)
    augmentation = None if audio.augment is None else ClipChanges(audio.augment, audio.rate, seed)
    made = [
        AudioSplit(Clips.of(part.waves), target, part.table.texts, augmentation if index == 0 else None, read=tokens)
        for index, (part, target, tokens) in enumerate(zip(parts, made_of.targets, made_of.read, strict=True))
    ]
    train_split, validation_split, test_split = made
    labels = {name: split.labels for name, split in zip(SPLITS[1:], made[1:], strict=True) if split.labels is not None}
    left_out = tuple(Fact.of("data.clip_unreadable", name, reason=reason) for name, reason in reasons.items())
    return Data(
        audio_spec(audio, made_of.classes, made_of.written),
        train_split,
        validation_split,
        test_split,
        source=settings.source,
        skipped=left_out,
        warnings=(
            *made_of.facts,
            *issues.facts(most=audio.most),
            *find_copies(*made),
            *find_missing_classes(labels, made_of.classes),
        ),
        groups=parts[2].table.members,
    )


def audio_spec(audio: AudioSettings, classes: Sequence[str], written: WrittenTokens | None = None) -> NetworkSpec:
    """Specification of a network for clips: `audio` float32 and `attention_mask` int64, each (batch, samples).

    Args:
        audio: Rate and lengths.
        classes: Names of the classes.
        written: Tokens around the texts of networks that write them; these also read the tokens so far.
    """
    shape = (BATCH, SAMPLES)
    inputs: tuple[TensorSpec, ...] = (
        TensorSpec(name=AUDIO, shape=shape),
        TensorSpec(name=MASK, dtype="int64", shape=shape, values=(1, 1)),  # examples hold no padding
    )
    least, typical = (max(1, round(seconds * audio.rate)) for seconds in (LEAST_SECONDS, audio.typical))
    sizes = {SAMPLES: AxisSizes(min(least, typical), typical, max(typical, audio.most_samples))}
    if written is not None:
        inputs += (TensorSpec(name=DECODER_IDS, dtype="int64", shape=(BATCH, RESPONSE), values=(0, len(classes) - 1)),)
        sizes[RESPONSE] = AxisSizes(1, min(TYPICAL_TOKENS, written.most), written.most)
    return NetworkSpec(
        signature=Signature(inputs=inputs, sizes=sizes),
        classes=tuple(classes),
        preprocessing=AudioPreprocessing(
            rate=audio.rate,
            most_samples=audio.most_samples,
            frame_samples=audio.frame_samples if audio.kind == "speech" else None,
            written=written,
        ),
    )


def _check_speed(audio: AudioSettings) -> None:
    """Refuse a change of speed where the targets are times.

    Raises:
        DataError: The speed is changed.
    """
    if audio.kind == "speech" and audio.augment is not None and audio.augment.speed != (1.0, 1.0):
        msg = gettext("a change of speed moves the times of speech; write audio.augment: {speed: [1, 1]}")
        raise DataError(msg)


def _with_transcripts(table: TextTable, audio: AudioSettings) -> TextTable:
    """The table whose targets are transcripts; one without targets has none."""
    if table.targets is None:
        return TextTable(table.texts, None, [None] * len(table), table.origin, table.members)
    cells = [
        transcript_cell(plain_transcript(str(each[0] if isinstance(each, list) else each), lowercase=audio.lowercase))
        if each is not None
        else None
        for each in table.targets
    ]
    return TextTable(table.texts, None, cells, table.origin, table.members)


def _transcripts(table: TextTable) -> list[str | None]:
    return [str(each[0]) if isinstance(each, list) else None for each in table.targets or ()]


def _usable_clips(
    table: TextTable, read: ReadClip, audio: AudioSettings, issues: ClipIssues, reasons: dict[str, str]
) -> _Usable:
    """The clips of a table that a network takes; those that are too long or cannot be read are left out and noted."""
    texts = _transcripts(table) if audio.kind in TRANSCRIBED else [None] * len(table)
    rows, waves = [], []
    for row, wave in enumerate(read_all(table.texts, read, issues, reasons)):
        name = table.texts[row]
        if wave is None:
            continue
        if len(wave) < LEAST_SECONDS * audio.rate:
            issues.add("data.clips_short", name)
            continue
        if len(wave) > audio.most_samples and audio.kind in TRANSCRIBED:
            issues.add("data.clips_long", name)
            continue
        if len(wave) > audio.most_samples:
            issues.add("data.clips_cut", name)
            wave = wave[: audio.most_samples]
        text = texts[row]
        for code in find_issues(wave, len(wave) / audio.rate, None if text is None else len(text)):
            issues.add(code, name)
        rows.append(row)
        waves.append(wave)
    return _Usable(table.select(np.array(rows, dtype=np.int64)), waves)


def _check_counts(parts: Sequence[_Usable], source: str, reasons: Mapping[str, str]) -> None:
    for name, part, least in zip(SPLITS, parts, (2, 1, 1), strict=True):
        if len(part.waves) < least:
            first = next(iter(reasons.items()), None)
            why = gettext(" (such as {name}: {reason})", name=first[0], reason=first[1]) if first else ""
            msg = gettext(
                "{source}: {count} {name} clips can be used{why}, at least {least} needed; add clips, raise `limit` or "
                "`audio.most`, or change `validation` and `test`",
                source=source,
                count=len(part.waves),
                name=name,
                why=why,
                least=least,
            )
            raise DataError(msg)


def _made_targets(parts: Sequence[_Usable], settings: DataSettings, base: Path) -> _Targets:
    """Targets of each split by the kind of the settings."""
    if settings.audio.kind != "tokens":
        targets, classes, facts = _targets(parts, settings.audio)
        return _Targets(targets, [None] * len(parts), classes, facts)
    transcripts = [_transcripts(part.table) for part in parts]
    for part, texts in zip(parts[1:], transcripts[1:], strict=True):
        _check_told(part, texts)
    made = token_targets(transcripts, [part.table.texts for part in parts], settings, base)
    return _Targets(list(made.targets), list(made.read), made.classes, (), made.written)


def _targets(parts: Sequence[_Usable], audio: AudioSettings) -> tuple[list[Ragged | Tensor], tuple[str, ...], tuple[Fact, ...]]:
    """Targets of each split, names of the classes, and facts about transcripts."""
    if audio.kind == "classes":
        tensors, names = encode_targets([part.table for part in parts], "classes", (str(audio.columns.target),))
        return list(tensors), tuple(names), ()
    if audio.kind == "speech":
        return [speech_targets(part.table, part.waves, audio) for part in parts], SPEECH_CLASSES, ()
    texts = [_transcripts(part.table) for part in parts]
    names = character_names(texts[0], audio.characters, parts[0].table.texts)
    strange = ClipIssues()
    for part, transcripts in zip(parts, texts, strict=True):
        for index in unwritable(transcripts, names):
            strange.add("data.clips_unwritable", part.table.texts[index])
        if part is not parts[0]:
            _check_told(part, transcripts)
    return [character_targets(transcripts, names) for transcripts in texts], names, strange.facts()


def _check_told(part: _Usable, transcripts: Sequence[str | None]) -> None:
    """Refuse clips without a transcript in a split that metrics are computed on."""
    if None in transcripts:
        msg = gettext(
            "{name} has no transcript; validation and test clips need one: add it, or leave the clip out",
            name=part.table.texts[list(transcripts).index(None)],
        )
        raise DataError(msg)
