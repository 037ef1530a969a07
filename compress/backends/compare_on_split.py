"""Compare two networks on the same samples of a split; collect outputs of a network up to a memory limit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from compress.backends.runner_protocol import Array
from compress.backends.token_rows import have_lengths, is_shorter, join_texts, same_length
from compress.data.batch import INPUT, Split, Tensors, select_rows
from compress.tasks.output_agreement import OutputAgreement, merge_agreements

if TYPE_CHECKING:
    from compress.tasks.base import Task
from compress.backends.iterate_split import Network, Part, RecordedOutputs, iterate_split

COLLECTED_BYTES = 2**28
"""Limit of the bytes of collected outputs."""


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
    """Outputs of a network on the first samples of a split, up to about `COLLECTED_BYTES`.

    Texts of different lengths are filled to the longest one, with 0 at the places of padding.

    Args:
        network: See `iterate_split`.
        split: Samples.
        task: Task, which names the outputs.
        batch_size: Samples per batch.
        limit: Largest number of samples.
        optimized: See `iterate_split`.

    Raises:
        DataError: The split is empty.
        ConversionError: The file cannot be loaded, or has other inputs than the data.
    """
    outputs: list[Tensors] = []
    targets: list[Tensors] = []
    stored_bytes = samples = 0
    for batch_outputs, batch in iterate_split(network, split, task, batch_size=batch_size, optimized=optimized):
        outputs.append(batch_outputs)
        targets.append(batch.to("cpu").targets)
        stored_bytes += sum(values.nbytes for values in batch_outputs.values())
        samples += batch.size
        if stored_bytes >= COLLECTED_BYTES or (limit is not None and samples >= limit):
            break
    if have_lengths(outputs) or have_lengths(targets):
        whole = next(iter(split.ordered(samples))).to("cpu")
        result = CollectedOutputs(join_texts(outputs, whole), whole.targets)
    else:
        result = CollectedOutputs(_concatenate(outputs), _concatenate(targets))
    return result if limit is None else result.first(limit)


def _concatenate(parts: Sequence[Tensors]) -> Tensors:
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


@dataclass(frozen=True, eq=False)
class SplitComparison:
    """Comparison of two networks on the same samples of a split.

    Attributes:
        reference: Statistics of the deciding metric of the first network, (N,) or (N, S).
        other: Statistics of the second network, in the same shape.
        agreement: Agreement of the outputs.
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
    """Run two networks over a split in parallel; memory contains one batch of outputs of each.

    Args:
        reference: First network, outputs a.
        other: Second network, outputs b.
        split: Samples.
        task: Task with metric and agreement.
        batch_size: Samples per batch.
        other_batch_size: Samples per batch of the second network; None for `batch_size`.

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
        for outputs, network_scores in zip((a, b), scores, strict=True):
            network_scores.append(task.deciding.scores(outputs, targets).numpy())
        agreements.append(task.agreement(a, b))
        for name, values in a.items():
            if values.is_floating_point():
                signal += float(values.double().square().sum())
                noise += float((values.double() - b[name].double()).square().sum())
    before, after = map(np.concatenate, scores)
    return SplitComparison(before, after, merge_agreements(agreements), signal, noise)


def record_outputs(network: Network, split: Split, task: Task, *, batch_size: int = 64) -> Network:
    """Record the outputs of a network on a whole split, to compare it with several others.

    Returns:
        The outputs; the network itself if they exceed `COLLECTED_BYTES`.
    """
    parts: list[Part] = []
    stored_bytes = 0
    for outputs, batch in iterate_split(network, split, task, batch_size=batch_size):
        parts.append((outputs, batch._replace(inputs={INPUT: torch.empty(batch.size, 0)})))
        stored_bytes += sum(values.nbytes for values in outputs.values())
        if stored_bytes > COLLECTED_BYTES:
            return network
    return RecordedOutputs(tuple(parts))


def _aligned(first: Iterator[Part], second: Iterator[Part]) -> Iterator[tuple[Tensors, Tensors, Tensors]]:
    """Outputs of two networks and targets for the same samples; the batch sizes of the networks may differ.

    Of texts whose batches differ in length, outputs and targets are those of the shorter batch.
    """
    rest: tuple[Tensors, Tensors] | None = None
    for outputs, batch in first:
        a, targets = outputs, batch.to("cpu").targets
        while _count(a):
            b, b_targets = rest or _outputs_and_targets(next(second))
            count = min(_count(a), _count(b))
            head, tail = slice(count), slice(count, None)
            a_part, b_part = select_rows(a, head), select_rows(b, head)
            own = select_rows(b_targets if is_shorter(b, a) else targets, head)
            yield *(same_length(a_part, b_part) if have_lengths([targets, b_targets]) else (a_part, b_part)), own
            a, b, targets, b_targets = (select_rows(tensors, tail) for tensors in (a, b, targets, b_targets))
            rest = (b, b_targets) if _count(b) else None


def _outputs_and_targets(part: Part) -> tuple[Tensors, Tensors]:
    outputs, batch = part
    return outputs, batch.to("cpu").targets


def _count(tensors: Tensors) -> int:
    return len(next(iter(tensors.values())))
