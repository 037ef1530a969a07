"""The chain of other tools of `bench_search_glue.py`: torch-pruning, distillation in a plain loop, `quantize_static`.

Its settings are drawn at random, the first ones by hand; of each trial the float and the int8 file count.
"""

from __future__ import annotations

import copy
import logging
import random
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
import torch_pruning as tp
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from torch import Tensor, nn

from compress.backends.export_onnx import export_onnx
from compress.data.interface import Data
from compress.tasks.classification import Classification

BATCH, CALIBRATION, SCORE_BATCHES = 64, 256, 8
"""Batch of training, images of calibration and batches of the scores: the defaults of `prune` and `quantize`."""


VARIANTS: dict[str, dict[str, Any] | None] = {
    "float": None,
    "int8": {},
    "u8": {"activation_type": QuantType.QUInt8, "per_channel": True},
}
"""Files of each trial by kind, with the options of `quantize_static`: defaults, and what its documentation advises for VNNI."""


@dataclass(frozen=True)
class GlueTrial:
    """Settings of one trial.

    Attributes:
        ratio: Fraction of the channels to remove.
        importance: `taylor` or `magnitude` (group norm).
        steps: Iterative steps of pruning, between which the epochs are divided.
        lr: Peak learning rate of AdamW with a one-cycle schedule.
        temperature: T of distillation.
    """

    ratio: float = 0.5
    importance: str = "taylor"
    steps: int = 1
    lr: float = 2e-3
    temperature: float = 4.0


def glue_trials(count: int, seed: int, epochs: int) -> list[GlueTrial]:
    """The trials of a search at random."""
    draw = random.Random(seed)
    drawn = [
        GlueTrial(
            ratio=draw.uniform(0.3, 0.92),
            importance=draw.choice(("taylor", "magnitude")),
            steps=draw.choice((1, epochs)),
            lr=10 ** draw.uniform(-3.3, -2.0),
            temperature=draw.choice((1.0, 2.0, 4.0, 8.0)),
        )
        for _ in range(count - 1)
    ]
    return [GlueTrial(), *drawn]


def run_glue(
    trial: GlueTrial, dense: nn.Module, data: Data, logits: Tensor, path: Path, *, epochs: int, seed: int
) -> dict[str, Any]:
    """Prune, distil, export and quantize; writes `path` and the int8 file beside it.

    Args:
        trial: Settings.
        dense: Trained network, the teacher.
        data: Images.
        logits: Its logits of the training images, (N, K).
        path: Float ONNX file.
        epochs: Epochs of training in all.
        seed: Seed of the order.
    """
    torch.manual_seed(seed)
    module = copy.deepcopy(dense)
    pruner = _pruner(trial, module, data)
    for step in range(trial.steps):
        if trial.importance == "taylor":
            _gradients(module, data, seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pruner.step()
        _distil(module, data, logits, trial, epochs // trial.steps, seed + 100 * step)
    export_onnx(module.eval(), data.spec, path)
    for kind, options in VARIANTS.items():
        if options is not None:
            quantize(path, path.with_suffix(f".{kind}.onnx"), data, seed, **options)
    return asdict(trial)


def _pruner(trial: GlueTrial, module: nn.Module, data: Data) -> tp.pruner.BasePruner:
    heads = [part for part in module.modules() if isinstance(part, nn.Linear)]
    scores = {"taylor": tp.importance.GroupTaylorImportance, "magnitude": tp.importance.GroupMagnitudeImportance}
    return tp.pruner.BasePruner(
        module,
        torch.ones(1, *data.spec.shape),
        importance=scores[trial.importance](),
        pruning_ratio=trial.ratio,
        iterative_steps=trial.steps,
        global_pruning=True,
        max_pruning_ratio=0.95,
        round_to=8,
        ignored_layers=heads,
    )


def _gradients(module: nn.Module, data: Data, seed: int) -> None:
    module.eval().zero_grad()
    for _, batch in zip(range(SCORE_BATCHES), data.train.epoch(0, BATCH, seed), strict=False):
        F.cross_entropy(module(batch.input), batch.target).backward()


def _distil(module: nn.Module, data: Data, logits: Tensor, trial: GlueTrial, epochs: int, seed: int) -> None:
    """Hinton's loss with the weights 0.7 and 0.3, the defaults of `recover`."""
    steps, T = epochs * data.train.batches(BATCH), trial.temperature
    optimizer = torch.optim.AdamW(module.parameters(), lr=trial.lr, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, trial.lr, total_steps=steps + 1, pct_start=0.1)
    module.train()
    for number in range(epochs):
        for batch in data.train.epoch(number, BATCH, seed):
            z = module(batch.input)
            soft = (logits[batch.samples] / T).softmax(1)
            response = T**2 * F.kl_div((z / T).log_softmax(1), soft, reduction="batchmean")
            loss = 0.7 * response + 0.3 * F.cross_entropy(z, batch.target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, feeds: Sequence[Any]) -> None:
        self._feeds: Iterator[Any] = iter(feeds)

    def get_next(self) -> Any:
        return next(self._feeds, None)


def quantize(path: Path, quantized: Path, data: Data, seed: int, **options: Any) -> None:
    """`quantize_static` with its defaults, after its documented preparation, on the images that `quantize` calibrates with."""
    prepared = path.with_suffix(".prepared.onnx")
    feeds = Classification().calibration(data.train, CALIBRATION, seed, classes=len(data.spec.classes))
    logging.disable(logging.WARNING)
    quant_pre_process(str(path), str(prepared), skip_symbolic_shape=True)
    quantize_static(str(prepared), str(quantized), _Reader(feeds), **options)
    logging.disable(logging.NOTSET)
    prepared.unlink()
