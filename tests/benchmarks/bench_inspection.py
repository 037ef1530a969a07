"""Inspection of solar cells: recall of defects at 5 % false alarms, and an anomaly score that was trained on good cells alone.

    python tests/benchmarks/bench_inspection.py CELLS --out DIR [--weights MOBILENET_V2.pth] [--seeds 0,1,2] [--page PAGE.md]

CELLS is the folder of the package `elpv-dataset` that holds `labels.csv` and `images/` (Deitsch et al. 2019, arXiv:1807.02894;
CC BY-NC-SA 4.0: for research, and not part of this repository). `--weights` is a file of torchvision's ImageNet weights of
MobileNetV2 for teacher and reference; without it both start from random weights. DIR keeps finished seeds. Prints a Markdown
section, and with `--page` puts it in place of the section of that page.
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from compress import Distill, Export, Pipeline, Quantize, Train
from compress.core.record import Quantity, StageRecord
from compress.core.registry import lookup
from compress.data.build_image_data import ArrayPart, from_arrays
from compress.data.interface import Data
from compress.data.settings import DataSettings
from compress.models.factory import build_model
from compress.models.settings import ModelSettings
from compress.tasks.anomaly import Anomaly
from compress.tasks.base import Task
from compress.tasks.inspection import Inspection
from compress.train.loop import fit
from compress.train.plan import TrainingPlan
from compress.train.settings import Training
from tests.benchmarks.vision_table import replace_section

SIZE = 80
GRADES = {"0.0": "good", "0.6666666666666666": "likely", "1.0": "certain"}
"""Classes by the label; cells that the experts call possibly defective (1/3) belong to no class and are left out."""
CLASSES = ("good", "likely", "certain")
SHARES = (0.5, 0.7)
"""The first half trains, the next fifth is validation, the rest is the test."""
EPOCHS = {"teacher": 8, "student": 15, "anomaly": 15}
ARMS = ("teacher", "student alone", "student distilled", "int8", "anomaly score", "anomaly score, int8")
HEADING = "## Inspection of solar cells"


def read_cells(folder: Path) -> tuple[torch.Tensor, np.ndarray, np.ndarray]:
    """Images uint8 (N, 1, SIZE, SIZE), classes int64 (N,), and strata (N,): class and kind of cell."""
    images, kinds, strata = [], [], []
    with (folder / "labels.csv").open(encoding="utf-8", newline="") as file:
        for name, label, cell in csv.reader((" ".join(line.split()) for line in file), delimiter=" "):
            grade = next((grade for value, grade in GRADES.items() if abs(float(value) - float(label)) < 0.01), None)
            if grade is None:
                continue
            with Image.open(folder / name) as image:
                images.append(np.asarray(image.convert("L").resize((SIZE, SIZE), Image.Resampling.BOX)))
            kinds.append(CLASSES.index(grade))
            strata.append(f"{grade} {cell}")
    return torch.from_numpy(np.stack(images))[:, None], np.array(kinds, dtype=np.int64), np.array(strata)


def split_cells(cells: tuple[torch.Tensor, np.ndarray, np.ndarray], seed: int) -> Data:
    """Train, validation and test, by the same fractions of each class and kind of cell."""
    images, kinds, strata = cells
    generator = np.random.default_rng(seed)
    parts: list[list[int]] = [[], [], []]
    for stratum in np.unique(strata):
        order = generator.permutation(np.flatnonzero(strata == stratum))
        ends = [round(share * len(order)) for share in SHARES]
        for part, chosen in zip(parts, np.split(order, ends), strict=True):
            part.extend(chosen.tolist())

    def part(chosen: list[int]) -> ArrayPart:
        index = np.sort(np.array(chosen))
        return images[torch.from_numpy(index)], kinds[index]

    settings = DataSettings(source="python:cells", image_size=SIZE, channels=1, augment="light", views=8, seed=seed)
    return from_arrays(*(part(chosen) for chosen in parts), classes=CLASSES, settings=settings)


def reference(weights: Path | None) -> dict[str, Any]:
    """A `model:` block of MobileNetV2, with ImageNet's weights where a file is given."""
    if weights is None:
        return {"source": "torchvision:mobilenet_v2"}
    source = {"source": f"file:{weights}", "architecture": "torchvision:mobilenet_v2"}
    return {**source, "args": {"num_classes": 1000}}


