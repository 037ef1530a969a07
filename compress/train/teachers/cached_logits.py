"""Teacher answers: computed once for each sample and view, kept on disk, read back while students train."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import Tensor, nn

from compress.core.progress import NullReporter, Reporter
from compress.data.interface import Batch, Split
from compress.train.checkpoints import weights_hash
from compress.train.distributed import resolve_device
from compress.train.memory_format import to_device
from compress.train.teachers.base import Teacher
from compress.train.teachers.combine_teachers import Combine, combine_logits
from compress.train.teachers.logit_shards import SHARD_SIZE, LogitShards, row_dtype

__all__ = ["CachedTeacher", "weights_hash"]

BATCH_SIZE = 128
"""Divides a shard."""


class CachedTeacher(Teacher):
    """One answer of one or more teachers to each sample and view of a split.

    They lie in a folder named by a hash of the teachers, the split and how they are kept; a file that is cut off, changed or
    another's is made again, the others are not.

    A split that cannot tell its views apart (`split.views is None`) is answered batch by batch, without files.

    Args:
        teachers: Networks; they are left as they are.
        split: What they are asked about.
        key: Identifies the teachers, for example their `weights_hash`.
        cache: Folder for the files.
        device: Where the teachers compute: `auto`, `cpu`, `cuda`, `mps`.
        reporter: Progress bar; None shows nothing.
        combine: How several answers become one.
        k: Keep only the k likeliest classes and the mass of the others; None keeps all.
    """

    def __init__(
        self,
        teachers: Sequence[nn.Module],
        split: Split,
        *,
        key: str,
        cache: Path,
        device: str = "auto",
        reporter: Reporter | None = None,
        combine: Combine = "mean",
        k: int | None = None,
    ) -> None:
        self.teachers = tuple(teachers)
        self.split = split
        self.combine_rule: Combine = combine
        self.k = k
        self.key = key if combine == "mean" and k is None else f"{key} {combine} {k}"
        self.device = torch.device(resolve_device(device))
        self.reporter = reporter if reporter is not None else NullReporter()
        identity = json.dumps([self.key, split.fingerprint, len(split)])
        self.folder = cache / f"answers-{hashlib.sha256(identity.encode()).hexdigest()[:16]}"
        self._views: dict[int, LogitShards] = {}
        self._working: list[nn.Module] | None = None

    def precompute(self, epochs: Iterable[int], accelerator: Accelerator | None = None) -> str:
        """Make the files that these epochs need; with several processes the first one makes them and the others wait.

        Returns:
            A note for the record where answers are not kept, or not whole; else nothing.
        """
        views = self.split.views
        if views is None:
            return "teacher answers were computed for every batch: the data source does not tell the views of a sample apart"
        wanted = sorted({epoch % views for epoch in epochs})
        if accelerator is None or accelerator.is_main_process:
            self._make(wanted)
        if accelerator is not None:
            accelerator.wait_for_everyone()
        if self.k is None:
            return ""
        size = row_dtype(self.k, 2).itemsize
        return f"teacher answers were kept as the {self.k} likeliest classes and the mass of the others, {size} bytes a view"

    def logits(self, batch: Batch) -> Tensor:
        """Teachers' answer to a batch, float32 (N, K), without gradient, on the device of its inputs."""
        if batch.samples is None or batch.views is None or self.split.views is None:
            return self._ask(batch)
        samples, views = batch.samples.cpu().numpy(), batch.views.cpu().numpy()
        seen = np.unique(views)
        self._make([int(view) for view in seen])
        if len(seen) == 1:
            rows = self._views[int(seen[0])].read(samples)
        else:
            rows = np.concatenate(
                [self._views[int(view)].read(sample[None]) for view, sample in zip(views, samples, strict=True)]
            )
        return torch.from_numpy(rows).to(batch.inputs.device, non_blocking=True)

    def networks(self, device: torch.device) -> list[nn.Module]:
        """Copies of the teachers, made once."""
        if self._working is None:
            self._working = [to_device(copy.deepcopy(teacher).eval(), device) for teacher in self.teachers]
            for network in self._working:
                network.requires_grad_(False)
        return self._working

    def combine(self, answers: Sequence[Tensor], targets: Tensor) -> Tensor:
        """See `compress.train.teachers.combine_teachers.combined`."""
        return combine_logits(answers, targets, self.combine_rule)

    def _view(self, view: int) -> LogitShards:
        if view not in self._views:
            identity = {"key": self.key, "split": self.split.fingerprint, "samples": len(self.split), "k": self.k}
            self._views[view] = LogitShards(self.folder, view, len(self.split), identity, self.k)
        return self._views[view]

    def _make(self, views: Sequence[int]) -> None:
        """Compute what is missing of these views and write it, each shard whole or not at all."""
        missing = {view: gaps for view in views if (gaps := self._view(view).missing())}
        if not missing:
            return
        batches = sum(len(gaps) for gaps in missing.values()) * SHARD_SIZE // BATCH_SIZE
        with self.reporter.bar("teacher answers", min(batches, len(missing) * -(-len(self.split) // BATCH_SIZE))) as bar:
            for view, gaps in missing.items():
                for _ in self._view(view).write(self._answers(view, set(gaps))):
                    bar.advance()
        self._working = None

    def _answers(self, view: int, shards: set[int]) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """First sample and answers of each block that lies in these shards."""
        start = 0
        for batch in self.split.view(view, BATCH_SIZE):
            if start // SHARD_SIZE in shards:
                here = batch._replace(inputs=batch.inputs.to(self.device), targets=batch.targets.to(self.device))
                yield start, self._ask(here).cpu().numpy()
            start += len(batch.targets)

    @torch.no_grad()
    def _ask(self, batch: Batch) -> Tensor:
        """Answer of the teachers, computed now by copies on the device of the inputs."""
        answers = [teacher(batch.inputs).float() for teacher in self.networks(batch.inputs.device)]
        return self.combine(answers, batch.targets)
