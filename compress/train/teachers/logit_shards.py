"""Teacher logits on disk: shards of rows with a checksum, read through memory maps.

    dense     float32 (K)
    top k     classes uint16 or uint32 (k) · log-probabilities float16 (k) · log of the remaining probability float32

With k = 10 and up to 65,536 classes a top-k row has 44 bytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from compress.core.atomic_files import atomic_write, sha256, write_text

SHARD_SIZE = 4096
"""Number of samples in a file."""

LogitRows = np.ndarray


def encode(z: NDArray[np.float32], k: int | None) -> LogitRows:
    """Logits in the storage format.

    Args:
        z: Logits, (n, K).
        k: Number of classes to store; with None, K or more, z itself is returned.

    Returns:
        z, or rows of `row_dtype`, (n,).
    """
    classes = z.shape[1]
    if k is None or k >= classes:
        return z
    z64 = z.astype(np.float64)
    log_p = z64 - np.logaddexp.reduce(z64, axis=1, keepdims=True)
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


@dataclass
class LogitShards:
    """The logits of one view of a split, in shards with a manifest each.

    Attributes:
        folder: Folder of the files.
        view: Index of the view.
        samples: Size of the split.
        identity: Required content of the manifests: teachers, data, format.
        k: See `encode`.
    """

    folder: Path
    view: int
    samples: int
    identity: dict[str, object]
    k: int | None = None
    _shards: dict[int, LogitRows] = field(default_factory=dict)
    _classes: int = 0

    def missing(self) -> list[int]:
        """Indices of the shards that are missing or not valid: truncated, changed, or from another teacher."""
        return [shard for shard in range(-(-self.samples // SHARD_SIZE)) if not self._open(shard)]

    def read(self, samples: NDArray[np.int64]) -> NDArray[np.float32]:
        """Logits (n, K) of samples, (n,); their shards must exist."""
        shards = samples // SHARD_SIZE
        distinct = np.unique(shards)
        if len(distinct) == 1:
            return decode(self._shards[int(distinct[0])][samples % SHARD_SIZE], self._classes)
        z = np.empty((len(samples), self._classes), dtype=np.float32)
        for shard in distinct:
            in_shard = shards == shard
            z[in_shard] = decode(self._shards[int(shard)][samples[in_shard] % SHARD_SIZE], self._classes)
        return z

    def write(self, batches: Iterable[tuple[int, NDArray[np.float32]]]) -> Iterator[None]:
        """Write each shard when its last batch arrives; an interruption loses only the shard in progress.

        Args:
            batches: (index of the first sample, logits (n, K)), in order; no batch crosses the end of a shard.

        Yields:
            After each batch.
        """
        blocks: list[NDArray[np.float32]] = []
        for start, z in batches:
            blocks.append(z)
            end = start + len(z)
            if end % SHARD_SIZE == 0 or end == self.samples:
                self._save((end - 1) // SHARD_SIZE, np.concatenate(blocks))
                blocks = []
            yield

    def _files(self, shard: int) -> tuple[Path, Path]:
        stem = f"view-{self.view:04d}-{shard:05d}"
        return self.folder / f"{stem}.npy", self.folder / f"{stem}.json"

    def _manifest(self, shard: int, table: Path, classes: int) -> dict[str, object]:
        return {**self.identity, "view": self.view, "shard": shard, "classes": classes, "sha256": sha256(table)}

    def _save(self, shard: int, z: NDArray[np.float32]) -> None:
        table, manifest = self._files(shard)
        with atomic_write(table) as temporary, temporary.open("wb") as file:
            np.lib.format.write_array(file, encode(z, self.k), allow_pickle=False)
        write_text(manifest, json.dumps(self._manifest(shard, table, z.shape[1])))
        self._open(shard)

    def _open(self, shard: int) -> bool:
        if shard in self._shards:
            return True
        table, manifest = self._files(shard)
        try:
            content = json.loads(manifest.read_text(encoding="utf-8"))
            if content != self._manifest(shard, table, content["classes"]):
                return False
            self._shards[shard] = np.load(table, mmap_mode="r", allow_pickle=False)
            self._classes = int(content["classes"])
        except (OSError, ValueError, EOFError, KeyError, TypeError):
            return False
        return True