def build(settings: dict[str, Any], data: Data, task: Task, seed: int) -> nn.Module:
    """A network for the data."""
    spec = task.complete_spec(data.spec)
    return build_model(ModelSettings(**settings), spec, seed=seed, base=Path.cwd(), task=task).module


def run_seed(cells: Any, weights: Path | None, seed: int, out: Path, *, smoke: bool) -> dict[str, Any]:
    """Teacher, student alone, distilled and int8, and the anomaly score in float and int8."""
    started, data = time.process_time(), split_cells(cells, seed)
    epochs = dict.fromkeys(EPOCHS, 1) if smoke else EPOCHS
    task = Inspection().for_spec(data.spec)
    teacher = build(reference(weights), data, task, seed)
    training = Training(epochs=epochs["teacher"], batch_size=32, lr=1e-3)
    plan = TrainingPlan(training, data, task, (lookup("loss", "task").load()(),), seed)
    fit(teacher, plan, folder=out / f"teacher{seed}", label="teacher", device="cpu")
    student = build({"source": "torchvision:mobilenet_v2", "args": {"width_mult": 0.35}}, data, task, seed)
    common = {"batch_size": 32, "lr": 4e-3}
    quantize = Quantize(calibration={"samples": 256}, accept_if={"keep": "quantized"})
    stages = [Distill(epochs=epochs["student"], control=True, **common), quantize, Export()]
    inspected = Pipeline(
        f"cells{seed}", model=student, data=data, stages=stages, task=Inspection(), teacher=teacher.eval(), seed=seed
    ).run(out=out, device="cpu")
    found = {stage.name: stage for stage in inspected.record.every_stage}
    network = {"source": "anomaly:small", "args": {"width": 16, "reference": reference(weights)}}
    stages = [Train(epochs=epochs["anomaly"], keep="last", **common), quantize, Export()]
    anomaly = Pipeline(
        f"anomaly{seed}", model=build(network, data, Anomaly(), seed), data=data, stages=stages, task=Anomaly(), seed=seed
    ).run(out=out, device="cpu")
    unlike = {stage.name: stage for stage in anomaly.record.stages}
    rows = {
        "teacher": figures(found["teacher"]),
        "student alone": figures(found["distill"])
        | {"recall_at_fpr": values(found["distill"].results["control_recall_at_fpr"])}
        | dict.fromkeys(("false_alarm_rate", "auroc", "recall_likely", "recall_certain")),
        "student distilled": figures(found["distill"]),
        "int8": figures(found["quantize"]),
        "anomaly score": figures(unlike["train"]),
        "anomaly score, int8": figures(unlike["quantize"]),
    }
    differences = {
        "gained by distillation over the student alone": values(found["distill"].results["recall_at_fpr_over_control"]),
        "lost by the int8 student against the teacher": values(found["quantize"].after["recall_at_fpr_drop"]),
    }
    counts = {name: len(getattr(data, name)) for name in ("train", "validation", "test")}
    return {"rows": rows, "differences": differences, "counts": counts, "cpu_s": time.process_time() - started}


def figures(stage: StageRecord) -> dict[str, Any]:
    """Value, low and high end of each quantity of a network."""
    quantities = {**stage.after, **stage.results}
    names = ("recall_at_fpr", "false_alarm_rate", "auroc", "recall_likely", "recall_certain", "size_bytes", "latency_ms")
    return {name: values(quantities[name]) if name in quantities else None for name in names}


def values(quantity: Quantity) -> list[float | None]:
    """Value, low and high end."""
    return [quantity.value, quantity.low, quantity.high]


