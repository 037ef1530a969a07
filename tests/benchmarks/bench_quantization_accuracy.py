"""Accuracy loss of quantization on `glyphs`, and the part that each pass of post-training quantization recovers.

    python tests/benchmarks/bench_quantization_accuracy.py --out DIR [--parts w8a8,equalize,w4a8,w3a8,mixed] [--smoke]

Parts: `w8a8`: six networks with the stage's defaults and with other settings; `equalize`: channels rescaled by 1/100 to 100
    without
changing the function, per-tensor W8A8 with and without equalization; `w4a8`: MobileNetV2 and MobileNetV3-Large with 4-bit
weights per channel, adding one pass at a time; `w3a8`: the same networks with 3-bit weights, without passes and with all of
them; `mixed`: the search for layers to keep in float, compared with all subsets of the layers of a small network. Accuracy is
that of the file under ONNX Runtime, on test images of fonts that are not in the training data. DIR stores each finished unit
as JSON; an interrupted training continues with its last epoch. DIR may be that of `bench_pruning.py`, whose dense networks
are reused. Prints Markdown tables.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from glyph_networks import BATCH, Bench, opened
from torch import nn

from compress.backends import onnx_files, onnx_session
from compress.backends import onnx_graph as graphs
from compress.backends.compare_on_split import collect_outputs
from compress.backends.feeds import group_samples
from compress.core.stage import Candidate, Context
from compress.core.statistics import paired_difference
from compress.quantize.mixed_precision.deadline import Deadline
from compress.quantize.mixed_precision.fewest_float_layers import search
from compress.quantize.mixed_precision.trial import TrialBuilder
from compress.quantize.ptq.cross_layer_equalization import find_pairs
from compress.quantize.ptq.weighted_layers import read_weight
from compress.quantize.settings import CalibrationSettings, PTQSettings
from compress.quantize.stage import Quantize
from compress.quantize.static_int8 import Int8Format, plan_static_int8
from compress.quantize.target_requirements import needs_7bit_weights
from compress.tasks.calibration_samples import samples_of_classes
from compress.tasks.classification import Classification

NETWORKS = {
    "MobileNetV2": "mobilenet_v2",
    "MobileNetV3-Large": "mobilenet_v3_large",
    "ResNet-18": "resnet18",
    "RegNetY-400MF": "regnet_y_400mf",
    "EfficientNet-B0": "efficientnet_b0",
    "ViT": "vit",
}
FOUR_BITS = ("MobileNetV2", "MobileNetV3-Large")
SKEWED = ("ResNet-18", "RegNetY-400MF")
EIGHT_BITS: dict[str, dict[str, Any]] = {
    ", percentile": {"calibration": {"method": "percentile"}},
    "": {},
    ", smooth": {"ptq": {"smooth": 0.5}},
    ", learned": {"calibration": {"learn_epochs": 12}},
    ", smooth and learned": {"calibration": {"learn_epochs": 12}, "ptq": {"smooth": 1.0}},
}
FACTOR = 100.0
W4 = {"bits": 4}
MSE = {**W4, "range": "mse"}
END = "adaround, mse steps, bias correction"
PASSES: dict[str, dict[str, Any]] = {
    "nearest": {"ptq": {"weights": W4}},
    "nearest, bias correction": {"ptq": {"weights": W4, "bias_correction": "empirical"}},
    "adaround": {"ptq": {"weights": {**W4, "rounding": "adaround"}}},
    "gptq, mse steps, bias correction": {"ptq": {"weights": {**MSE, "rounding": "gptq"}, "bias_correction": "empirical"}},
    "brecq, mse steps": {"ptq": {"weights": {**MSE, "rounding": "brecq"}}},
    "nearest, then recovery by training": {
        "ptq": {"weights": W4},
        "recover": {"epochs": 1, "batch_size": BATCH, "lr": 2e-4, "keep": "last"},
    },
    END: {"ptq": {"weights": {**MSE, "rounding": "adaround"}, "bias_correction": "empirical"}},
}
"""Fields of the stage for 4-bit weights; the last has all passes, and the goal is for it."""
W3 = {"bits": 3}
ENDS: dict[str, dict[str, Any]] = {
    "nearest": {"ptq": {"weights": W3}},
    "nearest, bias correction": {"ptq": {"weights": W3, "bias_correction": "empirical"}},
    END: {"ptq": {"weights": {**W3, "range": "mse", "rounding": "adaround"}, "bias_correction": "empirical"}},
}
"""Fields of the stage for 3-bit weights."""


@dataclass(frozen=True)
class Files:
    """The float files of a bench's networks, and what is made of them."""

    bench: Bench
    names: tuple[str, ...]
    smoke: bool

    def dense(self, name: str) -> Path:
        """The trained network's float file."""
        self.module(name)
        return self.bench.out / f"dense-{name}-0.onnx"

    def module(self, name: str) -> nn.Module:
        """The trained network."""
        return self.bench.dense(name, 0)

    def floats(self, source: Path) -> dict[str, Any]:
        """What a float file answers on the test split."""

        def compute(_: Path) -> dict[str, Any]:
            correct, answers = self.correct(source)
            return {"correct": correct.tolist(), "answers": answers.tolist()}

        return self.bench.unit(f"answers-{source.stem}", compute)

    def correct(self, path: Path) -> tuple[np.ndarray, np.ndarray]:
        """1 for each test image that is right, and each one's answer."""
        task = Classification()
        collected = collect_outputs(path, self.bench.data.test, task)
        scores = task.deciding.scores(collected.outputs, collected.targets).double().numpy()
        return scores, collected.outputs["logits"].argmax(1).numpy()

    def quantized(self, name: str, source: Path, fields: dict[str, Any], module: nn.Module | None = None) -> dict[str, Any]:
        """One quantization by the stage, scored on the test split beside its float parent."""

        def compute(folder: Path) -> dict[str, Any]:
            data = self.bench.data
            context = Context(
                data,
                Classification(),
                folder,
                folder / "cache",
                device="cpu",
                to_onnx=lambda _: source,
            )
            stage = Quantize(**fields, accept_if=None)
            outcome = (stage.smoke() if self.smoke else stage).run(Candidate(data.spec, module), context)
            after, found = self.correct(outcome.candidate.files["onnxruntime"])
            before = self.floats(source)
            return {
                "correct": after.tolist(),
                "float": before["correct"],
                "agreement": float((np.array(before["answers"]) == found).mean()),
                "results": {key: value.model_dump(mode="json") for key, value in outcome.results.items()},
                "notes": outcome.notes,
            }

        return self.bench.unit(name, compute)


