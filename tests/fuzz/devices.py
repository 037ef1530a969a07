"""Device profiles and calibrations of the cost model."""

from __future__ import annotations

import io
import json
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from compress.cli.render import device_rows
from compress.cli.terminal import table
from compress.config.devices import folders, load_device
from compress.config.yaml_writer import dump
from compress.profile.cost_model import calibration_file
from compress.profile.device_check import check_device
from tests.fuzz.harness import Case, change_bytes, change_tree, change_yaml
from tests.fuzz.recipes import growing_texts

CALIBRATION: dict[str, Any] = {
    "device": "host", "cpu": "c", "instruction_sets": ["avx2"], "caches_bytes": {"l1": 1}, "runtime": "onnxruntime 1.32.0",
    "threads": 1,
    "created": "x", "seconds": 1.0, "rates": {"product fp32": {"overhead_ns": 1.0, "prices_ns": {"macs": 0.1}, "samples": 3}},
    "accuracy": {"mean": 0.1, "low": 0.9, "high": 1.1, "networks": 4}, "format": 1,
}  # fmt: skip


def cases(rng: random.Random, count: int, work: Path) -> Iterator[Case]:
    """Profiles as `compress devices show`, `check` and `list` use them; every fifth input is a calibration."""
    path = work / "devices" / "x.yaml"
    path.parent.mkdir(exist_ok=True)
    shipped = [file.read_text() for folder in folders()[1:] if folder.is_dir() for file in sorted(folder.glob("*.yaml"))]
    texts = [re.sub(r"^name: .*", "name: x", text, flags=re.MULTILINE) for text in shipped]
    trees = [yaml.safe_load(text) for text in texts]

    def use(kind: str, content: bytes) -> Case:
        path.write_bytes(content)
        return Case(kind, _use)

    growing = [text.encode() for text in growing_texts()]
    yield from (use("without limit", content) for content in growing[: count // 4])
    for _ in range(count - min(len(growing), count // 4)):
        chance = rng.random()
        if chance < 0.2:
            content = json.dumps(change_tree(CALIBRATION, rng, values=(None, True, 0, -1, 1 << 70, 1e308, "", [], {}, [1])))
            path.write_bytes(content.encode() if rng.random() < 0.5 else change_bytes(content.encode(), rng))
            yield Case("calibration", lambda: calibration_file.load(path))
        elif chance < 0.55:
            changed = change_tree(rng.choice(trees), rng, ("connection", "aliases", "runtimes"))
            yield use("tree", yaml.dump(changed, sort_keys=False, Dumper=yaml.SafeDumper).encode("utf-8", "surrogatepass"))
        elif chance < 0.9:
            yield use("text", change_yaml(rng.choice(texts), rng))
        else:
            yield use("bytes", change_bytes(rng.choice(texts).encode(), rng))


def _use() -> None:
    """Load, print and check a profile; those that are reached over SSH are not connected to."""
    device = load_device("x")
    dump(device.model_dump(mode="json", exclude_none=True))
    terminal = Console(file=io.StringIO(), width=160)
    if device.connection is None or device.connection == "local":
        rows = [("x", line.what, line.text) for line in check_device(device)]
        table(terminal, f"{device.name}: {device.title}", ("", "", ""), rows, words=True)
    table(terminal, "", ("name", "title", "kind", "runtime", "also called"), device_rows(), words=True)
