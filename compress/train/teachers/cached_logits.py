"""A teacher whose logits are computed once for each sample and view, stored on disk, and read while students train."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import Tensor, nn

from compress.core.fact import Fact
from compress.core.language import gettext
from compress.core.progress import NullReporter, Reporter
from compress.data.batch import TARGET, Batch, Split, Tensors
from compress.tasks.base import Task
from compress.train.distributed import resolve_device
from compress.train.memory_format import to_device
from compress.train.teachers.base import Teacher
from compress.train.teachers.combine_teachers import CombineRule, combine_logits
from compress.train.teachers.logit_shards import SHARD_SIZE, LogitFolder, LogitShards, row_dtype
from compress.train.teachers.rows import distillable_rows

BATCH_SIZE = 128
"""A divisor of the shard size."""


class CachedTeacher(Teacher):
    """One or more networks whose combined logits are cached for each sample and view of a split.

    The name of the folder is a hash of the teachers, the split and the storage format. A file that is truncated, changed or
    from another teacher is computed again; other files are reused. Logits are computed batch by batch, without files, for a
    split without numbered views (`split.views is None`) and for a task with several rows per sample.

    Args:
        teachers: Networks; not changed.
        split: The samples.
        task: Task that runs the networks.
        key: Identity of the teachers, for example their `network_hash`.
        cache: Folder and number of classes to store.
        device: Device of the teachers: `auto`, `cpu`, `cuda`, `mps`.
        reporter: Progress bar; None shows nothing.
        combine: Rule that combines the logits of several teachers.
    """

    def __init__(  # each keyword is one setting of the teacher or of its cache
        self,
        teachers: Sequence[nn.Module],
        split: Split,
        task: Task,
        *,
        key: str,
        cache: LogitFolder,
        device: str = "auto",
        reporter: Reporter | None = None,
        combine: CombineRule = "mean",
    ) -> None:
        self.teachers = tuple(teachers)
        self.split, self.task = split, task
        self.combine_rule: CombineRule = combine
        self.k = cache.k
        self.key = key if combine == "mean" and self.k is None else f"{key} {combine} {self.k}"
        self.device = torch.device(resolve_device(device))
        self.reporter = reporter if reporter is not None else NullReporter()
        identity = json.dumps([self.key, split.fingerprint, len(split)])
        self.folder = cache.path / f"logits-{hashlib.sha256(identity.encode()).hexdigest()[:16]}"
        self._views: dict[int, LogitShards] = {}
        self._copies: list[nn.Module] | None = None

    def precompute(self, epochs: Iterable[int], accelerator: Accelerator | None = None) -> Fact | None:
        """Compute the files that these epochs need; with several processes the first one computes and the others wait.

        Returns:
            A fact if logits are not cached, or only the most probable classes; else None.
        """
        views = self.split.views
        if views is None or not self._is_cached:
            return Fact.of("train.teacher_logits_not_cached")
        if accelerator is None or accelerator.is_main_process:
            self._compute_missing(sorted({epoch % views for epoch in epochs}))
        if accelerator is not None:
            accelerator.wait_for_everyone()
        if self.k is None:
            return None
        return Fact.of("train.teacher_logits_top_k", k=self.k, bytes_per_view=row_dtype(self.k, 2).itemsize)

    def logits(self, batch: Batch) -> Tensor:
        """The combined logits for a batch, float32 (N, K), without gradient, on the device of its inputs."""
        if batch.samples is None or batch.views is None or self.split.views is None or not self._is_cached:
            return self._compute(batch)
        samples, views = batch.samples.cpu().numpy(), batch.views.cpu().numpy()
        distinct = np.unique(views)
        self._compute_missing([int(view) for view in distinct])
        if len(distinct) == 1:
            rows = self._views[int(distinct[0])].read(samples)
        else:
            rows = np.concatenate(
                [self._views[int(view)].read(sample[None]) for view, sample in zip(views, samples, strict=True)]
            )
        return torch.from_numpy(rows).to(batch.device, non_blocking=True)

    def networks(self, device: torch.device) -> list[nn.Module]:
        """Copies of the teachers, created at the first call."""
        if self._copies is None:
            self._copies = [to_device(copy.deepcopy(teacher).eval(), device) for teacher in self.teachers]
            for network in self._copies:
                network.requires_grad_(False)
        return self._copies

    def combine(self, logits: Sequence[Tensor], targets: Tensors) -> Tensor:
        """See `compress.train.teachers.combine_teachers.combine_logits`."""
        return combine_logits(logits, targets.get(TARGET), self.combine_rule)

    @property
    def _is_cached(self) -> bool:
        return "row_per_sample" in self.task.capabilities

    def _shards(self, view: int) -> LogitShards:
        if view not in self._views:
            identity = {"key": self.key, "split": self.split.fingerprint, "samples": len(self.split), "k": self.k}
            self._views[view] = LogitShards(self.folder, view, len(self.split), identity, self.k)
        return self._views[view]

    def _compute_missing(self, views: Sequence[int]) -> None:
        """Compute the missing shards of these views; each shard is written atomically."""
        missing = {view: shards for view in views if (shards := self._shards(view).missing())}
        if not missing:
            return
        batches = sum(len(shards) for shards in missing.values()) * SHARD_SIZE // BATCH_SIZE
        with self.reporter.bar(
            gettext("teacher logits"), min(batches, len(missing) * -(-len(self.split) // BATCH_SIZE))
        ) as bar:
            for view, shards in missing.items():
                for _ in self._shards(view).write(self._logits_of_view(view, set(shards))):
                    bar.advance()
        self._copies = None

    def _logits_of_view(self, view: int, shards: set[int]) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Index of the first sample, and logits, of each batch in these shards."""
        start = 0
        for batch in self.split.view(view, BATCH_SIZE):
            if start // SHARD_SIZE in shards:
                yield start, self._compute(batch.to(self.device)).cpu().numpy()
            start += batch.size

    @torch.no_grad()
    def _compute(self, batch: Batch) -> Tensor:
        """Logits of a batch, computed by copies of the teachers on the device of its inputs."""
        logits = [distillable_rows(teacher, batch, self.task) for teacher in self.networks(batch.device)]
        return self.combine(logits, batch.targets)
