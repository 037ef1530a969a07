from pathlib import Path
from typing import Any

import pytest

from compress.core.budget import Budget, check_budget
from compress.core.fact import SKIPPED, Fact
from compress.core.network_spec import image_spec
from compress.core.record import BenchmarkRow, Curve, Metrics, Quantity, StageRecord
from compress.core.run_record import RunRecord
from compress.pipeline.report.write import write
from compress.tasks.classification import ACCURACY

RECIPE = """# What:    ResNet-50 teacher, MobileNetV2 student, for a phone CPU and a Jetson
name: resnet50_to_mobilenet
seed: 0
budget: {accuracy_drop: 0.01, size_mb: 1.0, latency_ms: {host: 1.0, jetson_orin_nano: 0.5}, power_w: {jetson_orin_nano: 7}}
"""
VERSIONS = {"torch": "2.15.0", "onnx": "1.19.0", "onnxruntime": "1.22.0", "numpy": "2.3.1"}
WILSON = "torch, test split; 95 % Wilson interval"


def card(accuracy: float, size: float, parameters: float, macs: float, latency: float, where: str = WILSON) -> Metrics:
    interval = (accuracy - 0.012, min(1.0, accuracy + 0.009))
    return {
        "accuracy": Quantity.measured(accuracy, "fraction", where, interval=interval, runs=540),
        "accuracy_validation": Quantity.measured(accuracy + 0.003, "fraction", where.replace("test", "validation"), runs=189),
        "size_bytes": Quantity.measured(size, "bytes", "ONNX file on disk"),
        "parameters": Quantity.measured(parameters, "1", "counted on the module"),
        "macs": Quantity.measured(macs, "MAC", "counted on the module, one sample"),
        "latency_ms": Quantity.measured(
            latency,
            "ms",
            "ONNX Runtime 1.22, host, 1 thread, batch 1",
            interval=(latency * 0.985, latency * 1.02),
            runs=round(600 / latency),
        ),
    }


def rows_on(device: str, runtime: str, factor: float, *, estimated: bool) -> tuple[BenchmarkRow, ...]:
    rows = []
    for subject, latency, size in (("teacher", 28.4, 94.3e6), ("student", 2.31, 9.12e6), ("artifact", 0.612, 0.611e6)):
        p50 = latency * factor
        if estimated:
            model = f"roofline of {device}: int8 peak and bandwidth of its profile; known to be off by up to 2 times"
            quantities = {"latency_p50_ms": Quantity.estimated(p50, "ms", model, band=(p50 / 2, p50 * 2))}
            quantities["latency_p99_ms"] = Quantity.missing("ms", f"{device} was not reached; an estimate has no spread")
            quantities["power_w"] = Quantity.missing("W", "no sensor: the board was not connected")
        else:
            session = "ONNX Runtime 1.22, 1 thread, batch 1, interleaved with the others"
            quantities = {
                f"latency_p{q}_ms": Quantity.measured(
                    p50 * f, "ms", session, interval=(p50 * f * 0.98, p50 * f * 1.03), runs=900
                )
                for q, f in ((50, 1.0), (90, 1.09), (99, 1.4))
            }
            quantities["throughput_per_s"] = Quantity.measured(1000 / p50, "1/s", session, runs=900)
            quantities["memory_bytes"] = Quantity.measured(size * 1.6 + 31e6, "bytes", "peak resident set of a fresh process")
            quantities["power_w"] = Quantity.missing("W", "RAPL counters are not readable here (permission denied)")
        quantities["size_bytes"] = Quantity.measured(size, "bytes", "file on disk")
        rows.append(BenchmarkRow(subject=subject, device=device, runtime=runtime, quantities=quantities))
    return tuple(rows)


def epochs(count: int, start: float, end: float, y_label: str) -> Curve:
    ys = tuple(end + (start - end) * 0.6**i for i in range(count))
    return Curve(x_label="epoch", y_label=y_label, x=tuple(range(1, count + 1)), y=ys)


def stage(index: int, name: str, before: Metrics, after: Metrics, **more: Any) -> StageRecord:
    return StageRecord(
        index=index,
        name=name,
        key=f"{index}f3a9c0d1b2e4",
        parent_key=f"{index - 1}f3a9c0d1b2e4" if index else "",
        form=more.pop("form", "torch"),
        parameters=more.pop("parameters", {"epochs": 10, "losses": [{"response": {"temperature": 4.0, "weight": 0.7}}]}),
        before=before,
        after=after,
        seed=1000 + index,
        versions=VERSIONS,
        started=f"2025-11-21T09:0{index}:00Z",
        wall_time_s=more.pop("wall_time_s", 61.3 * (index + 1)),
        files=more.pop("files", {"model.safetensors": f"{index}" * 64}),
        **more,
    )


