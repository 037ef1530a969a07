"""Teacher logits on disk: shards of rows with a checksum, read through memory maps.

    dense     float32 (K)
    top k     classes uint16 or uint32 (k) · log-probabilities float16 (k) · log of the remaining probability float32
    compact   top k as bytes, see `compact_rows`, for samples with several rows, such as the masked tokens of a text

With k = 10 and up to 65,536 classes a top-k row has 44 bytes; with k = 50 and 30,522 classes a compact row has 110.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from compress.core.atomic_files import atomic_write, sha256, write_text
from compress.train.teachers.compact_rows import FEWEST_CLASSES, decode_compact, encode_compact, log_mean_of, normalised

SHARD_SIZE = 4096
"""Number of samples in a file."""

LogitRows = np.ndarray


def encode(z: NDArray[np.float32], k: int | None, *, compact: bool = False) -> LogitRows:
    """Logits in the storage format.

    Args:
        z: Logits, (n, K).
        k: Number of classes to store; with None, K or more, z itself is returned.
        compact: Whether a row is a few bytes, for k of at least `FEWEST_CLASSES`.

    Returns:
        z, or rows of `row_dtype`, (n,), or compact rows, (n, bytes).
    """
    classes = z.shape[1]
    if k is None or k >= classes:
        return z
    z64 = z.astype(np.float64)
    log_p = z64 - np.logaddexp.reduce(z64, axis=1, keepdims=True)
    if compact and k >= FEWEST_CLASSES:
        return encode_compact(log_p, k)
    top = np.argsort(-log_p, axis=1, kind="stable")[:, :k]
    rest = log_p.copy()
    np.put_along_axis(rest, top, -np.inf, axis=1)
    rows = np.empty(len(z), dtype=row_dtype(k, classes))
    rows["classes"] = top
    rows["log_p"] = np.take_along_axis(log_p, top, axis=1)
    rows["rest"] = np.logaddexp.reduce(rest, axis=1)
    return rows


def decode(rows: LogitRows, classes: int) -> NDArray[np.float32]:
    """Logits (n, K) of stored rows; in top-k rows the other classes share the remaining probability equally."""
    if rows.dtype.names is None:
        return np.asarray(rows, dtype=np.float32)
    k = rows.dtype["classes"].shape[0]
    z = np.repeat((rows["rest"] - np.log(classes - k)).astype(np.float32)[:, None], classes, axis=1)
    np.put_along_axis(z, rows["classes"].astype(np.int64), rows["log_p"].astype(np.float32), axis=1)
    return z


def row_dtype(k: int, classes: int) -> np.dtype[np.void]:
    """The type of a top-k row."""
    index = "<u2" if classes <= 1 << 16 else "<u4"
    return np.dtype([("classes", index, (k,)), ("log_p", "<f2", (k,)), ("rest", "<f4")])


@dataclass(frozen=True)
class LogitFolder:
    """Folder and format of cached logits.

    Attributes:
        path: Folder with a subfolder for each combination of teacher, split and format.
        k: See `encode`.
    """

    path: Path
    k: int | None = None


class StoredRows(NamedTuple):
    """Rows of a batch of samples, in their order.

    Attributes:
        start: Index of the first sample.
        logits: (n, K).
        counts: Number of rows of each sample, (N,).
    """

    start: int
    logits: NDArray[np.float32]
    counts: NDArray[np.int64]


@dataclass
class LogitShards:
    """The logits of one view of a split, in shards with a manifest each.

    Attributes:
        folder: Folder of the files.
        view: Index of the view.
        samples: Size of the split.
        identity: Required content of the manifests: teachers, data, format.
        k: See `encode`.
        several: Whether samples have several rows, or none; their numbers are in the manifests.
    """

    folder: Path
    view: int
    samples: int
    identity: dict[str, object]
    k: int | None = None
    several: bool = False
    _shards: dict[int, LogitRows] = field(default_factory=dict)
    _ends: dict[int, NDArray[np.int64]] = field(default_factory=dict)
    _log_mean: dict[int, NDArray[np.float64]] = field(default_factory=dict)
    _classes: int = 0

    def missing(self) -> list[int]:
        """Indices of the shards that are missing or not valid: truncated, changed, or from another teacher."""
        return [shard for shard in range(-(-self.samples // SHARD_SIZE)) if not self._open(shard)]

    def read(self, samples: NDArray[np.int64]) -> NDArray[np.float32]:
        """Logits of samples, in their order, (n, K); their shards must exist."""
        shards = samples // SHARD_SIZE
        distinct = np.unique(shards)
        if self.several:
            z = [self._rows_of(int(shard), samples[shards == shard] % SHARD_SIZE) for shard in distinct]
            return z[0] if len(z) == 1 else self._in_order(samples, shards, z)
        if len(distinct) == 1:
            return decode(self._shards[int(distinct[0])][samples % SHARD_SIZE], self._classes)
        logits = np.empty((len(samples), self._classes), dtype=np.float32)
        for shard in distinct:
            in_shard = shards == shard
            logits[in_shard] = decode(self._shards[int(shard)][samples[in_shard] % SHARD_SIZE], self._classes)
        return logits

    def write(self, batches: Iterable[StoredRows]) -> Iterator[None]:
        """Write each shard when its last batch arrives; an interruption loses only the shard in progress.

        Args:
            batches: Rows of batches, in order; no batch crosses the end of a shard.

        Yields:
            After each batch.
        """
        blocks: list[LogitRows] = []
        counts: list[NDArray[np.int64]] = []
        total: NDArray[np.float64] | float = 0.0
        for start, z, of_batch in batches:
            blocks.append(encode(z, self.k, compact=self.several))
            counts.append(of_batch)
            if self.several:
                total = total + softmax(z.astype(np.float64), axis=1).sum(axis=0)
            end = start + len(of_batch)
            if end % SHARD_SIZE == 0 or end == self.samples:
                number, classes = (end - 1) // SHARD_SIZE, z.shape[1]
                if self.several:
                    self._save_mean(number, np.asarray(total))
                self._save(number, np.concatenate(blocks), np.concatenate(counts), classes)
                blocks, counts, total = [], [], 0.0
            yield

    @property
    def row_size(self) -> int:
        """Bytes of a row; 0 before the first shard."""
        rows = next(iter(self._shards.values()), None)
        return 0 if rows is None or not len(rows) else rows[0].nbytes

    def _rows_of(self, shard: int, places: NDArray[np.int64]) -> NDArray[np.float32]:
        """Logits of the rows of some samples of a shard, in their order."""
        ends = self._ends[shard]
        parts = [self._shards[shard][ends[place - 1] if place else 0 : ends[place]] for place in places]
        rows = np.concatenate(parts)
        is_compact = rows.dtype == np.uint8 and self.k is not None
        return decode_compact(rows, self.k or 0, self._log_mean[shard]) if is_compact else decode(rows, self._classes)

    def _in_order(
        self, samples: NDArray[np.int64], shards: NDArray[np.int64], logits: list[NDArray[np.float32]]
    ) -> NDArray[np.float32]:
        """Logits by shard in the order of the samples."""
        lengths = np.empty(len(samples), dtype=np.int64)
        owners = []
        for shard in np.unique(shards):
            members = np.flatnonzero(shards == shard)
            lengths[members] = np.diff(self._ends[int(shard)], prepend=0)[samples[members] % SHARD_SIZE]
            owners.append(members)
        by_shard = np.concatenate(owners)
        order = np.argsort(np.repeat(by_shard, lengths[by_shard]), kind="stable")
        return np.concatenate(logits)[order]

    def _mean_file(self, shard: int) -> Path:
        return self._files(shard)[0].with_suffix(".mean.npy")

    def _save_mean(self, shard: int, total: NDArray[np.float64]) -> None:
        with atomic_write(self._mean_file(shard)) as temporary, temporary.open("wb") as file:
            np.lib.format.write_array(file, log_mean_of(total), allow_pickle=False)

    def _files(self, shard: int) -> tuple[Path, Path]:
        stem = f"view-{self.view:04d}-{shard:05d}"
        return self.folder / f"{stem}.npy", self.folder / f"{stem}.json"

    def _manifest(self, shard: int, table: Path, classes: int, counts: object) -> dict[str, object]:
        rows = {"rows": counts, "mean_sha256": sha256(self._mean_file(shard))} if self.several else {}
        return {**self.identity, "view": self.view, "shard": shard, "classes": classes, **rows, "sha256": sha256(table)}

    def _save(self, shard: int, rows: LogitRows, counts: NDArray[np.int64], classes: int) -> None:
        table, manifest = self._files(shard)
        with atomic_write(table) as temporary, temporary.open("wb") as file:
            np.lib.format.write_array(file, rows, allow_pickle=False)
        write_text(manifest, json.dumps(self._manifest(shard, table, classes, counts.tolist())))
        self._open(shard)

    def _open(self, shard: int) -> bool:
        if shard in self._shards:
            return True
        table, manifest = self._files(shard)
        try:
            content = json.loads(manifest.read_text(encoding="utf-8"))
            if content != self._manifest(shard, table, content["classes"], content.get("rows")):
                return False
            rows = np.load(table, mmap_mode="r", allow_pickle=False)
            if self.several:
                self._ends[shard] = np.cumsum(np.asarray(content["rows"], dtype=np.int64))
                if self._ends[shard][-1] != len(rows):
                    return False
                self._log_mean[shard] = normalised(np.load(self._mean_file(shard), allow_pickle=False))
            self._shards[shard] = rows
            self._classes = int(content["classes"])
        except (OSError, ValueError, EOFError, KeyError, TypeError):
            return False
        return True
