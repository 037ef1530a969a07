"""Latency and accuracy of our int8 and int4 files of a text encoder and of other tools' files, by sequence length.

    python tests/benchmarks/bench_text_quantization.py --encoder DIR --texts TWEETS.csv --cache /tmp/text \\
        --nncf /tmp/nncf_venv/bin/python

The encoder is a BertModel folder of transformers (6 layers of width 384 in the report); on the mean of its token vectors a
linear classifier is fitted by logistic regression. Ours: the schemes of `quantize`, with the fused attention for ONNX
Runtime; the fastest one that loses at most half a point counts, as with `scheme: auto`. Others: ONNX Runtime's
`quantize_dynamic` with its defaults, with 7-bit weights per channel, and with uint8 weights (the settings of optimum-onnx for
AVX2), and OpenVINO with NNCF's quantization for transformers. A peer that loses more than half a point is shown and does not
count as the fastest. Batch 1, one thread, all files of one length in turns. Goal: geometric mean of ours ÷ fastest other at
most 0.95, none over 1.05.

NNCF needs an environment of its own: `python -m venv /tmp/nncf_venv && /tmp/nncf_venv/bin/pip install nncf openvino onnx`.
Prints Markdown tables; exits with 1 if a goal is missed.
"""

from __future__ import annotations

import argparse
import csv
import json
import logging
import math
import shlex
import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import onnx
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from torch import Tensor, nn

from compress.backends import onnx_files
from compress.backends import onnx_graph as graphs
from compress.backends.export_onnx import export_onnx
from compress.backends.fusion.fuse import fuse
from compress.backends.onnx_cleanup import strip
from compress.backends.open_runner import open_runner
from compress.backends.openvino_runner import OpenVinoRunner, _shared_core
from compress.backends.runner_protocol import FileRunner
from compress.core.network_spec import NetworkSpec
from compress.core.signature import AxisSizes, Signature, TensorSpec
from compress.profile.fused_network import QUANTIZED_TOLERANCE
from compress.profile.latency.interleave import TimingPlan
from compress.profile.latency.timing import time_runners
from compress.profile.served_sizes import padded_example
from compress.quantize.calibration.unpadded import without_padding
from compress.quantize.schemes import SchemeOptions, build_models
from compress.quantize.settings import CalibrationSettings, PTQSettings
from compress.quantize.static_int8 import Int8Format, plan_static_int8
from compress.quantize.target_requirements import needs_7bit_weights

LENGTHS = (16, 64, 128, 512)
LOSS = 0.005
MEAN_GOAL, WORST_GOAL = 0.95, 1.05
CLASSES = ("negative", "neutral", "positive")
NNCF = """
import sys, numpy as np, nncf, openvino as ov
model = ov.Core().read_model(sys.argv[1])
samples = np.load(sys.argv[2], allow_pickle=True)
quantized = nncf.quantize(model, nncf.Dataset(list(samples)), model_type=nncf.ModelType.TRANSFORMER, subset_size=len(samples))
ov.save_model(quantized, sys.argv[3], compress_to_fp16=False)
"""
Inputs = dict[str, np.ndarray]


class Classifier(nn.Module):
    """An encoder, the mean over its tokens, and a linear classifier."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        from transformers import AutoModel

        self.bert = AutoModel.from_pretrained(folder)
        self.head = nn.Linear(self.bert.config.hidden_size, len(CLASSES))

    def pooled(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        """Mean of the token vectors (N, W)."""
        states = self.bert(input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids).last_hidden_state
        weights = attention_mask[..., None].to(states.dtype)
        pooled: Tensor = (states * weights).sum(1) / weights.sum(1)
        return pooled

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        """Logits (N, classes)."""
        logits: Tensor = self.head(self.pooled(input_ids, attention_mask, token_type_ids))
        return logits


def spec_of(vocabulary: int) -> NetworkSpec:
    """Inputs of the classifier."""
    values = {"input_ids": (0, vocabulary - 1), "attention_mask": (1, 1), "token_type_ids": (0, 0)}
    inputs = tuple(
        TensorSpec(name=name, dtype="int64", shape=("batch", "sequence"), values=pair) for name, pair in values.items()
    )
    outputs = (TensorSpec(name="logits", shape=("batch", len(CLASSES))),)
    return NetworkSpec(
        signature=Signature(inputs=inputs, outputs=outputs, sizes={"sequence": AxisSizes(1, 64, 512)}), classes=CLASSES
    )


def read_texts(path: Path, folder: Path, count: int) -> tuple[list[Inputs], np.ndarray]:
    """Texts without duplicates in random order as inputs (1, L), and their classes."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(128)
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        rows = {row["text"]: row["sentiment"] for row in csv.DictReader(file) if row["sentiment"] in CLASSES}
    texts = np.random.default_rng(0).permutation(sorted(rows))[:count]
    ids = [np.array([encoding.ids]) for encoding in tokenizer.encode_batch([str(text) for text in texts])]
    samples = [
        {"input_ids": array, "attention_mask": np.ones_like(array), "token_type_ids": np.zeros_like(array)} for array in ids
    ]
    return samples, np.array([CLASSES.index(rows[text]) for text in texts])