def make_record() -> RunRecord:
    teacher = card(0.9796, 94.3e6, 23.6e6, 336e6, 28.4)
    start = card(0.1, 9.12e6, 2.24e6, 25.6e6, 2.31)
    distilled = card(0.9741, 9.12e6, 2.24e6, 25.6e6, 2.31)
    pruned = card(0.9704, 2.31e6, 0.56e6, 12.7e6, 1.24)
    quantized = card(0.9685, 0.611e6, 0.56e6, 12.7e6, 0.612, WILSON.replace("torch", "ONNX Runtime"))
    drop = Quantity.measured(
        0.0111, "fraction", "against teacher, same 540 test samples, paired 95 % interval", interval=(-0.002, 0.024)
    )
    final = {**quantized, "accuracy_drop": drop.model_copy(update={"runs": 540})}
    curves = {
        "loss": epochs(10, 2.3, 0.2, "loss"),
        "loss_validation": epochs(10, 2.4, 0.35, "loss_validation"),
        "accuracy_validation": epochs(10, 0.3, 0.975, "accuracy_validation"),
        "learning rate": Curve(x_label="epoch", y_label="learning rate", x=(1, 2, 3), y=(1e-4, 1e-3, None)),
    }
    steps = tuple(
        {
            "step": i,
            "macs": round(25.6e6 * (1 - 0.126 * i)),
            "parameters": round(2.24e6 * (1 - 0.1875 * i)),
            "sparsity": 0.0,
            "accuracy_pruned": 0.975 - 0.08 * i,
            "accuracy_recovered": 0.975 - 0.001 * i,
        }
        for i in range(5)
    )
    pruning = {
        f"step-{i} {name}": epochs(2, 0.4 / i, 0.3 / i, name) for i in (1, 2, 3, 4) for name in ("loss", "loss_validation")
    }
    control = Quantity.measured(
        0.963, "fraction", "torch, test split, student trained alone for as long", interval=(0.943, 0.976), runs=540
    )
    parity = {
        "parity_max_abs": Quantity.measured(0.00031, "1", "largest difference of outputs, torch against ONNX Runtime", runs=540)
    }
    layers = tuple({"layer": f"features.{i}.conv", "kept": 16 + i, "of": 32, "frozen": i == 0} for i in range(12))
    skips = tuple(Fact.of(SKIPPED, f"features.{i}", reason="depthwise: follows its neighbour") for i in range(3))
    devices = (
        *rows_on("host", "onnxruntime 1.22 CPU", 1.0, estimated=False),
        *rows_on("mobile_cpu", "onnxruntime (assumed)", 1.9, estimated=True),
        *rows_on("jetson_orin_nano", "TensorRT 10.3 (assumed)", 0.4, estimated=True),
        *rows_on("desktop_gpu", "TensorRT 10.3 (assumed)", 0.05, estimated=True),
    )
    budget = Budget(
        accuracy_drop=0.01, size_mb=1.0, latency_ms={"host": 1.0, "jetson_orin_nano": 0.4}, power_w={"jetson_orin_nano": 7.0}
    )
    stages = (
        stage(1, "distill", start, distilled, curves=curves, results={"control_accuracy": control}),
        stage(2, "prune", distilled, pruned, curves=pruning, tables={"pruning_steps": steps, "layers": layers}, skipped=skips),
        stage(3, "quantize", pruned, quantized, form="onnx", notes=("Softmax was left in float: it costs nothing.",)),
        stage(
            4,
            "export",
            quantized,
            quantized,
            form="onnx",
            results=parity,
            skipped=(Fact.of(SKIPPED, "tensorrt", reason="no NVIDIA GPU here"),),
        ),
        stage(5, "profile", quantized, final, form="onnx", benchmark_rows=devices),
    )
    return RunRecord(
        name="resnet50_to_mobilenet",
        recipe={"name": "resnet50_to_mobilenet", "budget": budget.model_dump(mode="json")},
        recipe_text=RECIPE,
        spec=image_spec(channels=3, height=64, width=64, mean=(0.5,) * 3, std=(0.25,) * 3, classes=tuple("0123456789")),
        data={"source": "digits", "train": 1068, "validation": 189, "test": 540},
        teacher=stage(0, "teacher", {}, teacher, curves={"training loss": epochs(6, 2.2, 0.1, "loss")}),
        start=start,
        stages=stages,
        verdict=check_budget(budget, metrics=final, rows=devices, limited=(ACCURACY,)),
        environment={"os": "Linux 6.8", "cpu": "Intel Xeon, 2 cores, governor performance", "python": "3.11.9"},
        started="2025-11-21T09:00:00Z",
        wall_time_s=437.2,
    )


@pytest.fixture(scope="session")
def record() -> RunRecord:
    return make_record()


@pytest.fixture(scope="session")
def written(record: RunRecord, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ...]:
    """The report of `record`: its files."""
    return write(record, tmp_path_factory.mktemp("report"))