def _slug(label: str) -> str:
    return label.replace(", ", "-").replace(" ", "_")


def drop(found: dict[str, Any]) -> tuple[float, str]:
    """Points lost, and the cell that says so with the paired interval."""
    lost, low, high = paired_difference(found["float"], found["correct"])
    return 100 * lost, f"{100 * lost:.2f} ({100 * low:.2f} to {100 * high:.2f})"


def w8a8(files: Files) -> None:
    """Six networks by default, and with streams and linear layers smoothed."""
    print("\n| network, W8A8 | float | int8 | points lost (95 %) | agreement | worst layer | goal: ≤ 0.3 and ≥ 99 % |")
    print("|---|---|---|---|---|---|---|")
    for name in files.names:
        for label, fields in EIGHT_BITS.items():
            found = files.quantized(f"w8a8-{name}{_slug(label)}", files.dense(NETWORKS[name]), fields)
            lost, cell = drop(found)
            worst = found["results"]["sqnr_worst_layer_db"]
            met = lost <= 0.3 and found["agreement"] >= 0.99
            print(
                f"| {name}{label} | {np.mean(found['float']):.2%} | {np.mean(found['correct']):.2%} | {cell} | "
                f"{found['agreement']:.2%} | {worst['value']:.1f} dB | {'met' if met else 'missed'} |"
            )


def skewed(source: Path, path: Path) -> float:
    """Write the network with channels of each pair rescaled; the largest change of an answer, of the largest answer."""
    model = graphs.to_ir(onnx_files.load(source))
    random = np.random.default_rng(0)
    values: dict[str, np.ndarray] = {}
    for pair in find_pairs(model)[0]:
        first, second = pair.first, pair.second
        w1, w2 = (values.get(one.weight, read_weight(model, one.weight)) for one in (first, second))
        s = FACTOR ** random.uniform(-1, 1, w1.shape[first.axis]).astype(np.float32)
        values[first.weight] = w1 * s.reshape(-1, *[1] * (w1.ndim - 1))
        if first.bias:
            values[first.bias] = values.get(first.bias, read_weight(model, first.bias)) * s
        each = s.reshape(second.groups, 1, -1)  # inputs of a group's outputs
        grouped = w2.reshape(second.groups, -1, *w2.shape[1:]) / each[..., *[None] * (w2.ndim - 2)]
        values[second.weight] = grouped.reshape(w2.shape)
    made = graphs.with_initializers(model, values)
    onnx_files.save(made, path)
    x = np.random.default_rng(1).normal(size=(16, *(graphs.dims(model.graph.inputs[0]) or [])[1:]))
    before, after = (onnx_session.run(onnx_session.create_session(one), x.astype(np.float32)) for one in (model, made))
    return float(np.abs(before - after).max() / np.abs(before).max())