def fit_head(network: Classifier, samples: list[Inputs], targets: np.ndarray) -> None:
    """Fit the classifier on the frozen encoder by logistic regression with weight decay."""
    with torch.no_grad():
        pooled = torch.cat([network.pooled(**{name: torch.from_numpy(a) for name, a in sample.items()}) for sample in samples])
    labels = torch.from_numpy(targets)
    optimizer = torch.optim.LBFGS(network.head.parameters(), max_iter=200)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(network.head(pooled), labels) + 1e-3 * network.head.weight.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[arg-type,no-untyped-call]


def our_files(source: Path, spec: NetworkSpec, calibration: list[Inputs], folder: Path) -> dict[str, Path]:
    """Our files for ONNX Runtime and OpenVINO, by name."""
    model = graphs.to_ir(onnx_files.load(source))
    runtime = ("onnxruntime",)
    seven = needs_7bit_weights()
    schemes = {
        "dynamic_int8": ("dynamic_int8", SchemeOptions(seven_bits=seven)),
        "weight_int8": ("weight_int8", SchemeOptions()),
        "weight_int4, float products": ("weight_int4", SchemeOptions(block=32, accuracy_level=0)),
        "weight_int4, int8 products": ("weight_int4", SchemeOptions(block=32, accuracy_level=4)),
    }
    networks = {"float": onnx_files.load(source)} | {
        name: build_models(scheme, model, runtime, options).models["onnxruntime"] for name, (scheme, options) in schemes.items()
    }
    plan = plan_static_int8(
        model, without_padding(calibration), Int8Format(("onnxruntime", "openvino"), seven_bit_weights=seven),
        CalibrationSettings(), PTQSettings(smooth=0.5),
    )  # fmt: skip
    networks["int8 (static, smoothed)"] = plan.build("onnxruntime", (), spec)
    batches = [padded_example(spec.signature), dict(calibration[0])]
    files: dict[str, Path] = {}
    for name, network in networks.items():
        fusion = fuse(graphs.to_ir(network), batches, tolerance=QUANTIZED_TOLERANCE)
        assert fusion is not None, f"{name} is not fused"
        strip(fusion.model)
        files[f"ours {name}"] = folder / f"ours {name}.onnx"
        onnx_files.save(graphs.to_proto(fusion.model), files[f"ours {name}"])
    onnx_files.save(networks["dynamic_int8"], folder / "unfused.onnx")
    onnx_files.save(plan.build("openvino", (), spec), folder / "openvino.onnx")
    return files | {
        "ours dynamic_int8, not fused": folder / "unfused.onnx",
        "ours int8 (static, smoothed), OpenVINO": folder / "openvino.onnx",
    }


def peer_files(source: Path, calibration: list[Inputs], folder: Path, nncf: str | None) -> dict[str, Path]:
    """Files of other tools, by name."""
    settings: dict[str, dict[str, object]] = {
        "quantize_dynamic, defaults": {},
        "quantize_dynamic, 7 bits per channel": {"per_channel": True, "reduce_range": True},
        "quantize_dynamic, uint8 weights": {"weight_type": QuantType.QUInt8},
    }
    files = {}
    for name, options in settings.items():
        files[name] = folder / f"{name}.onnx"
        quantize_dynamic(source, files[name], **options)  # type: ignore[arg-type]
    if nncf:
        files["OpenVINO with NNCF"] = folder / "nncf.xml"
        if not files["OpenVINO with NNCF"].exists():
            np.save(folder / "samples.npy", np.array(calibration, dtype=object), allow_pickle=True)
            command = [nncf, "-c", NNCF, str(source), str(folder / "samples.npy"), str(files["OpenVINO with NNCF"])]
            subprocess.run(command, check=True, capture_output=True)
    return files


def runtime_of(name: str) -> str:
    """Runtime of a file by its name."""
    return "openvino" if "OpenVINO" in name else "onnxruntime"


class Converted(OpenVinoRunner):
    """A file of OpenVINO's own format, which NNCF writes."""

    def __enter__(self) -> Converted:
        """Read and compile with the settings of the other runner."""
        import openvino

        self._version = openvino.__version__
        settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
        settings["INFERENCE_NUM_THREADS"] = str(self.threads)
        core = _shared_core()
        self._model = core.compile_model(core.read_model(self.path), "CPU", settings)
        self._request = self._model.create_infer_request()
        return self


