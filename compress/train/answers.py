"""Teacher answers: computed once for each sample and view, kept on disk, read back while students train."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import Tensor, nn

from compress.data.splits import Batch, Split
from compress.files import sha256, write_text, written_aside
from compress.progress import Bar, Reporter, Silent
from compress.train.checkpoints import weights_hash
from compress.train.layout import put
from compress.train.processes import resolve_device

__all__ = ["TeacherAnswers", "weights_hash"]

BATCH_SIZE = 128


class TeacherAnswers:
    """Mean logits of one or more teachers on the samples of a split.

    Each view is one `.npy` file of float32 (samples, K), memory-mapped, in a folder named by a hash of the teachers and the
    split, beside a manifest with the file's hash; one that is cut off, changed or another's is made again.

    A split that cannot tell its views apart (`split.views is None`) is answered batch by batch, without files.

    Args:
        teachers: Networks; they are left as they are.
        split: What they are asked about.
        key: Identifies the teachers, for example their `weights_hash`.
        cache: Folder for the files.
        device: Where the teachers compute: `auto`, `cpu`, `cuda`, `mps`.
        reporter: Progress bar; None shows nothing.
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
    ) -> None:
        self.teachers = tuple(teachers)
        self.split = split
        self.key = key
        self.device = torch.device(resolve_device(device))
        self.reporter = reporter if reporter is not None else Silent()
        identity = json.dumps([key, split.fingerprint, len(split)])
        self.folder = cache / f"answers-{hashlib.sha256(identity.encode()).hexdigest()[:16]}"
        self._views: dict[int, NDArray[np.float32]] = {}
        self._working: list[nn.Module] | None = None

    def fill(self, epochs: Iterable[int], accelerator: Accelerator | None = None) -> str:
        """Make the files that these epochs need; with several processes the first one makes them and the others wait.

        Returns:
            A note for the record where answers cannot be kept, else nothing.
        """
        views = self.split.views
        if views is None:
            return "teacher answers were computed for every batch: the data source does not tell the views of a sample apart"
        wanted = sorted({epoch % views for epoch in epochs})
        if accelerator is None or accelerator.is_main_process:
            self._make([view for view in wanted if not self._open(view)])
        if accelerator is not None:
            accelerator.wait_for_everyone()
        return ""

    def logits(self, batch: Batch) -> Tensor:
        """Teachers' mean logits of a batch, float32 (N, K), without gradient, on the device of its inputs."""
        if batch.samples is None or batch.views is None or self.split.views is None:
            return self._ask(batch.inputs)
        samples, views = batch.samples.cpu().numpy(), batch.views.cpu().numpy()
        seen = np.unique(views)
        tables = {int(view): self._table(int(view)) for view in seen}
        if len(seen) == 1:
            rows = tables[int(seen[0])][samples]
        else:
            rows = np.stack([tables[int(view)][sample] for view, sample in zip(views, samples, strict=True)])
        return torch.from_numpy(np.asarray(rows)).to(batch.inputs.device, non_blocking=True)

    def _table(self, view: int) -> NDArray[np.float32]:
        if view not in self._views and not self._open(view):
            self._make([view])
        return self._views[view]

    def _files(self, view: int) -> tuple[Path, Path]:
        return self.folder / f"view-{view:04d}.npy", self.folder / f"view-{view:04d}.json"

    def _manifest(self, view: int, table: Path) -> dict[str, object]:
        described = {"key": self.key, "split": self.split.fingerprint, "samples": len(self.split), "view": view}
        return {**described, "sha256": sha256(table)}

    def _open(self, view: int) -> bool:
        """Map a view's file into memory; False when there is none, or not a right one."""
        if view in self._views:
            return True
        table, manifest = self._files(view)
        try:
            if json.loads(manifest.read_text(encoding="utf-8")) != self._manifest(view, table):
                return False
            self._views[view] = np.load(table, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return False
        return True

    def _make(self, views: Sequence[int]) -> None:
        """Compute views and write them, each whole or not at all."""
        if not views:
            return
        batches = -(-len(self.split) // BATCH_SIZE)
        with self.reporter.bar("teacher answers", len(views) * batches) as bar:
            for view in views:
                self._write(view, bar)
                self._open(view)
        self._working = None

    def _write(self, view: int, bar: Bar) -> None:
        table, manifest = self._files(view)
        rows: NDArray[np.float32] | None = None
        start = 0
        with written_aside(table) as aside:
            for batch in self.split.view(view, BATCH_SIZE):
                found = self._ask(batch.inputs.to(self.device)).cpu().numpy()
                if rows is None:
                    shape = (len(self.split), found.shape[1])
                    rows = np.lib.format.open_memmap(aside, mode="w+", dtype=np.float32, shape=shape)
                rows[start : start + len(found)] = found
                start += len(found)
                bar.advance()
            del rows
        write_text(manifest, json.dumps(self._manifest(view, table)))

    @torch.no_grad()
    def _ask(self, inputs: Tensor) -> Tensor:
        """Answers of the teachers, computed now by copies on the device of the inputs."""
        if self._working is None:
            self._working = [put(copy.deepcopy(teacher).eval(), inputs.device) for teacher in self.teachers]
        answers = [teacher(inputs).float() for teacher in self._working]
        return torch.stack(answers).mean(dim=0)
