"""Weights, soft labels, distilled sets, checkpoints, records and trtexec's JSON."""

from __future__ import annotations

import functools
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import save_file
from torch import nn

from compress.core.network_spec import image_spec
from compress.core.record import StageRecord
from compress.core.run_directory import RunDirectory, validate_stage
from compress.core.run_record import RunRecord
from compress.data.sources import distilled_set
from compress.data.sources.distilled_metadata import DistilledMetadata, read_metadata
from compress.distill.teachers.external import FileSoftLabels, write_soft_labels
from compress.models import checkpoint
from compress.models.factory import build_model
from compress.models.settings import ModelSettings
from compress.pipeline.publish import rerender_report
from compress.pipeline.read_record import read_record
from compress.profile import trtexec_results
from compress.train.checkpoints import Checkpoints
from tests.fuzz.harness import Case, change_bytes, change_tree

CLASSES = tuple("abcdefghij")
SPEC = image_spec(channels=3, height=8, width=8, mean=(0, 0, 0), std=(1, 1, 1), classes=CLASSES)
LARGE = image_spec(channels=3, height=32, width=32, mean=(0, 0, 0), std=(1, 1, 1), classes=CLASSES)
ARCHITECTURE = "torchvision:squeezenet1_1"
JSON_VALUES: tuple[Any, ...] = (
    None, True, 0, -1, 2.5, 1 << 40, 1 << 70, 1e308, -1e308, 1e-320, "", "\0", "\x1b[2J", "../../x", "x" * 400, "\ud800",
    "NaN",
    [], {}, [[]], [None], [0, 0], [-1, -1], [1 << 40, 3], {"a": None}, [1, 2, 3],
)  # fmt: skip


class File(NamedTuple):
    """One kind of file.

    Attributes:
        kind: For the summary.
        path: Where the changed content is written.
        content: The sound content.
        use: Reads the file.
        share: Weight among the kinds: a low one for what takes long.
    """

    kind: str
    path: Path
    content: bytes
    use: Callable[[], object]
    share: float


def network() -> nn.Module:
    """A network with every kind of tensor that a checkpoint holds."""
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 10)
    )


def cases(rng: random.Random, count: int, work: Path) -> Iterator[Case]:
    """Each input: one file changed in its bytes, or, where it holds JSON, in a value."""
    files = [*_weights(work), *_labels(work), *_run_files(work), *_engine_files(work)]
    shares = [file.share for file in files]
    for file in rng.choices(files, shares, k=count):
        file.path.write_bytes(_changed(file, rng))
        yield Case(file.kind, file.use)
        file.path.write_bytes(file.content)


def _changed(file: File, rng: random.Random) -> bytes:
    if file.path.suffix == ".json" and rng.random() < 0.6:
        text = json.dumps(change_tree(json.loads(file.content), rng, values=JSON_VALUES), ensure_ascii=rng.random() < 0.5)
        return text.encode("utf-8", "surrogatepass")
    if b'{"__metadata__"' in file.content[8:24] and rng.random() < 0.5:
        return _changed_header(file.content, rng)
    return change_bytes(file.content, rng)


