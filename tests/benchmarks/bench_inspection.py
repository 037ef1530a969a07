"""Inspection of solar cells: recall of defects at 5 % false alarms, and an anomaly score that was trained on good cells alone.

    python tests/benchmarks/bench_inspection.py CELLS --out DIR [--weights MOBILENET_V2.pth] [--seeds 0,1,2] [--page PAGE.md]
        [--without-anomaly]

CELLS is the folder of the package `elpv-dataset` that holds `labels.csv` and `images/` (Deitsch et al. 2019, arXiv:1807.02894;
CC BY-NC-SA 4.0: for research, and not part of this repository). `--weights` is a file of torchvision's ImageNet weights of
MobileNetV2 for teacher and reference; without it both start from random weights. DIR keeps finished seeds. Prints a Markdown
section, and with `--page` puts it in place of the section of that page.
"""

from __future__ import annotations

import argparse
import copy
import csv
import json
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from compress import Distill, Export, Pipeline, Prune, Quantize, Train
from compress.backends.iterate_split import input_arrays
from compress.core.record import Quantity, StageRecord
from compress.core.registry import lookup
from compress.data.build_image_data import ArrayPart, from_arrays
from compress.data.interface import Data
from compress.data.settings import DataSettings
from compress.models.factory import build_model
from compress.models.settings import ModelSettings
from compress.profile.latency.interleave import TimingPlan
from compress.profile.latency.timing import measure, speedup
from compress.tasks.anomaly import Anomaly
from compress.tasks.base import Task
from compress.tasks.inspection import Inspection
from compress.train.loop import fit
from compress.train.plan import TrainingPlan
from compress.train.settings import Training
from tests.benchmarks.inspection_table import section
from tests.benchmarks.vision_table import replace_section

SIZE = 80
GRADES = {"0.0": "good", "0.6666666666666666": "likely", "1.0": "certain"}
"""Classes by the label; cells that the experts call possibly defective (1/3) belong to no class and are left out."""
CLASSES = ("good", "likely", "certain")
SHARES = (0.5, 0.7)
"""The first half trains, the next fifth is validation, the rest is the test."""
EPOCHS = {"teacher": 8, "student": 15, "anomaly": 15}
KEPT_MACS = 0.4
"""Fraction of the teacher's arithmetic that the student keeps."""
FILES = {
    "teacher": "00-teacher/model.onnx",
    "student distilled": "02-distill/model.onnx",
    "int8": "artifacts/host/model.onnx",
}
LOSSES = [{"task": {"weight": 0.3}}, {"response": {"temperature": 4.0, "weight": 0.7}}]


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


def inspect_cells(data: Data, weights: Path | None, seed: int, out: Path, *, epochs: dict[str, int]) -> dict[str, Any]:
    """Teacher, and the student that is pruned from it: trained on labels alone, distilled, int8."""
    task = Inspection().for_spec(data.spec)
    teacher = build(reference(weights), data, task, seed)
    training = Training(epochs=epochs["teacher"], batch_size=32, lr=1e-3)
    plan = TrainingPlan(training, data, task, (lookup("loss", "task").load()(),), seed)
    fit(teacher, plan, folder=out / f"teacher{seed}", label="teacher", device="cpu")
    stages = [
        Prune(target={"macs": KEPT_MACS}, importance="taylor", schedule={"kind": "one_shot"}, recover={"epochs": 0}),
        Distill(epochs=epochs["student"], batch_size=32, lr=2e-3, control=True, losses=LOSSES),
        Quantize(calibration={"samples": 256}, accept_if={"keep": "quantized"}),
        Export(),
    ]
    inspected = Pipeline(
        f"cells{seed}",
        model=copy.deepcopy(teacher),
        data=data,
        stages=stages,
        task=Inspection(),
        teacher=teacher.eval(),
        seed=seed,
    ).run(out=out, device="cpu")
    records = {stage.name: stage for stage in inspected.record.every_stage}
    distilled = records["distill"]
    alone = {"recall_at_fpr": values(distilled.results["control_recall_at_fpr"])}
    rows = {
        "teacher": figures(records["teacher"]),
        "student alone": figures(distilled)
        | alone
        | dict.fromkeys(("false_alarm_rate", "auroc", "recall_likely", "recall_certain")),
        "student distilled": figures(distilled),
        "int8": figures(records["quantize"]),
    }
    differences = {
        "gained by distillation over the student alone": values(distilled.results["recall_at_fpr_over_control"]),
        "lost by the int8 student against the teacher": values(records["quantize"].after["recall_at_fpr_drop"]),
    }
    return {"rows": rows, "differences": differences}


