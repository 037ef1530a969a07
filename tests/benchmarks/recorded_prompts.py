"""Recorded telephone prompts with their texts, as an audio manifest for each split.

551 prompts of the Debian packages `asterisk-core-sounds-en` and `-en-wav` (CC-BY-SA-3.0): one speaker, 8 kHz. Left out are
tones, clips outside 0.4 to 12 seconds, and texts with brackets or with numbers of two digits and more, since how they are read
is not written. Prompts with the same text are in the same split.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path

import soundfile

from compress.core.seed_of import seed_of

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
LENGTHS = (0.4, 12.0)
"""Least and greatest length of a clip, seconds."""
PARTS = {"train": 75, "validation": 10, "test": 15}
"""Percentages of the texts."""


def spoken(text: str) -> str | None:
    """Lower-case words with digits written out; None where it cannot be told how the text is read."""
    if re.search(r"\[|\(|\d\w|\d\.", text):
        return None
    words = re.sub(r"\d", lambda found: f" {DIGITS[int(found[0])]} ", text.lower())
    words = re.sub(r"[^a-z']+", " ", words.replace("’", "'"))
    return " ".join(words.split()) or None


def part_of(text: str, seed: int) -> str:
    """Split of a text, by a hash of it."""
    place = seed_of("prompts", seed, text) % 100
    for name, share in PARTS.items():
        place -= share
        if place < 0:
            return name
    raise AssertionError(place)


def prompts(folder: Path) -> Iterator[tuple[Path, str]]:
    """Audio file and text of each prompt that can be used.

    Args:
        folder: What the packages were unpacked to.
    """
    table = next(folder.glob("**/core-sounds-en.txt.gz"))
    sounds = next(folder.glob("**/activated.wav")).parent
    for line in gzip.decompress(table.read_bytes()).decode().splitlines():
        name, _, text = line.partition(":")
        said = None if line.startswith(";") else spoken(text)
        path = sounds / f"{name.strip()}.wav"
        if said and path.is_file() and LENGTHS[0] <= soundfile.info(path).duration <= LENGTHS[1]:
            yield path, said


def write_manifest(folder: Path, out: Path, seed: int = 0) -> dict[str, tuple[int, float]]:
    """Write `train.jsonl`, `validation.jsonl` and `test.jsonl`.

    Args:
        folder: What the packages were unpacked to.
        out: Folder of the manifests.
        seed: Of the split.

    Returns:
        Number of clips and minutes of each split.
    """
    out.mkdir(parents=True, exist_ok=True)
    rows: dict[str, list[tuple[Path, str]]] = {name: [] for name in PARTS}
    for path, text in prompts(folder):
        rows[part_of(text, seed)].append((path, text))
    for name, each in rows.items():
        lines = (json.dumps({"audio": str(path.resolve()), "text": text}) for path, text in each)
        (out / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    return {name: (len(each), sum(soundfile.info(path).duration for path, _ in each) / 60) for name, each in rows.items()}
