"""Single bytes of a finished stage: every change must be noticed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from compress.core.record import StageRecord
from compress.core.run_directory import RunDirectory, validate_stage
from compress.pipeline.check_run import check_run
from tests.fuzz.harness import Case

KEY = "k" * 64
STAGE = StageRecord(
    index=0, name="quantize", key=KEY, parent_key="", form="onnx", parameters={"epochs": 1}, before={}, after={}, seed=0,
    versions={"torch": "2"}, started="2026-01-01", wall_time_s=1.0,
)  # fmt: skip


def cases(rng: random.Random, count: int, work: Path) -> Iterator[Case]:
    """One bit of one byte of a file each; every twentieth input deletes a file."""
    directory = RunDirectory(work / "runs", "name", "digest")
    partial_folder = directory.work_dir(0, STAGE.name, KEY)
    for name, size in (("model.onnx", 5000), ("model.safetensors", 3000), ("artifacts/host/infer.py", 700), ("curve.png", 900)):
        path = partial_folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(rng.randbytes(size))
    directory.commit(STAGE)
    folder = directory.folder(0, STAGE.name)
    sound = {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
    for _ in range(count):
        path, content = rng.choice(list(sound.items()))
        changed = bytearray(content)
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
        if rng.random() < 0.05:
            path.unlink()
        else:
            path.write_bytes(changed)
        yield Case(path.name, partial(_notice, folder))
        path.write_bytes(content)


def _notice(folder: Path) -> None:
    if isinstance(validate_stage(folder, KEY), StageRecord):
        msg = "a stage with a changed byte was taken for whole"
        raise AssertionError(msg)
    if check_run(folder.parent).whole:
        msg = "`compress check` called a stage with a changed byte whole"
        raise AssertionError(msg)