def find_anomalies(data: Data, weights: Path | None, seed: int, out: Path, *, epochs: int) -> dict[str, Any]:
    """The anomaly score in float and int8."""
    network = {"source": "anomaly:small", "args": {"width": 16, "reference": reference(weights)}}
    stages = [
        Train(epochs=epochs, batch_size=32, lr=4e-3, keep="last"),
        Quantize(calibration={"samples": 256}, accept_if={"keep": "quantized"}),
        Export(),
    ]
    anomaly = Pipeline(
        f"anomaly{seed}", model=build(network, data, Anomaly(), seed), data=data, stages=stages, task=Anomaly(), seed=seed
    ).run(out=out, device="cpu")
    records = {stage.name: stage for stage in anomaly.record.stages}
    return {"rows": {"anomaly score": figures(records["train"]), "anomaly score, int8": figures(records["quantize"])}}


def run_seed(cells: Any, weights: Path | None, seed: int, out: Path, *, smoke: bool, anomaly: bool) -> dict[str, Any]:
    """The parts that are asked for, each kept in a file when it is finished."""
    data = split_cells(cells, seed)
    epochs = dict.fromkeys(EPOCHS, 1) if smoke else EPOCHS
    parts = {
        "inspection": partial(inspect_cells, epochs=epochs),
        "anomaly": partial(find_anomalies, epochs=epochs["anomaly"]),
    }
    if not anomaly:
        del parts["anomaly"]
    result: dict[str, Any] = {"rows": {}, "cpu_s": 0.0}
    for name, part in parts.items():
        file = out / f"{name}{seed}{'-smoke' if smoke else ''}.json"
        if not file.exists():
            started = time.process_time()
            finished = part(data, weights, seed, out) | {"cpu_s": time.process_time() - started}
            file.write_text(json.dumps(finished), encoding="utf-8")
        read = json.loads(file.read_text(encoding="utf-8"))
        result |= read | {"rows": result["rows"] | read["rows"], "cpu_s": result["cpu_s"] + read["cpu_s"]}
    folder = next(each for each in (out / f"cells{seed}").iterdir() if (each / "record.json").exists())
    files = {name: folder / path for name, path in FILES.items()}
    timings = measure(files, input_arrays(next(iter(data.test.ordered(1)))), TimingPlan.of(0.1 if smoke else 3.0))
    result["speedups"] = {name: values(speedup(timings["teacher"], timings[name])) for name in FILES}
    result["latency_ms"] = {name: timings[name].p50.value for name in FILES}
    return result | {"counts": {name: len(getattr(data, name)) for name in ("train", "validation", "test")}}


def figures(stage: StageRecord) -> dict[str, Any]:
    """Value, low and high end of each quantity of a network."""
    quantities = {**stage.after, **stage.results}
    names = ("recall_at_fpr", "false_alarm_rate", "auroc", "recall_likely", "recall_certain", "size_bytes", "latency_ms")
    return {name: values(quantities[name]) if name in quantities else None for name in names}


def values(quantity: Quantity) -> list[float | None]:
    """Value, low and high end."""
    return [quantity.value, quantity.low, quantity.high]


def introduction(results: dict[int, dict[str, Any]], start: str, *, smoke: bool) -> str:
    """What the section is about.

    Args:
        results: By seed.
        start: Initial weights of teacher and reference.
        smoke: Whether the run is of toy size.
    """
    counts = results[min(results)]["counts"]
    minutes = np.mean([each["cpu_s"] for each in results.values()]) / 60
    return (
        "Photographs of solar cells by electroluminescence (`elpv-dataset`, CC BY-NC-SA 4.0, not part of this repository), "
        f"{SIZE} × {SIZE} pixels, grey; {counts['train']} cells to train on, {counts['validation']} for validation, "
        f"{counts['test']} for the test. Classes are good, likely and certainly defective; the cells that the experts call "
        "possibly defective are left out. The teacher is a MobileNetV2. The student is the teacher pruned to "
        f"{100 * KEPT_MACS:.0f} % of its arithmetic and trained again, on labels alone or with the teacher. Teacher and "
        f"anomaly reference start from {start}. The anomaly score never saw a defective cell. Thresholds are chosen on good "
        f"validation cells for 5 % false alarms. Split and networks by seed {', '.join(map(str, sorted(results)))}"
        f"{' (toy size: 1 epoch)' if smoke else ''}; {minutes:.1f} min of CPU per seed. By "
        "`tests/benchmarks/bench_inspection.py`."
    )


def main() -> None:
    """Run what the arguments ask for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cells", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--smoke", action="store_true")
    parser.add_argument("--without-anomaly", action="store_true", help="leave the anomaly score out")
    parser.add_argument("--page", type=Path)
    arguments = parser.parse_args()
    results: dict[int, dict[str, Any]] = {}
    text = ""
    for seed in map(int, arguments.seeds.split(",")):
        results[seed] = run_seed(
            read_cells(arguments.cells),
            arguments.weights,
            seed,
            arguments.out,
            smoke=arguments.smoke,
            anomaly=not arguments.without_anomaly,
        )
        start = "ImageNet's weights of MobileNetV2" if arguments.weights else "random weights"
        text = section(results, introduction(results, start, smoke=arguments.smoke))
        if arguments.page:
            replace_section(arguments.page, text)
    print(text)


if __name__ == "__main__":
    main()