def opened(name: str, path: Path) -> FileRunner:
    """Runner of a file in its runtime, with one thread."""
    return Converted(path, threads=1) if path.suffix == ".xml" else open_runner(runtime_of(name), path, threads=1)


def accuracy(name: str, path: Path, samples: list[Inputs], targets: np.ndarray) -> tuple[float, np.ndarray]:
    """Accuracy at batch 1, and whether each answer is right."""
    with opened(name, path) as runner:
        right = np.array([int(runner.run(sample)[0].argmax()) for sample in samples]) == targets
    return float(right.mean()), right


def timed(files: Mapping[str, Path], length: int, vocabulary: int, seconds: float) -> dict[str, float]:
    """Median latency in ms by file at one length, all in turns."""
    ids = np.random.default_rng(length).integers(1000, vocabulary, (1, length))
    feeds = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
    with ExitStack() as stack:
        runners = {name: stack.enter_context(opened(name, path)) for name, path in files.items()}
        timings = time_runners(runners, dict.fromkeys(runners, feeds), TimingPlan.of(seconds), batch=1)
    return {name: float(np.median(one.milliseconds)) for name, one in timings.items()}


def make(given: argparse.Namespace) -> dict[str, object]:
    """Make and score all files; the next call with the same cache only times them."""
    samples, targets = read_texts(given.texts, given.encoder, given.train + given.test)
    network = Classifier(given.encoder).eval()
    vocabulary = int(network.bert.config.vocab_size)
    fit_head(network, samples[: given.train], targets[: given.train])
    spec, source = spec_of(vocabulary), given.cache / "float.onnx"
    export_onnx(network, spec, source)
    ours = our_files(source, spec, samples[: given.calibration], given.cache)
    peers = peer_files(source, samples[: given.calibration], given.cache, given.nncf)
    files = {"float": source, "float, OpenVINO": source} | ours | peers
    held_out = samples[given.train :], targets[given.train :]
    scores = {name: accuracy(name, path, *held_out)[0] for name, path in files.items()}
    named = {name: str(path) for name, path in files.items()}
    return {"vocabulary": vocabulary, "scores": scores, "files": named, "ours": list(ours), "peers": list(peers)}


def main() -> int:
    """Make, score, time, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", type=Path, required=True)
    parser.add_argument("--texts", type=Path, required=True, help="CSV with columns text and sentiment")
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--nncf", help="python of an environment with nncf")
    parser.add_argument("--train", type=int, default=3000)
    parser.add_argument("--test", type=int, default=2000)
    parser.add_argument("--calibration", type=int, default=256, help="texts for the ranges of static int8, of NNCF too")
    parser.add_argument("--seconds", type=float, default=2.0, help="counted time of each file at each length")
    given = parser.parse_args()
    logging.disable(logging.WARNING)
    given.cache.mkdir(parents=True, exist_ok=True)
    kept = given.cache / "kept.json"
    if not kept.exists():
        kept.write_text(json.dumps(make(given)), encoding="utf-8")
    made = json.loads(kept.read_text(encoding="utf-8"))
    vocabulary, scores, ours, peers = made["vocabulary"], made["scores"], made["ours"], made["peers"]
    files = {name: Path(path) for name, path in made["files"].items()}
    latency = {length: timed(files, length, vocabulary, given.seconds) for length in LENGTHS}
    apart = "in an environment of its own" if given.nncf else "left out"
    print("## int8 against other tools\n")
    print(
        f"`python {shlex.join(sys.argv)}`: an encoder of {given.encoder.name}, {given.test} held-out texts, one thread, "
        f"batch 1, all files in turns; onnx {onnx.__version__}; NNCF {apart}.\n"
    )
    print(f"| file | MB | accuracy | {' | '.join(f'{length} tokens, ms' for length in LENGTHS)} |")
    print("|" + "---|" * (len(LENGTHS) + 3))
    for name, path in files.items():
        size = (path.with_suffix(".bin") if path.suffix == ".xml" else path).stat().st_size / 1e6
        cells = [f"{latency[length][name]:.2f} ({latency[length]['float'] / latency[length][name]:.2f}×)" for length in LENGTHS]
        print(f"| {name} | {size:.1f} | {scores[name]:.4f} | {' | '.join(cells)} |")
    accurate = {name for name, score in scores.items() if score >= scores["float"] - LOSS}
    ratios = [
        min(latency[length][name] for name in ours if name in accurate)
        / min(latency[length][name] for name in ("float", "float, OpenVINO", *peers) if name in accurate)
        for length in LENGTHS
    ]
    mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
    print(f"\nours ÷ fastest other by length: {', '.join(f'{ratio:.3f}' for ratio in ratios)}")
    print(f"geometric mean {mean:.3f} (goal {MEAN_GOAL}), worst {max(ratios):.3f} (goal {WORST_GOAL})")
    return 0 if mean <= MEAN_GOAL and max(ratios) <= WORST_GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
