"""Small audio files for tests."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import soundfile

TEXTS = ("ab", "ba a", "b", "aab", "a b")


def tone(seconds: float = 0.5, rate: int = 8000, frequency: float = 440.0, level: float = 0.4) -> np.ndarray:
    """A sine with some noise, so that no two clips are alike."""
    time = np.arange(round(seconds * rate)) / rate
    noise = np.random.default_rng(round(frequency * 100)).normal(0, 0.01, len(time))
    return (level * np.sin(2 * np.pi * frequency * time) + noise).astype(np.float32)


def write_manifest(folder: Path, count: int = 20, *, suffix: str = ".wav", key: str = "text") -> Path:
    """A manifest in JSONL with files beside it, which are of different lengths."""
    rows = []
    for index in range(count):
        name = f"{index:03d}{suffix}"
        soundfile.write(folder / name, tone(0.3 + 0.05 * (index % 5), frequency=200.0 + 20 * index), 8000)
        target = TEXTS[index % len(TEXTS)] if key == "text" else ("low", "high")[index % 2]
        rows.append({"audio": name, key: target})
    path = folder / "clips.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


def change(path: Path, index: int, **cells: object) -> None:
    """Other cells in one line of a manifest."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    rows[index] |= cells
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
