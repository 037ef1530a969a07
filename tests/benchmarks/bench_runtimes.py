"""Latency of five networks in every runtime, float and int8, all rows of a network in one interleaved session.

    nice -n 5 python tests/benchmarks/bench_runtimes.py --cache /tmp/runtimes --side 128 --seconds 0.5

Batch 1, one thread; random weights and inputs, so that differences of outputs are shown and no accuracy. The statistics of
batch normalisation are those of random inputs: with the initial ones activations shrink from layer to layer below the smallest
scale that some quantizers allow, and their files answer zeros. Each network has its
float ONNX file and our int8 files with the placements for ONNX Runtime and OpenVINO, converted for every installed runtime.
Beside them are each converter's own default quantization (`runtime_defaults.py`) with the same calibration inputs. A conversion
that fails is a row with its reason. Converted files and results are kept in the cache: a rerun continues, and `--print` prints
what is there. Every row also has its error against the float network: ‖y − y_float‖ ÷ ‖y_float‖ over held-out inputs. With
`--processor-time` rows have the processor time of an inference, for a machine that others use.

Two figures over all networks, as geometric means. Our choice is the fastest of our rows whose outputs agree with their ONNX
file.

- our choice ÷ the best single runtime: the one pair of runtime and number format with the smallest geometric mean (goal ≤ 0.9);
- our int8 row ÷ the converter's own default in the same runtime, for each runtime where both ran.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from torch import Tensor, nn

from compress.backends import onnx_files
from compress.backends import onnx_graph as graphs
from compress.backends.converted.convert import convert_file, converter_of, target_name
from compress.backends.converted.sidecar import read_sidecar
from compress.backends.export_onnx import export_onnx
from compress.backends.open_runner import open_runner
from compress.config.devices import load_device
from compress.core.errors import CompressError
from compress.core.network_spec import NetworkSpec, image_spec
from compress.core.progress import NullReporter
from compress.core.signature import AxisSizes, Signature, TensorSpec
from compress.profile.fastest_runtime import compare_runtimes
from compress.profile.runtimes.compare import RuntimeComparison, compare
from compress.profile.runtimes.entrants import Entrant
from compress.profile.settings import MeasurementSettings
from compress.quantize.settings import CalibrationSettings, PTQSettings
from compress.quantize.static_int8 import Int8Format, plan_static_int8
from compress.quantize.target_requirements import needs_7bit_weights
from tests.benchmarks.runtime_defaults import ENDINGS

GOAL = 0.9
CALIBRATION, HELD_OUT = 16, 16
SETTLING, SETTLING_BATCH = 64, 16
RUNTIMES = ("onnxruntime", "openvino", "ort", "litert", "executorch", "mnn", "ncnn")
ROUNDS, RUNS_IN_ROUND = 40, 3
LENGTH, VOCABULARY = 64, 5000
FLOAT, OURS, DEFAULT = "float", "int8", "default int8"
Inputs = dict[str, np.ndarray]


class TextEncoder(nn.Module):
    """BERT with the widths of MiniLM, six layers of 384, and a classifier on the mean of its states."""

    def __init__(self) -> None:
        super().__init__()
        from transformers import BertConfig, BertModel

        sizes = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536}
        config = BertConfig(vocab_size=VOCABULARY, max_position_embeddings=512, attn_implementation="eager", **sizes)
        self.bert = BertModel(config, add_pooling_layer=False)
        self.head = nn.Linear(384, 10)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Logits, (N, 10)."""
        states = self.bert(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        mask = attention_mask.unsqueeze(-1).to(states.dtype)
        return self.head((states * mask).sum(1) / mask.sum(1))  # type: ignore[no-any-return]


def vit_tiny(side: int) -> nn.Module:
    """A vision transformer of DeiT-Ti's width."""
    return torchvision.models.VisionTransformer(side, 16, num_layers=12, num_heads=3, hidden_dim=192, mlp_dim=768)


TEXT = "text encoder"
NETWORKS: dict[str, Callable[[int], nn.Module]] = {
    "MobileNetV2": lambda _: torchvision.models.mobilenet_v2(),
    "ResNet-18": lambda _: torchvision.models.resnet18(),
    TEXT: lambda _: TextEncoder(),
    "ViT-Tiny": vit_tiny,
    "EfficientNet-B0": lambda _: torchvision.models.efficientnet_b0(),
}


def spec_of(name: str, side: int) -> NetworkSpec:
    """Inputs of a network."""
    if name != TEXT:
        names = tuple(map(str, range(1000)))
        return image_spec(channels=3, height=side, width=side, mean=(0.5,) * 3, std=(0.25,) * 3, classes=names)
    values = {"input_ids": (0, VOCABULARY - 1), "attention_mask": (1, 1)}
    inputs = tuple(
        TensorSpec(name=each, dtype="int64", shape=("batch", "sequence"), values=pair) for each, pair in values.items()
    )
    outputs = (TensorSpec(name="logits", shape=("batch", 10)),)
    sizes = {"sequence": AxisSizes(1, LENGTH, 512)}
    return NetworkSpec(signature=Signature(inputs=inputs, outputs=outputs, sizes=sizes), classes=tuple(map(str, range(10))))


def samples_of(name: str, side: int, count: int, seed: int) -> list[Inputs]:
    """Random inputs of one sample each: smooth pictures, so that channels differ between samples; or tokens."""
    random = np.random.default_rng(seed)
    if name == TEXT:
        ids = random.integers(0, VOCABULARY, (count, LENGTH))
        return [{"input_ids": row[None], "attention_mask": np.ones((1, LENGTH), np.int64)} for row in ids]
    coarse = torch.from_numpy(random.normal(size=(count, 3, 6, 6)).astype(np.float32)) * 1.5
    pictures = nn.functional.interpolate(coarse, (side, side), mode="bilinear").numpy()
    return [{"input": picture[None]} for picture in pictures]


def settled(network: nn.Module, samples: list[Inputs]) -> nn.Module:
    """The network, with the statistics of these samples in its batch normalisations."""
    network.eval()
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None  # the plain mean over batches
        norm.reset_running_stats()
        norm.train()
    with torch.no_grad():
        for start in range(0, len(samples) if norms else 0, SETTLING_BATCH):
            batch = samples[start : start + SETTLING_BATCH]
            network(torch.from_numpy(np.concatenate([sample["input"] for sample in batch])))
    return network.eval()


def source_files(name: str, side: int, folder: Path) -> dict[str, Path]:
    """The float file and our int8 file, by subject; that of OpenVINO is beside it."""
    files = {FLOAT: folder / "float.onnx", OURS: folder / "int8.onnx"}
    if files[OURS].is_file():
        return files
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    spec = spec_of(name, side)
    export_onnx(settled(NETWORKS[name](side), samples_of(name, side, SETTLING, 3)), spec, files[FLOAT])
    plan = plan_static_int8(
        graphs.to_ir(onnx_files.load(files[FLOAT])),
        samples_of(name, side, CALIBRATION, 1),
        Int8Format(("onnxruntime", "openvino"), seven_bit_weights=needs_7bit_weights()),
        CalibrationSettings(),
        PTQSettings(smooth=0.5) if name == TEXT else PTQSettings(),
    )
    onnx_files.save(plan.build("openvino", (), spec), folder / "int8.openvino.onnx")
    onnx_files.save(plan.build("onnxruntime", (), spec), files[OURS])
    return files


def our_entrant(subject: str, runtime: str, source: Path, example: Inputs, folder: Path) -> Entrant:
    """A file in a runtime, converted unless the cache has it."""
    fields = (subject, "float" if subject == FLOAT else "int8", runtime, source)
    if converter_of(runtime) is None:
        own = source.with_name(f"{source.stem}.{runtime}{source.suffix}")
        return Entrant(*fields, own if own.is_file() else source, "nothing" if subject == FLOAT else "all")
    place = folder / f"{subject}-{runtime}"
    target, reason = place / target_name(runtime), place / "reason.txt"
    if not target.is_file() and not reason.is_file():
        try:
            convert_file(runtime, source, target, example)
        except CompressError as error:
            place.mkdir(parents=True, exist_ok=True)
            reason.write_text(str(error), encoding="utf-8")
    if reason.is_file():
        return Entrant(*fields, reason=reason.read_text(encoding="utf-8"))
    return Entrant(*fields, target, read_sidecar(target).carried)


def default_entrant(runtime: str, source: Path, samples: list[Inputs], folder: Path) -> Entrant:
    """The converter's own default quantization, made in a process of its own unless the cache has it."""
    fields = (DEFAULT, "int8", runtime, source)
    place = folder / f"default-{runtime}"
    place.mkdir(parents=True, exist_ok=True)
    target = place / f"model{ENDINGS[runtime]}"
    reason = target.with_suffix(".reason")
    if not target.is_file() and not reason.is_file():
        float_file = folder / f"{FLOAT}-{runtime}" / target_name(runtime) if converter_of(runtime) else None
        with tempfile.TemporaryDirectory() as name:
            arrays = {key: np.concatenate([sample[key] for sample in samples]) for key in samples[0]}
            np.savez(Path(name) / "samples.npz", **arrays)  # type: ignore[arg-type]
            arguments = [runtime, source, target, Path(name) / "samples.npz", float_file or ""]
            command = [sys.executable, "-m", "tests.benchmarks.runtime_defaults", *map(str, arguments)]
            ran = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False, env=os.environ)
        if ran.returncode and not reason.is_file():
            reason.write_text(json.dumps(f"ended with {ran.returncode}: {ran.stderr[-300:]}"), encoding="utf-8")
    if reason.is_file():
        return Entrant(*fields, reason=json.loads(reason.read_text(encoding="utf-8")))
    return Entrant(*fields, target, "weights" if runtime == "mnn" else "all")


