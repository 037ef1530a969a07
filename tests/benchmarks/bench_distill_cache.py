"""Duration of a distillation epoch with cached teacher logits and without, relative to a plain epoch of the same student.

    python tests/benchmarks/bench_distill_cache.py --repeats 9
    python tests/benchmarks/bench_distill_cache.py --source glyphs --image-size 32 --limit 2000 --threads 1 \
        --student small --teacher teacher

The three kinds of epochs are interleaved, so that a drift of the machine affects all of them. Augmentation is `light`. The
images of a view stay in memory after a warm-up round, so that the plain epoch is as fast as possible. With one thread,
seconds are processor time, which other programs disturb least; otherwise wall time. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import copy
import functools
import statistics
import tempfile
import time
from pathlib import Path

import distillation_networks
import numpy as np
import torch
from torch import Tensor, nn

from compress.data.batch import Batch
from compress.data.factory import load_data
from compress.data.interface import Data
from compress.data.settings import DataSettings
from compress.models.factory import build_model
from compress.models.settings import ModelSettings
from compress.tasks.classification import Classification
from compress.train.checkpoints import network_hash
from compress.train.loop import fit
from compress.train.plan import TrainingPlan
from compress.train.settings import Training, default_losses
from compress.train.teachers.cached_logits import CachedTeacher

TARGET = 1.10


PLAIN, KEPT, ASKED = "plain", "distill, cached logits", "distill, teacher forward pass at every step"


class Asked(CachedTeacher):
    """A teacher whose answers are not kept."""

    def fill(self, *_: object) -> str:
        """Nothing."""
        return ""

    def logits(self, batch: Batch) -> Tensor:
        """Its answer, computed now."""
        return self._compute(batch)


def network(name: str, data: Data) -> nn.Module:
    """A network of distillation_networks.py or torchvision."""
    if hasattr(distillation_networks, name):
        made: nn.Module = getattr(distillation_networks, name)(len(data.spec.classes))
        return made
    return build_model(ModelSettings(source=f"torchvision:{name}"), data.spec, seed=0, base=Path.cwd()).module


def measure(given: argparse.Namespace) -> dict[str, list[float]]:
    """Seconds of each repeat of each kind of epoch."""
    settings = DataSettings(source=given.source, image_size=given.image_size, limit=given.limit, augment="light")
    data = load_data(settings, base=Path.cwd())
    small, large = network(given.student, data), network(given.teacher, data)
    hard_labels = tuple(term for term in default_losses() if not term.needs)
    clock = time.process_time if given.threads == 1 else time.perf_counter
    seconds: dict[str, list[float]] = {PLAIN: [], KEPT: [], ASKED: []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make = functools.partial(_teacher, large=large, data=data, folder=folder)
        teachers = {PLAIN: None, KEPT: make(CachedTeacher), ASKED: make(Asked)}
        for repeat in range(given.repeats + 1):
            for kind, spent in seconds.items():
                module = copy.deepcopy(small)
                start = clock()
                fit(
                    module,
                    TrainingPlan(
                        Training(epochs=1, batch_size=64),
                        data,
                        Classification(),
                        hard_labels if kind == PLAIN else default_losses(),
                        seed=0,
                        teacher=teachers[kind],
                    ),
                    folder=folder / f"{kind}-{repeat}",
                    device="cpu",
                )
                spent.append(clock() - start)
    return {kind: spent[1:] for kind, spent in seconds.items()}  # the first repeat warms up


def _teacher(kind: type[CachedTeacher], *, large: nn.Module, data: Data, folder: Path) -> CachedTeacher:
    answers = kind([large], data.train, key=network_hash(large), cache=folder, device="cpu")
    answers.fill([0])
    return answers


def interval(ratios: list[float]) -> tuple[float, float]:
    """95 % bootstrap interval of the median."""
    generator = np.random.default_rng(0)
    medians = np.median(generator.choice(ratios, size=(2000, len(ratios))), axis=1)
    low, high = np.quantile(medians, [0.025, 0.975])
    return float(low), float(high)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", default="digits")
    parser.add_argument("--student", default="mobilenet_v2")
    parser.add_argument("--teacher", default="resnet50")
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--limit", type=int, default=None, help="training images; all by default")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    seconds = measure(given)
    print(
        f"{given.student} from {given.teacher}, {given.source}, {given.image_size} px, {given.threads} threads, "
        f"{given.repeats} repeats"
    )
    print()
    print("| epoch | median s | min s | max s | median ratio to plain (95 % interval) |\n|---|---:|---:|---:|---|")
    for kind, spent in seconds.items():
        ratios = [b / a for a, b in zip(seconds[PLAIN], spent, strict=True)]
        low, high = interval(ratios)
        ratio = statistics.median(ratios)
        verdict = "" if kind != KEPT else f"; goal at most {TARGET:.2f}: {'met' if ratio <= TARGET else 'missed'}"
        against = "" if kind == PLAIN else f"{ratio:.3f} ({low:.3f} to {high:.3f}){verdict}"
        print(f"| {kind} | {statistics.median(spent):.2f} | {min(spent):.2f} | {max(spent):.2f} | {against} |")


if __name__ == "__main__":
    main()
