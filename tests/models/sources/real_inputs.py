"""Inputs of `real_files` that are like those of their use: drawn text, bytes of files, a voice that is made of tones."""

from __future__ import annotations

import sysconfig
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageDraw, ImageFont

SAMPLES = 96
RATE = 16_000
WORDS = (
    "Invoice",
    "total",
    "2026",
    "ship",
    "order",
    "page",
    "No.",
    "table",
    "figure",
    "street",
    "phone",
    "bank",
    "A-17",
    "42.50",
)


def drawn_text(height: int, width: int, size: int, lines: int) -> np.ndarray:
    """Lines of words, dark on light or light on dark, scaled to −1 … 1, (N, 3, H, W)."""
    random = np.random.default_rng(0)
    images = np.empty((SAMPLES, 3, height, width), np.float32)
    for index in range(SAMPLES):
        paper, ink = (tuple(int(level + shade) for shade in random.integers(0, 40, 3)) for level in (210, 10))
        image = Image.new("RGB", (width, height), paper)
        pen, font = ImageDraw.Draw(image), ImageFont.load_default(size)
        for line in range(lines):
            text = " ".join(random.choice(WORDS, 6))
            pen.text((int(random.integers(0, 8)), line * height // lines + 2), text, ink, font=font)
        images[index] = np.asarray(image, np.float32).transpose(2, 0, 1) / 127.5 - 1
    return images


def file_bytes() -> np.ndarray:
    """The first and last 1,024 bytes of files of Python's library, 256 where a file has no more, int32 (N, 2048)."""
    files = [path for path in sorted(Path(sysconfig.get_paths()["stdlib"]).rglob("*")) if path.is_file()]
    rows = np.full((SAMPLES, 2048), 256, np.int32)
    for row, path in zip(rows, files[:: max(1, len(files) // SAMPLES)], strict=False):
        content = np.frombuffer(path.read_bytes(), np.uint8)
        head, tail = content[:1024], content[-1024:]
        row[: len(head)] = head
        row[2048 - len(tail) :] = tail
    return rows


def voice(frames: int, size: int) -> np.ndarray:
    """A melody of harmonics with pauses and noise, float32 (frames, size)."""
    random, time = np.random.default_rng(1), np.arange(frames * size) / RATE
    pitch = 140 + 40 * np.sin(2 * np.pi * 1.3 * time)
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    harmonics = sum(np.sin(order * phase) / order for order in range(1, 12))
    loudness = np.clip(np.sin(2 * np.pi * 2.1 * time), 0, 1) * (np.sin(2 * np.pi * 0.4 * time) > -0.3)
    wave = 0.15 * loudness * harmonics + 0.005 * random.normal(size=len(time))
    return wave.astype(np.float32).reshape(frames, size)


def voice_with_states(path: Path) -> dict[str, np.ndarray]:
    """Frames of a voice with the state that the network itself reaches before each."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    shapes = {value.name: value.shape for value in session.get_inputs()}
    if "h" in shapes:
        sound = voice(SAMPLES * 16, 576).reshape(SAMPLES, 16, 576)
        return {"input": sound, **{name: np.zeros((SAMPLES, 1, 1, 128), np.float32) for name in ("h", "c")}}
    size = 576 if 576 in shapes["input"] else 512
    state, rate, states = np.zeros((2, 1, 128), np.float32), np.array(RATE, np.int64), []
    sound = voice(SAMPLES, size)
    for frame in sound:
        states.append(state)
        feeds = {"input": frame[None], "state": state, "sr": rate}
        state = session.run(None, {name: feeds[name] for name in shapes})[1]
    arrays = {"input": sound, "state": np.stack(states), "sr": np.full(SAMPLES, RATE, np.int64)}
    return {name: arrays[name] for name in shapes}


def real_inputs(path: Path) -> Mapping[str, np.ndarray]:
    """Inputs by name, the samples along the first axis; empty for a file without such."""
    if path.stem.startswith("silero"):
        return voice_with_states(path)
    text = {"_cls_": (48, 192, 30, 1), "_rec_": (48, 320, 34, 1), "_det_": (160, 160, 16, 7)}
    for part, (height, width, size, lines) in text.items():
        if part in path.stem:
            return {"x": drawn_text(height, width, size, lines)}
    return {"bytes": file_bytes()} if path.parent.name.startswith("standard_v") else {}