def equalize(files: Files) -> None:
    """Per-tensor W8A8 of rescaled networks."""
    print(
        "\n| network, W8A8 per tensor | float | as trained | rescaled | rescaled, equalized: points lost (95 %) | goal: ≤ 0.5 |"
    )
    print("|---|---|---|---|---|---|")
    for name in [one for one in SKEWED if one in files.names]:
        source, path = files.dense(NETWORKS[name]), files.bench.out / f"skewed-{name}.onnx"
        if not path.exists():
            change = skewed(source, path)
            print(f"{name}: rescaling changes answers by {change:.1e} at most", file=sys.stderr)
        plain = files.quantized(f"tensor-{name}", source, {"per_channel": False})
        broken = files.quantized(f"skewed-{name}", path, {"per_channel": False})
        healed = files.quantized(f"healed-{name}", path, {"per_channel": False, "ptq": {"equalize": True}})
        lost, cell = drop(healed)
        print(
            f"| {name} | {np.mean(plain['float']):.2%} | {np.mean(plain['correct']):.2%} | {np.mean(broken['correct']):.2%} | "
            f"{np.mean(healed['correct']):.2%}: {cell} | {'met' if lost <= 0.5 else 'missed'} |"
        )


def w4a8(files: Files) -> None:
    """4-bit weights, with one more pass at a time."""
    _pass_sequences(files, 4, PASSES)


def w3a8(files: Files) -> None:
    """3-bit weights, without passes and with all."""
    _pass_sequences(files, 3, ENDS)


def _pass_sequences(files: Files, bits: int, sequences: dict[str, dict[str, Any]]) -> None:
    for name in [one for one in FOUR_BITS if one in files.names]:
        print(f"\n| {name}, W{bits}A8 | accuracy | points lost (95 %) | of nearest's loss | agreement | processor s |")
        print("|---|---|---|---|---|---|")
        source, module, rows = files.dense(NETWORKS[name]), files.module(NETWORKS[name]), {}
        for label, fields in sequences.items():
            found = files.quantized(f"w{bits}a8-{name}-{_slug(label)}", source, fields, module)
            rows[label], cell = drop(found)
            share = f"{rows[label] / rows['nearest']:.0%}" if rows["nearest"] > 0 else "nearest loses nothing"
            print(
                f"| {label} | {np.mean(found['correct']):.2%} | {cell} | {share} | "
                f"{found['agreement']:.2%} | {found['processor_s']:.0f} |"
            )
        met = rows[END] <= 1.0 and rows[END] <= rows["nearest"] / 2
        print(f"\n{name}: {rows[END]:.2f} points lost with all passes, at most 1 and half of nearest's: {met}")


def mixed(files: Files) -> None:
    """The search against every subset."""
    print(
        "\n| six layers, weights | all quantized: points lost | fewest in float, of 64 subsets | by the search | tried | goal |"
    )
    print("|---|---|---|---|---|---|")
    for bits in (3, 4, 5, 6):
        found = files.bench.unit(f"mixed-{bits}", lambda folder, bits=bits: _mixed(files, bits, folder))
        met = "met" if found["kept"] is not None and found["kept"] <= found["fewest"] else "missed"
        print(f"| {bits} bits | {100 * found['all']:.2f} | {found['fewest']} | {found['kept']} | {found['tried']} | {met} |")


def _mixed(files: Files, bits: int, folder: Path) -> dict[str, Any]:
    model = onnx_files.load(files.dense("chain"))
    bench = files.bench
    samples = samples_of_classes(bench.data.train, 256, 0, classes=len(bench.data.spec.classes))
    ptq = PTQSettings.model_validate({"weights": {"bits": bits}})
    static = plan_static_int8(
        graphs.to_ir(model),
        group_samples(samples, 256),
        Int8Format(("onnxruntime",), seven_bit_weights=needs_7bit_weights()),
        CalibrationSettings(),
        ptq,
    )
    trials = TrialBuilder(static, (), bench.data.spec, Context(bench.data, Classification(), folder, folder))
    drops = {
        subset: trials.evaluate(subset)[0]
        for count in range(len(trials.layers) + 1)
        for subset in itertools.combinations(trials.layers, count)
    }
    order = {frozenset(subset): value for subset, value in drops.items()}
    found = search(
        trials.layers,
        lambda layers: (order[frozenset(layers)], trials.evaluate(layers)[1]),
        budget=0.002,
        deadline=Deadline(600),
    )
    return {
        "all": drops[()],
        "fewest": min(len(subset) for subset, value in drops.items() if value <= 0.002),
        "kept": len(found.float_layers) if found.within_budget else None,
        "tried": found.trials,
    }


def main() -> None:
    """Compute what is missing and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default="w8a8,equalize,w4a8,w3a8,mixed")
    parser.add_argument("--networks", default=",".join(NETWORKS))
    torch.set_num_threads(1)
    bench, given = opened(parser)
    files = Files(bench, tuple(given.networks.split(",")), given.smoke)
    print(f"torch {torch.__version__}, onnx {onnx.__version__}, {bench.size}\n")
    parts = {"w8a8": w8a8, "equalize": equalize, "w4a8": w4a8, "w3a8": w3a8, "mixed": mixed}
    for part in given.parts.split(","):
        parts[part](files)


if __name__ == "__main__":
    main()