def cell(results: list[dict[str, Any]], arm: str, name: str, *, interval: bool = True) -> str:
    """Mean over the seeds in percent, and each seed with its interval."""
    each = [result["rows"][arm][name] for result in results]
    if any(row is None for row in each):
        return "not measured"
    interval = interval and all(row[1] is not None for row in each)
    mean = f"{100 * np.mean([row[0] for row in each]):.1f}"
    if not interval:
        return mean if len(each) == 1 else f"{mean} ({', '.join(f'{100 * row[0]:.1f}' for row in each)})"
    ends = "; ".join(f"{100 * row[0]:.1f} [{100 * row[1]:.1f}, {100 * row[2]:.1f}]" for row in each)
    return ends if len(each) == 1 else f"**{mean}**: {ends}"


def section(results: dict[int, dict[str, Any]], *, has_weights: bool, smoke: bool) -> str:
    """The Markdown section."""
    seeds, every = sorted(results), [results[seed] for seed in sorted(results)]
    counts = every[0]["counts"]
    start = "ImageNet's weights of MobileNetV2" if has_weights else "random weights"
    minutes = np.mean([each["cpu_s"] for each in every]) / 60
    lines = [
        HEADING,
        "",
        "Photographs of solar cells by electroluminescence (`elpv-dataset`, CC BY-NC-SA 4.0, not part of this repository), "
        f"{SIZE} × {SIZE} pixels, grey; {counts['train']} cells to train on, {counts['validation']} for validation, "
        f"{counts['test']} for the test. Classes are good, likely and certainly defective; the cells that the experts call "
        "possibly defective are left out. The teacher is a MobileNetV2 and the student one of 0.35 of its width with random "
        f"weights; teacher and anomaly reference start from {start}. The anomaly score never saw a defective cell. Thresholds "
        f"are chosen on good validation cells for 5 % false alarms. Split and networks by seed {', '.join(map(str, seeds))}"
        f"{' (toy size: 1 epoch)' if smoke else ''}; {minutes:.1f} min of CPU per seed. Values are percentages on the test "
        "split, with 95 % intervals (Wilson's for recalls, bootstrap for AUROC where it decides). Latencies are of ONNX "
        "Runtime, one thread, batch 1, while other processes ran: only their ratios mean something. By "
        "`tests/benchmarks/bench_inspection.py`.",
        "",
        "| network | recall at 5 % false alarms | false alarms on test | AUROC | likely | certain | size | latency |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for arm in ARMS:
        rows = [each["rows"][arm] for each in every]
        sizes, times = (np.mean([row[name][0] for row in rows]) for name in ("size_bytes", "latency_ms"))
        lines.append(
            f"| {arm} | {cell(every, arm, 'recall_at_fpr')} | {cell(every, arm, 'false_alarm_rate', interval=False)} | "
            f"{cell(every, arm, 'auroc')} | {cell(every, arm, 'recall_likely', interval=False)} | "
            f"{cell(every, arm, 'recall_certain', interval=False)} | {sizes / 1000:.0f} kB | {times:.2f} ms |"
        )
    lines += ["", "| difference on the same test cells | seed | points of recall, 95 % interval |", "| --- | --- | --- |"]
    for name in every[0]["differences"]:
        for seed in seeds:
            value, low, high = (100 * number for number in results[seed]["differences"][name])
            lines.append(f"| {name} | {seed} | {value:+.1f} ({low:+.1f} to {high:+.1f}) |")
    return "\n".join([*lines, ""])


def main() -> None:
    """Run what the arguments ask for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cells", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--smoke", action="store_true")
    parser.add_argument("--page", type=Path)
    arguments = parser.parse_args()
    results: dict[int, dict[str, Any]] = {}
    text = ""
    for seed in map(int, arguments.seeds.split(",")):
        file = arguments.out / f"seed{seed}{'-smoke' if arguments.smoke else ''}.json"
        if not file.exists():
            result = run_seed(read_cells(arguments.cells), arguments.weights, seed, arguments.out, smoke=arguments.smoke)
            file.write_text(json.dumps(result), encoding="utf-8")
        results[seed] = json.loads(file.read_text(encoding="utf-8"))
        text = section(results, has_weights=arguments.weights is not None, smoke=arguments.smoke)
        if arguments.page:
            replace_section(arguments.page, text)
    print(text)


if __name__ == "__main__":
    main()