def errors_of(rows: Iterable[tuple[Mapping[str, Any], Entrant]], source: Path, held_out: list[Inputs]) -> dict[str, float]:
    """‖y − y_float‖ ÷ ‖y_float‖ of each row that ran, over held-out inputs; y_float in ONNX Runtime."""
    with open_runner("onnxruntime", source) as runner:
        expected = np.concatenate([runner.run(sample)[0] for sample in held_out])
    errors = {}
    for row, entrant in rows:
        if row["reason"] or entrant.file is None:
            continue
        with open_runner(entrant.runtime, entrant.file) as runner:
            found = np.concatenate([runner.run(sample)[0] for sample in held_out])
        errors[entrant.name] = float(np.linalg.norm(found - expected) / np.linalg.norm(expected))
    return errors


def processor_times(entrants: Sequence[Entrant], feeds: Mapping[str, list[Inputs]]) -> list[dict[str, Any]]:
    """Rows with the processor time of an inference in place of its latency: all threads of this process, files in turns.

    The interval is from the first to the third quartile of the rounds. Other processes on the machine lengthen the latency by
    the time that they run, and the processor time only by what they take of caches and memory.
    """
    rows: list[dict[str, Any]] = []
    with ExitStack() as stack:
        runs: dict[int, Callable[[], object]] = {}
        for index, entrant in enumerate(entrants):
            row = {"subject": entrant.subject, "precision": entrant.precision, "runtime": entrant.runtime, "keeps": False}
            rows.append(row | {"reason": entrant.reason, "carried": entrant.carried, "version": ""})
            if entrant.reason or entrant.file is None:
                continue
            try:
                runner = stack.enter_context(open_runner(entrant.runtime, entrant.file))
                batches = feeds[entrant.subject]
                with open_runner("onnxruntime", entrant.source) as reference:
                    expected = [reference.run(batch) for batch in batches]
                agreement = compare_runtimes(expected, [runner.run(batch) for batch in batches])
            except CompressError as error:
                rows[-1]["reason"] = str(error)
                continue
            rows[-1] |= {"keeps": agreement.holds, "version": runner.describe()["runtime"]}
            rows[-1]["size_bytes"] = {"value": entrant.size_bytes}
            runs[index] = partial(runner.run, batches[0])
        times: dict[int, list[float]] = {index: [] for index in runs}
        for number in range(ROUNDS):
            for index in [*runs][:: 1 if number % 2 == 0 else -1]:
                start = time.process_time_ns()
                for _ in range(RUNS_IN_ROUND):
                    runs[index]()
                times[index].append((time.process_time_ns() - start) / 1e6 / RUNS_IN_ROUND)
    for index, found in times.items():
        low, middle, high = np.percentile(found, (25, 50, 75))
        rows[index]["latency_p50_ms"] = {"value": float(middle), "low": float(low), "high": float(high)}
    return rows


