"""Recorded telephone prompts with transcripts → a manifest for each split, for `bench_speech_stream.py`."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

import numpy as np

SPLITS = {"train": 0.7, "validation": 0.08, "test": 0.22}
"""Fraction of the clips of each split."""
_LINE = re.compile(r"^(?P<name>[\w/.-]+):\s*(?P<text>.+)$")
_UNSPOKEN = re.compile(r"[\[\]<>()\d]")
"""Marks of sounds that are no speech, and digits, which are written in several ways."""


def transcripts(table: Path) -> dict[str, str]:
    """Transcripts by the name of the clip; a text that occurs again is left out, so that no split repeats another.

    Letters are lower case, and apostrophes are kept.
    """
    found: dict[str, str] = {}
    with gzip.open(table, "rt", encoding="utf-8", errors="replace") as lines:
        for line in lines:
            match = _LINE.match(line)
            if match is None or _UNSPOKEN.search(match["text"]):
                continue
            text = " ".join(re.sub(r"[^a-z' ]", " ", match["text"].lower()).split())
            if text and text not in found.values():
                found[match["name"]] = text
    return found


def write_manifests(prompts: Path, folder: Path, seed: int) -> dict[str, int]:
    """Write `train.jsonl`, `validation.jsonl` and `test.jsonl`.

    Args:
        prompts: Folder that has the sound files and `core-sounds-en.txt.gz` somewhere below.
        folder: Where they go.
        seed: Of the division.

    Returns:
        Number of clips of each split.
    """
    tables = sorted(prompts.rglob("core-sounds-en.txt.gz"))
    if not tables:
        msg = f"{prompts} has no core-sounds-en.txt.gz; give the folder of the unpacked packages asterisk-core-sounds-en*"
        raise SystemExit(msg)
    texts = transcripts(tables[0])
    files = {path: texts[name] for path in sorted(prompts.rglob("*.wav")) if (name := _name(path)) in texts}
    rows = [{"audio": str(path.resolve()), "text": text} for path, text in files.items()]
    order = np.random.default_rng(seed).permutation(len(rows))
    folder.mkdir(parents=True, exist_ok=True)
    ends = np.round(np.cumsum(list(SPLITS.values())) * len(rows)).astype(int)
    counts = {}
    for split, chosen in zip(SPLITS, np.split(order, ends[:-1]), strict=True):
        lines = [json.dumps(rows[index], ensure_ascii=False) for index in chosen]
        (folder / f"{split}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
        counts[split] = len(lines)
    return counts


def _name(path: Path) -> str:
    """Name of a clip in the table: its path below the folder of the language."""
    parts = path.with_suffix("").parts
    marks = [index for index, part in enumerate(parts) if part.startswith("en_US")]
    return "/".join(parts[marks[-1] + 1 :] if marks else parts[-1:])
