"""Outputs of a network scored against the targets of other samples: what the metric is where the input is not looked at.

A network that does not look at its input loses nothing if its outputs are assigned to other samples at random, whatever the
task. The metric of the assigned outputs is a chance level that needs no knowledge of the task: the permutation test of
Golland & Fischl 2003, "Permutation tests for classification", IPMI, LNCS 2732:330, with one permutation and an interval of the
paired difference in place of many permutations, so that each sample is scored twice only.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from compress.backends.runner_protocol import Array
from compress.data.batch import Tensors, select_rows

if TYPE_CHECKING:
    from compress.backends.iterate_split import Part
    from compress.tasks.base import Task
    from compress.tasks.metric import TaskMetric

MOST_BYTES = 2**28
"""Largest size of the outputs and targets that are kept: 256 MiB, 5 million samples of 10 classes, 230 SSD outputs of 3,234
anchors and 80 classes, 11 maps of 512 × 512 pixels and 21 classes. Of a larger split a random sample is used."""


class PermutedScores(NamedTuple):
    """Statistics of the deciding metric, see `TaskMetric.scores`.

    Attributes:
        rows: Places in the split of the n samples that were used, int64 (n,).
        permuted: Their statistics, each with the outputs of another one of them, (n, …).
    """

    rows: Array
    permuted: Array


class PermutedOutputs:
    """Keeps outputs and targets of a split while it is evaluated, and scores them in another order.

    Args:
        samples: Number of samples of the split.
        most_bytes: Largest size of what is kept. The sample is drawn by the size of the first outputs.
        seed: Of the sample and of the order.
    """

    def __init__(self, samples: int, *, most_bytes: int = MOST_BYTES, seed: int = 0) -> None:
        self._samples, self._most_bytes, self._seed = samples, most_bytes, seed
        self._is_chosen: Array | None = None
        self._parts: list[tuple[Array, Tensors, Tensors]] = []

    def watch(self, parts: Iterable[Part]) -> Iterator[Part]:
        """The parts, unchanged; those of the sample are kept.

        Args:
            parts: Outputs and batches of the split, in order.
        """
        start = 0
        for outputs, batch in parts:
            if self._is_chosen is None:
                self._is_chosen = self._choose(_bytes_per_sample(outputs) + _bytes_per_sample(batch.targets))
            rows = start + np.flatnonzero(self._is_chosen[start : start + batch.size])
            if len(rows):
                index = torch.from_numpy(rows - start)
                self._parts.append((rows, select_rows(outputs, index), select_rows(batch.to("cpu").targets, index)))
            start += batch.size
            yield outputs, batch

    def scores(self, task: Task, metric: TaskMetric) -> PermutedScores | None:
        """Statistics of each sample with the outputs of another sample of the same shape, in a random cyclic order.

        Args:
            task: Its `scores` computes the statistics.
            metric: The metric.

        Returns:
            None if there are fewer than two samples with outputs of one shape.
        """
        others = self._others()
        kept, permuted = [], []
        for number, (rows, _, targets) in enumerate(self._parts):
            places = [place for place in range(len(rows)) if (number, place) in others]
            if not places:
                continue
            assigned = [others[number, place] for place in places]
            outputs = {
                name: torch.stack([self._parts[part][1][name][row] for part, row in assigned])
                for name in self._parts[number][1]
            }
            index = torch.tensor(places)
            statistics = task.scores(outputs, select_rows(targets, index), (metric,))[metric.info.name]
            kept.append(rows[places])
            permuted.append(statistics.numpy())
        return PermutedScores(np.concatenate(kept), np.concatenate(permuted)) if kept else None

    def _choose(self, bytes_per_sample: int) -> Array:
        """Whether each sample of the split is kept, bool (N,)."""
        count = min(self._samples, self._most_bytes // max(bytes_per_sample, 1))
        chosen = np.zeros(self._samples, dtype=bool)
        chosen[np.random.default_rng(self._seed).choice(self._samples, count, replace=False)] = True
        return chosen

    def _others(self) -> dict[tuple[int, int], tuple[int, int]]:
        """For each sample, as part and row, another one whose outputs have the same shapes."""
        by_shape: defaultdict[tuple[object, ...], list[tuple[int, int]]] = defaultdict(list)
        for number, (rows, outputs, _) in enumerate(self._parts):
            shapes = tuple((name, tuple(values.shape[1:])) for name, values in outputs.items())
            by_shape[shapes] += [(number, place) for place in range(len(rows))]
        generator = np.random.default_rng(self._seed)
        others: dict[tuple[int, int], tuple[int, int]] = {}
        for places in by_shape.values():
            if len(places) > 1:
                cycle = [places[index] for index in generator.permutation(len(places))]
                others |= dict(zip(cycle, (*cycle[1:], cycle[0]), strict=True))
        return others


def _bytes_per_sample(tensors: Tensors) -> int:
    return sum(_bytes(values[:1]) for values in tensors.values())


def _bytes(values: Tensor) -> int:
    return values.numel() * values.element_size()
