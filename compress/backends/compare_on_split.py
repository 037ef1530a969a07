"""Two networks on the same samples of a split, side by side; outputs of the first samples, no more than fit in 256 MiB."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from compress.backends.runner_protocol import Array
from compress.data.batch import INPUT, Split, Tensors, select_rows
from compress.tasks.output_agreement import OutputAgreement, merge_agreements

if TYPE_CHECKING:
    from compress.tasks.base import Task
from compress.backends.iterate_split import Network, Part, RecordedOutputs, iterate_split

COLLECTED_BYTES = 2**28
"""Most bytes of outputs that are held at once."""


@dataclass(frozen=True, eq=False)
class CollectedOutputs:
    """Outputs of a network on the first samples of a split.

    Attributes:
        outputs: Named outputs, (N, …), float32.
        targets: Named targets of the same samples.
    """

    outputs: Tensors
    targets: Tensors

    def __len__(self) -> int:
        """N."""
        return len(next(iter(self.outputs.values())))

    def first(self, count: int) -> CollectedOutputs:
        """The first samples."""
        return CollectedOutputs(select_rows(self.outputs, slice(count)), select_rows(self.targets, slice(count)))


def collect_outputs(
    network: Network,
    split: Split,
    task: Task,
    *,
    batch_size: int = 64,
    limit: int | None = None,
    optimized: bool = True,
) -> CollectedOutputs:
    """Outputs of a network on the first samples of a split, no more than `COLLECTED_BYTES` of them.

    Args:
        network: See `iterate_split`, as are the other arguments.
        split: Samples.
        task: Names the outputs.
        batch_size: Samples per batch.
        limit: Only so many first samples.
        optimized: Fuse operators.

    Raises:
        DataError: The split is empty.
        ConversionError: The file cannot be loaded, or has other inputs than the data.
    """
    outputs: list[Tensors] = []
    targets: list[Tensors] = []
    held = samples = 0
    for answers, batch in iterate_split(network, split, task, batch_size=batch_size, optimized=optimized):
        outputs.append(answers)
        targets.append(batch.to("cpu").targets)
        held += sum(values.nbytes for values in answers.values())
        samples += batch.size
        if held >= COLLECTED_BYTES or (limit is not None and samples >= limit):
            break
    joined, answers = _concatenate(outputs), _concatenate(targets)
    collected = CollectedOutputs(joined, answers)
    return collected if limit is None else collected.first(limit)


def _concatenate(parts: Sequence[Tensors]) -> Tensors:
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


@dataclass(frozen=True, eq=False)
class SplitComparison:
    """Two networks on the same samples of a split.

    Attributes:
        reference: Statistics of the deciding metric of the first network, (N,) or (N, S).
        other: Those of the second.
        agreement: Of their outputs.
        signal: Σ a² over the first network's float outputs.
        noise: Σ (a − b)².
    """

    reference: Array
    other: Array
    agreement: OutputAgreement
    signal: float
    noise: float


def compare_on_split(
    reference: Network, other: Network, split: Split, task: Task, *, batch_size: int = 64, other_batch_size: int | None = None
) -> SplitComparison:
    """Run two networks over a split side by side; no more than one batch of outputs is held of each.

    Args:
        reference: The first network.
        other: The second.
        split: Samples.
        task: Gives scores and agreement.
        batch_size: Samples per batch.
        other_batch_size: Of the second network; None for the same.

    Raises:
        DataError: The split is empty.
        ConversionError: A file cannot be loaded, or outputs have different shapes or are not finite.
    """
    scores: tuple[list[Array], list[Array]] = ([], [])
    agreements: list[OutputAgreement] = []
    signal = noise = 0.0
    pairs = _aligned(
        iterate_split(reference, split, task, batch_size=batch_size),
        iterate_split(other, split, task, batch_size=other_batch_size or batch_size),
    )
    for a, b, targets in pairs:
        for outputs, into in zip((a, b), scores, strict=True):
            into.append(task.deciding.scores(outputs, targets).numpy())
        agreements.append(task.agreement(a, b))
        for name, values in a.items():
            if values.is_floating_point():
                signal += float(values.double().square().sum())
                noise += float((values.double() - b[name].double()).square().sum())
    before, after = map(np.concatenate, scores)
    return SplitComparison(before, after, merge_agreements(agreements), signal, noise)


def record_outputs(network: Network, split: Split, task: Task, *, batch_size: int = 64) -> Network:
    """Outputs of a network on a whole split in place of the network, to be compared with several others.

    Returns:
        The outputs; the network itself where they are larger than `COLLECTED_BYTES`.
    """
    parts: list[Part] = []
    held = 0
    for outputs, batch in iterate_split(network, split, task, batch_size=batch_size):
        parts.append((outputs, batch._replace(inputs={INPUT: torch.empty(batch.size, 0)})))
        held += sum(values.nbytes for values in outputs.values())
        if held > COLLECTED_BYTES:
            return network
    return RecordedOutputs(tuple(parts))


def _aligned(first: Iterator[Part], second: Iterator[Part]) -> Iterator[tuple[Tensors, Tensors, Tensors]]:
    """Outputs of two networks on the same samples, and their targets, though their batches are of different sizes."""
    rest: Tensors | None = None
    for outputs, batch in first:
        a, targets = outputs, batch.to("cpu").targets
        while _count(a):
            b = rest or next(second)[0]
            count = min(_count(a), _count(b))
            yield select_rows(a, slice(count)), select_rows(b, slice(count)), select_rows(targets, slice(count))
            a, b, targets = (select_rows(tensors, slice(count, None)) for tensors in (a, b, targets))
            rest = b if _count(b) else None


def _count(tensors: Tensors) -> int:
    return len(next(iter(tensors.values())))
