"""The text of a first recipe, from the answers to the questions of `compress init`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from typing import Literal, get_args

from compress.config.devices import load_device
from compress.config.starter.offers import AUDIO, FOLDER_KEYS, OFFERS, TOKENIZER, WANTED, Chain, Offer
from compress.core.errors import CompressError, nearest
from compress.core.language import gettext
from compress.core.record import Metric
from compress.tasks.choice import TaskChoice

Saving = Literal["size", "latency", "both"]
"""What the stages are to save."""
SAVINGS: tuple[Saving, ...] = get_args(Saving)
TRAINED = ("file", "hf", "onnx")
"""Sources of networks that are trained already."""

PRUNE_TARGETS: Mapping[Saving, str] = {
    "size": "{params: 0.5}               # keep half of the parameters; lower is smaller and costs more of the metric",
    "latency": "{latency: 0.5}              # of the time of the network before; lower is faster and costs more of the metric",
    "both": "{macs: 0.5}                 # keep half of the arithmetic; lower is smaller and faster and costs more",
}
ACCEPT: Mapping[Saving, str] = {
    "size": "quantized",
    "latency": "better",
    "both": "quantized",
}
"""`accept_if.keep`: size counts too, or the float network ships where integers gain no time."""
TEXT_CHAINS: tuple[Chain, ...] = ("encoder", "image_text", "visual_language", "decoder", "writer")
FREE_LENGTHS: tuple[Chain, ...] = (*TEXT_CHAINS, "audio")


@dataclass(frozen=True)
class Answers:
    """The answers to the five questions.

    Attributes:
        task: Name of a task in `OFFERS`.
        network: Source of the network.
        data: Source of the data.
        devices: Names of device profiles.
        saving: What to save.
        tolerance: Largest loss of the deciding metric, in its unit; None for the default of the task.
        size_mb: Largest size of the file, MB; None for no limit.
        latency_ms: Largest latency on the first device, ms; None for no limit.
    """

    task: str
    network: str
    data: str
    devices: tuple[str, ...] = ("host",)
    saving: Saving = "both"
    tolerance: float | None = None
    size_mb: float | None = None
    latency_ms: float | None = None

    @property
    def offer(self) -> Offer:
        """What is offered for the task.

        Raises:
            CompressError: There is no offer for the task.
        """
        if self.task not in OFFERS:
            raise CompressError(gettext("no task {task!r}; {hint}", task=self.task, hint=nearest(self.task, OFFERS)))
        return OFFERS[self.task]

    @property
    def is_trained(self) -> bool:
        """Whether the network has trained weights."""
        return self.network.partition(":")[0] in TRAINED


def write_starter(name: str, answers: Answers) -> str:
    """The text of a recipe; `compress.config.recipe.loads` checks it.

    Args:
        name: Of the run.
        answers: To the questions.

    Raises:
        CompressError: There is no such task or device.
    """
    offer = answers.offer
    metric = TaskChoice(name=answers.task).make().metric_info
    source = answers.network.partition(":")[0]
    keys = ", ".join(filter(None, (f"source: {_quoted(answers.data)}", *_data_keys(answers, source))))
    lines = [
        f"# What:    {_quoted(answers.network)} for the task {answers.task}, written by `compress init`.",
        f"# Data:    {WANTED[answers.task]}",
        f"# Check:   compress validate {name}.yaml",
        f"# Run:     compress pipeline {name}.yaml      (--smoke first: every stage with minimal settings)",
        "# More:    compress methods lists what each stage takes; compress schema describes every key.",
        f"name: {name}",
        "seed: 0",
        f"task: {answers.task}",
        f"data: {{{keys}}}",
        f"model: {{source: {_quoted(answers.network)}{_model_keys(source)}}}",
        "stages:",
        *_stages(answers, offer),
        *_budget(answers, offer, metric),
    ]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _data_keys(answers: Answers, network: str) -> Iterator[str]:
    kind = answers.data.partition(":")[0]
    chain = answers.offer.chain
    if chain in TEXT_CHAINS:
        yield TOKENIZER.get(network, "tokenizer: model")
        if kind in ("csv", "jsonl", "parquet", "hf_dataset") and answers.offer.columns:
            yield f"columns: {{{answers.offer.columns}}}"
        yield "lengths: {typical: 32, most: 64}"
    elif chain == "audio":
        yield AUDIO
    if chain not in ("file", "encoder", "decoder", "writer", "audio"):
        yield FOLDER_KEYS.get(kind, "")
    if chain == "defects":
        yield "augment: none"


def _model_keys(source: str) -> str:
    return ', architecture: "torchvision:resnet18"' if source == "file" else ""


def _stages(answers: Answers, offer: Offer) -> Iterator[str]:
    """Lines of the stages: training where the weights are new, pruning and recovery where the chain can, integers, file."""
    chain = "file" if answers.network.startswith("onnx:") else offer.chain
    if chain != "file" and not answers.is_trained:
        yield "  - train: {epochs: 10}           # or `distill`, with `teacher:` beside `model:`, for a better small network"
    if chain in ("image", "defects", "encoder", "image_text"):
        yield from _prune(answers, chain)
    runtimes = {load_device(device).runtime for device in answers.devices}
    yield from _quantize(answers, chain, runtimes)
    yield f"  - export: {{formats: [{'onnx, tensorrt' if 'tensorrt' in runtimes else 'onnx'}]}}"
    yield f"  - profile: {{devices: [{', '.join(answers.devices)}]}}"


def _prune(answers: Answers, chain: Chain) -> Iterator[str]:
    yield "  - prune:"
    yield f"      target: {PRUNE_TARGETS[answers.saving]}"
    yield f"      recover: {{teacher: {'none' if chain == 'defects' else 'parent'}, epochs: 5}}   # training after the cut"


def _quantize(answers: Answers, chain: Chain, runtimes: Set[str]) -> Iterator[str]:
    accept = f"accept_if: {{keep: {ACCEPT[answers.saving]}}}"
    if chain in FREE_LENGTHS and "tensorrt" in runtimes:  # which has no integer scheme for free lengths
        yield f"  - quantize: {{scheme: fp16, {accept}}}"
    elif chain == "decoder":
        scheme = "block_int8" if answers.saving == "latency" else "weight_int4"
        yield f"  - quantize: {{scheme: {scheme}, serving: {{prompt: 32, answer: 32}}, {accept}}}"
    elif chain in ("encoder", "writer"):
        yield f"  - quantize: {{scheme: dynamic_int8, {accept}}}"
    else:
        yield f"  - quantize: {{calibration: {{samples: 128}}, {accept}}}   # int8"


def _budget(answers: Answers, offer: Offer, metric: Metric) -> Iterator[str]:
    tolerance = offer.tolerance if answers.tolerance is None else answers.tolerance
    device = answers.devices[0]
    yield "budget:                           # limits of the verdict; the exit code is 1 where one is missed"
    yield f"  {metric.loss_name}: {tolerance:g}"
    yield f"  size_mb: {answers.size_mb:g}" if answers.size_mb is not None else "  # size_mb: 1.0"
    yield (
        f"  latency_ms: {{{device}: {answers.latency_ms:g}}}"
        if answers.latency_ms is not None
        else f"  # latency_ms: {{{device}: 5.0}}"
    )
