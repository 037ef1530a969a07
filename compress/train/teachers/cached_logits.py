"""A teacher whose logits are computed once for each sample and view, stored on disk, and read while students train."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from compress.core.fact import Fact
from compress.core.language import gettext
from compress.core.progress import NullReporter, Reporter
from compress.data.batch import TARGET, Batch, Split, Tensors
from compress.data.text.split import TextSplit
from compress.tasks.base import Task
from compress.train.distributed import resolve_device
from compress.train.memory_format import to_device
from compress.train.teachers.base import Teacher
from compress.train.teachers.combine_teachers import CombineRule, combine_logits
from compress.train.teachers.logit_shards import SHARD_SIZE, LogitFolder, LogitShards, StoredRows, row_dtype
from compress.train.teachers.rows import distillable_rows, rows_of

BATCH_SIZE = 128
"""A divisor of the shard size."""
SEVERAL_ROWS_BATCH_SIZE = 16
"""Likewise, for samples with several rows, whose logits of a batch are large."""


class CachedTeacher(Teacher):
    """One or more networks whose combined logits are cached for each sample and view of a split.

    The name of the folder is a hash of the teachers, the split and the storage format. A file that is truncated, changed or
    from another teacher is computed again; other files are reused. Logits are computed batch by batch, without files, for a
    split without numbered views (`split.views is None`), and for a task with several rows per sample unless it has
    `fixed_rows` and `cache.k` is set: the rows of each sample, such as its masked tokens, are then stored as compact rows.

    Args:
        teachers: Networks; not changed.
        split: The samples.
        task: Task that runs the networks.
        key: Identity of the teachers, for example their `network_hash`.
        cache: Folder and number of classes to store.
        device: Device of the teachers: `auto`, `cpu`, `cuda`, `mps`.
        reporter: Progress bar; None shows nothing.
        combine: Rule that combines the logits of several teachers.
        own: For each teacher with a tokenizer of its own the same samples in its tokens, None for one without; empty where none
            has one. Such a teacher gives logits only.
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
        own: Sequence[TextSplit | None] = (),
    ) -> None:
        self.teachers = tuple(teachers)
        self.split, self.task = split, task
        self.own = tuple(own) or (None,) * len(self.teachers)
        self.combine_rule: CombineRule = combine
        self.k = cache.k
        self.key = key if combine == "mean" and self.k is None else f"{key} {combine} {self.k}"
        self.device = torch.device(resolve_device(device))
        self.reporter = reporter if reporter is not None else NullReporter()
        tokens = [each.fingerprint for each in self.own if each is not None]
        identity = json.dumps([self.key, split.fingerprint, len(split), *tokens])
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
        if self._several:
            size = max((shards.row_size for shards in self._views.values()), default=0)
            return Fact.of("train.teacher_logits_by_token", k=self.k, bytes_per_row=size)
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
        return "row_per_sample" in self.task.capabilities or self._several

    @property
    def _several(self) -> bool:
        """Whether a sample has several rows that are stored."""
        has = self.task.capabilities
        return self.k is not None and "row_per_sample" not in has and "fixed_rows" in has

    @property
    def _batch_size(self) -> int:
        return SEVERAL_ROWS_BATCH_SIZE if self._several else BATCH_SIZE

    def _shards(self, view: int) -> LogitShards:
        if view not in self._views:
            identity = {"key": self.key, "split": self.split.fingerprint, "samples": len(self.split), "k": self.k}
            self._views[view] = LogitShards(self.folder, view, len(self.split), identity, self.k, self._several)
        return self._views[view]

    def _compute_missing(self, views: Sequence[int]) -> None:
        """Compute the missing shards of these views; each shard is written atomically."""
        missing = {view: shards for view in views if (shards := self._shards(view).missing())}
        if not missing:
            return
        batches = sum(len(shards) for shards in missing.values()) * SHARD_SIZE // self._batch_size
        with self.reporter.bar(
            gettext("teacher logits"), min(batches, len(missing) * -(-len(self.split) // self._batch_size))
        ) as bar:
            for view, shards in missing.items():
                for _ in self._shards(view).write(self._logits_of_view(view, set(shards))):
                    bar.advance()
        self._copies = None

    def _logits_of_view(self, view: int, shards: set[int]) -> Iterator[StoredRows]:
        """The rows of each batch in these shards."""
        start = 0
        for batch in self.split.view(view, self._batch_size):
            if start // SHARD_SIZE in shards:
                on_device = batch.to(self.device)
                if self._several:
                    yield self._several_rows(on_device, start)
                else:
                    logits = self._compute(on_device).cpu().numpy()
                    yield StoredRows(start, logits, np.ones(batch.size, dtype=np.int64))
            start += batch.size

    @torch.no_grad()
    def _several_rows(self, batch: Batch, start: int) -> StoredRows:
        """The rows of a batch, and how many each sample has.

        Raises:
            TypeError: The task promises `fixed_rows`, and its rows are not in the order of the samples.
        """
        rows = [
            rows_of(teacher, self._batch_for(index, batch), self.task)
            for index, teacher in enumerate(self.networks(batch.device))
        ]
        samples = rows[0].samples
        if samples is None or bool((samples[1:] < samples[:-1]).any()):
            msg = gettext("task {name} has `fixed_rows`, but its rows are not in the order of the samples", name=self.task.name)
            raise TypeError(msg)
        logits = self.combine([each.logits.float() for each in rows], batch.targets)
        return StoredRows(start, logits.cpu().numpy(), np.bincount(samples.cpu().numpy(), minlength=batch.size))

    @torch.no_grad()
    def _compute(self, batch: Batch) -> Tensor:
        """Logits of a batch, computed by copies of the teachers on the device of its inputs."""
        logits = [
            distillable_rows(teacher, self._batch_for(index, batch), self.task)
            for index, teacher in enumerate(self.networks(batch.device))
        ]
        return self.combine(logits, batch.targets)

    def _batch_for(self, index: int, batch: Batch) -> Batch:
        """The batch in the tokens of a teacher."""
        own = self.own[index]
        if own is None:
            return batch
        assert batch.samples is not None  # noqa: S101  # samples of texts are numbered
        read = own.at(batch.samples.cpu()).to(batch.device)
        return batch._replace(inputs=read.inputs, targets={**batch.targets, **read.targets})