def measure(name: str, side: int, seconds: float | None, cache: Path, runtimes: Sequence[str]) -> list[dict[str, Any]]:
    """All rows of a network; without seconds, with the processor time in place of the latency."""
    folder = cache / f"{name}-{side}"
    files = source_files(name, side, folder)
    calibration, held_out = samples_of(name, side, CALIBRATION, 1), samples_of(name, side, HELD_OUT, 2)
    entrants = []
    for subject, source in files.items():
        for runtime in runtimes:
            entrants.append(our_entrant(subject, runtime, source, held_out[0], folder))
            print(f"{name}: {entrants[-1].name} {entrants[-1].reason[:120]}", file=sys.stderr, flush=True)
    for runtime in [name for name in ENDINGS if name in runtimes]:
        entrants.append(default_entrant(runtime, files[FLOAT], calibration, folder))
        print(f"{name}: {entrants[-1].name} {entrants[-1].reason[:120]}", file=sys.stderr, flush=True)
    load = os.getloadavg()[0]
    feeds = dict.fromkeys((*files, DEFAULT), held_out)
    if seconds is None:
        rows = processor_times(entrants, feeds)
        errors = errors_of([(row, entrant) for row, entrant in zip(rows, entrants, strict=True)], files[FLOAT], held_out)
        return [{**row, "error": errors.get(entrant.name), "load": load} for row, entrant in zip(rows, entrants, strict=True)]
    device = load_device("host")
    plan = MeasurementSettings.of(device, threads=1, seconds=seconds)
    results = compare(entrants, RuntimeComparison(device, plan, feeds), NullReporter())
    errors = errors_of([(each.as_row(), each.entrant) for each in results], files[FLOAT], held_out)
    return [{**each.as_row(), "error": errors.get(each.entrant.name), "load": load} for each in results]


