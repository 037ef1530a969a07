"""The networks of `bench_runtimes.py`, trained for a few minutes, and their samples.

Four image classifiers learn scans of handwritten digits and a text encoder learns areas of Python's documentation, so that
their answers are those of trained networks: with random weights most answers of a quantized network are near ties, and an
agreement says nothing. They are trained by `compress`'s own loop; the weights are kept in the cache.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torchvision
from torch import nn

from compress.core.registry import lookup
from compress.data.batch import Split
from compress.data.factory import load_data
from compress.data.interface import Data
from compress.data.settings import DataSettings
from compress.data.text.settings import Lengths, TrainedTokenizer
from compress.models.factory import build_model
from compress.models.settings import ModelSettings
from compress.pipeline.task_data import data_for_task
from compress.tasks.base import Task
from compress.tasks.classification import Classification
from compress.tasks.text.text_classification import TextClassification
from compress.train.loop import fit
from compress.train.plan import TrainingPlan
from compress.train.settings import Training

Inputs = dict[str, np.ndarray]
LENGTH, VOCABULARY = 64, 4000


@dataclass(frozen=True)
class Plan:
    """How a network is built and trained; `build` takes the side of its images and the number of classes."""

    build: Callable[[int, int], nn.Module] | None
    epochs: int
    lr: float = 2e-3


def vit_tiny(side: int, classes: int) -> nn.Module:
    """A vision transformer of DeiT-Ti's width."""
    sizes = {"num_layers": 12, "num_heads": 3, "hidden_dim": 192, "mlp_dim": 768}
    network: nn.Module = torchvision.models.VisionTransformer(side, 16, num_classes=classes, **sizes)
    return network


TEXT = "text encoder"
NETWORKS: dict[str, Plan] = {
    "MobileNetV2": Plan(lambda _, classes: torchvision.models.mobilenet_v2(num_classes=classes), 6),
    "ResNet-18": Plan(lambda _, classes: torchvision.models.resnet18(num_classes=classes), 3),
    TEXT: Plan(None, 4, 5e-4),
    "ViT-Tiny": Plan(vit_tiny, 10, 1e-3),
    "EfficientNet-B0": Plan(lambda _, classes: torchvision.models.efficientnet_b0(num_classes=classes), 6),
}


def data_of(name: str, side: int) -> tuple[Data, Task]:
    """The data set of a network, and its task."""
    task: Task
    if name == TEXT:
        tokenizer = TrainedTokenizer(train="wordpiece", vocabulary=VOCABULARY)
        lengths = Lengths(typical=LENGTH, most=LENGTH)
        settings, task = DataSettings(source="python_docs", tokenizer=tokenizer, lengths=lengths), TextClassification()
    else:
        settings, task = DataSettings(source="digits", image_size=side, augment="none"), Classification()
    return data_for_task(load_data(settings, base=Path.cwd()), task), task


def trained(name: str, data: Data, task: Task, folder: Path) -> nn.Module:
    """The trained network; a second call reads it from the folder."""
    plan = NETWORKS[name]
    torch.manual_seed(0)
    if plan.build is None:
        module = build_model(ModelSettings(source="encoder:mini"), data.spec, seed=0, base=Path.cwd(), task=task).module
    else:
        module = plan.build(data.spec.height, len(data.spec.classes))
    settings = Training(epochs=plan.epochs, batch_size=32, lr=plan.lr, keep="last", warmup=0.15, clip=1.0)
    terms = (lookup("loss", "task").load()(),)
    fit(module, TrainingPlan(settings, data, task, terms, 0), folder=folder / "training", label=name.split()[0], device="cpu")
    return module.eval()


def samples_of(split: Split, count: int) -> tuple[list[Inputs], list[int]]:
    """The first samples of a split as the network takes them, one each, and their classes; texts are padded to 64 tokens."""
    inputs, classes = [], []
    for arrays, number in _samples(split):
        inputs.append(arrays)
        classes.append(number)
        if len(inputs) == count:
            break
    return inputs, classes


def _samples(split: Split) -> Iterator[tuple[Inputs, int]]:
    for batch in split.ordered(1):
        arrays = {name: tensor.numpy() for name, tensor in batch.inputs.items()}
        if "input_ids" in arrays:
            missing = LENGTH - arrays["input_ids"].shape[1]
            arrays = {name: np.pad(array, ((0, 0), (0, missing))) for name, array in arrays.items()}
        yield arrays, int(next(iter(batch.targets.values())))