def _changed_header(content: bytes, rng: random.Random) -> bytes:
    """A safetensors file whose header, or the JSON inside its metadata, has other values."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    metadata = header["__metadata__"]
    key = rng.choice(list(metadata))
    if rng.random() < 0.7 and metadata[key][:1] in "[{":
        metadata[key] = json.dumps(change_tree(json.loads(metadata[key]), rng, values=JSON_VALUES))
    elif rng.random() < 0.7:
        metadata[key] = rng.choice(["[", "3", "null", '"abc"', "{}", "[" * 100_000, "", "[1]", "é"])
    else:
        header = change_tree(header, rng, ("F16", "BOOL", "I8"), JSON_VALUES)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + content[8 + length :]


def _weights(work: Path) -> Iterator[File]:
    built = build_model(ModelSettings(source=ARCHITECTURE), LARGE, seed=0, base=work)
    large = built.module.state_dict()
    torch.save(large, work / "large.pth")
    torch.save({"state_dict": large, "epoch": 3}, work / "wrapped.pth")
    torch.save(large, work / "old.pth", _use_new_zipfile_serialization=False)
    save_file({name: tensor.contiguous() for name, tensor in large.items()}, work / "large.safetensors")
    for name in ("large.pth", "wrapped.pth", "old.pth", "large.safetensors"):
        path = work / name
        settings = ModelSettings(source=f"file:{path}", architecture=ARCHITECTURE)
        yield File(
            f"weights {name}", path, path.read_bytes(), functools.partial(build_model, settings, LARGE, seed=0, base=work), 0.02
        )
    path = work / "own.safetensors"
    checkpoint.save(network(), network(), path)
    yield File("compressed network", path, path.read_bytes(), lambda: checkpoint.load(path, network()), 2)
    state = Checkpoints(work, "train", "identity")
    state.save({"model": network().state_dict(), "epoch": 1, "optimizer": {"a": [1, 2.0, None]}})
    yield File("checkpoint of a training", state.checkpoint_path, state.checkpoint_path.read_bytes(), state.load, 3)


def _labels(work: Path) -> Iterator[File]:
    generator = torch.Generator().manual_seed(0)
    soft = torch.softmax(torch.randn(20, 10, generator=generator), 1)
    images = torch.randn(20, 3, 8, 8, generator=generator)
    distilled = distilled_set.DistilledSet(images, torch.arange(20) % 10, soft, SPEC, DistilledMetadata(method="random"))
    split = distilled.split()
    for name in ("labels.safetensors", "labels.parquet"):
        path = work / name
        write_soft_labels(path, soft, split, CLASSES)
        yield File(f"soft {name}", path, path.read_bytes(), functools.partial(FileSoftLabels, path, split, CLASSES), 2)
    path = work / "distilled.safetensors"
    distilled_set.write(path, distilled)
    yield File("distilled set", path, path.read_bytes(), lambda: (read_metadata(path), distilled_set.read(path)), 2)


def _run_files(work: Path) -> Iterator[File]:
    stage = StageRecord(
        index=0, name="train", key="k" * 64, parent_key="", form="torch", parameters={"epochs": 1}, before={}, after={},
        seed=0,
        versions={"torch": "2"}, started="2026-01-01", wall_time_s=1.0,
    )  # fmt: skip
    directory = RunDirectory(work / "runs", "name", "digest")
    (directory.work_dir(0, "train", stage.key) / "weights.bin").write_bytes(bytes(range(256)))
    closed = directory.commit(stage)
    folder = directory.folder(0, "train")
    use = functools.partial(validate_stage, folder, stage.key)
    for path in sorted(folder.iterdir()):
        yield File(f"stage's {path.name}", path, path.read_bytes(), use, 1)
    record = directory.path / "record.json"
    run = RunRecord(
        name="name", recipe={"name": "name"}, recipe_text="name: name", spec=SPEC, data={"source": "digits"}, teacher=None,
        start={},
        stages=(closed,), verdict=None, environment={"torch": "2"}, started="2026-01-01", wall_time_s=1.0,
    )  # fmt: skip
    run.save(record)
    report = work / "report"
    report.mkdir()
    yield File("record of a run", record, record.read_bytes(), lambda: read_record(record), 1)
    yield File("report of a record", record, record.read_bytes(), lambda: rerender_report(record, report), 0.1)


def _engine_files(work: Path) -> Iterator[File]:
    folder = work / "engine"
    folder.mkdir()
    parts = {"startH2dMs": 0.0, "endH2dMs": 0.1, "startComputeMs": 0.1, "endComputeMs": 0.9, "startD2hMs": 0.9, "endD2hMs": 1.0}
    times = [{**{name: run + at for name, at in parts.items()}, "h2dMs": 0.1, "computeMs": 0.8, "d2hMs": 0.1, "latencyMs": 1.0}
             for run in range(20)]  # fmt: skip
    layer = {"name": "a", "timeMs": 1, "averageMs": 1, "medianMs": 1, "percentage": 50}
    engine = {
        "Layers": [{"Name": "a", "LayerType": "c", "Metadata": "[ONNX Layer: x]", "Inputs": [{"Dimensions": [1, 3, 8, 8]}]}]
    }
    contents = {"times.json": times, "layers.json": [{"count": 20}, layer], "engine.json": engine}
    for name, content in contents.items():
        (folder / name).write_text(json.dumps(content))
    for name in contents:
        path = folder / name
        yield File(f"trtexec's {name}", path, path.read_bytes(), functools.partial(_read_engine, folder), 1)


def _read_engine(folder: Path) -> None:
    trtexec_results.read_row(folder, "device")
    trtexec_results.read_layers(folder)