def median_ms(row: Mapping[str, Any]) -> float | None:
    """Median latency; None where it was not measured."""
    value = (row.get("latency_p50_ms") or {}).get("value")
    return None if value is None else float(value)


def cells(name: str, row: Mapping[str, Any], chosen: bool) -> str:
    """A row of the table."""
    if row["reason"]:
        reason = " ".join(str(row["reason"]).split())[:200].replace("|", "/")
        return f"| {name} | {row['subject']} | {row['runtime']} | - | - | - | {reason} |"
    took, size = row["latency_p50_ms"], row["size_bytes"]["value"] / 1e6
    mark = "our choice" if chosen else "" if row["keeps"] else "outputs differ"
    time = f"{took['value']:.3g} ({took['low']:.3g}–{took['high']:.3g})"
    return f"| {name} | {row['subject']} | {row['version']} | {time} | {size:.2f} | {row['error']:.2g} | {mark} |"


def choice(rows: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The fastest of our rows whose outputs agree."""
    ours = [row for row in rows if row["subject"] != DEFAULT and row["keeps"] and median_ms(row) is not None]
    return min(ours, key=lambda row: median_ms(row) or math.inf, default=None)


def geometric_mean(values: Iterable[float]) -> float:
    """exp of the mean of the logarithms."""
    return math.exp(float(np.mean(np.log([*values]))))


def judge(measured: Mapping[str, list[dict[str, Any]]]) -> float:
    """Print both figures; returns the first."""
    times: dict[tuple[str, str], list[float]] = {}
    ratios: dict[str, list[float]] = {}
    for rows in measured.values():
        value_of = {(row["subject"], row["runtime"]): median_ms(row) for row in rows}
        for row in rows:
            value = median_ms(row)
            if value is not None and row["keeps"] and row["subject"] != DEFAULT:
                times.setdefault((row["subject"], row["runtime"]), []).append(value)
            ours = value_of.get((OURS, row["runtime"]))
            if row["subject"] == DEFAULT and value is not None and ours is not None:
                ratios.setdefault(row["runtime"], []).append(ours / value)
    chosen = [median_ms(row) or math.inf for rows in measured.values() if (row := choice(rows))]
    means = {key: geometric_mean(values) for key, values in times.items() if len(values) == len(measured)}
    best = min(means, key=lambda key: means[key])
    ratio = geometric_mean(chosen) / means[best]
    print(f"\n{len(measured)} networks. Our choice ÷ best single ({' '.join(best)}): {ratio:.3f} (goal {GOAL})")
    for runtime, values in ratios.items():
        print(f"our int8 ÷ {runtime}'s own default: {geometric_mean(values):.3f} over {len(values)} networks")
    return ratio


def main() -> int:
    """Make, convert, time, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--only", default="", help="networks, by comma; all by default")
    parser.add_argument("--runtimes", default=",".join(RUNTIMES))
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--seconds", type=float, default=2.0, help="counted time of each row")
    parser.add_argument(
        "--processor-time", action="store_true", help="processor time in place of latency, on a machine that others use"
    )
    parser.add_argument("--print", action="store_true", dest="only_print", help="print the results of the cache")
    given = parser.parse_args()
    measured = {}
    for name in [name for name in given.only.split(",") if name] or list(NETWORKS):
        kept = given.cache / f"{name}-{given.side}.json"
        if not kept.is_file() and not given.only_print:
            rows = measure(
                name, given.side, None if given.processor_time else given.seconds, given.cache, given.runtimes.split(",")
            )
            kept.write_text(json.dumps(rows, indent=1), encoding="utf-8")
        if kept.is_file():
            measured[name] = json.loads(kept.read_text(encoding="utf-8"))
    print("| network | numbers | runtime | p50, ms | MB | error | |\n|---|---|---|---|---|---|---|")
    for name, rows in measured.items():
        for row in sorted(rows, key=lambda row: median_ms(row) or math.inf):
            print(cells(name, row, row is choice(rows)), flush=True)
    return 0 if measured and judge(measured) <= GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
