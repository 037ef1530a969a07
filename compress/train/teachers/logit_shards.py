"""How teacher answers lie on disk: shards of rows, each whole and verified, read through memory maps.

    dense     float32 (K)
    top k     classes uint16 or uint32 (k) · log-probabilities float16 (k) · log of the remaining mass float32

With k = 10 and up to 65,536 classes a row of the second kind is 44 bytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compress.core.atomic_files import atomic_write, sha256, write_text

SHARD_SIZE = 4096
"""Samples in a file."""

Rows = NDArray[Any]


def encode(z: NDArray[np.float32], k: int | None) -> Rows:
    """Answers as they are kept.

    Args:
        z: Logits, (n, K).
        k: How many classes to keep; None, or K and more, keeps them all as they are.
    """
    classes = z.shape[1]
    if k is None or k >= classes:
        return z
    z64 = z.astype(np.float64)
    log_p = z64 - np.logaddexp.reduce(z64, axis=1, keepdims=True)
    best = np.argsort(-log_p, axis=1, kind="stable")[:, :k]
    rest = log_p.copy()
    np.put_along_axis(rest, best, -np.inf, axis=1)
    rows = np.empty(len(z), dtype=row_dtype(k, classes))
    rows["classes"] = best
    rows["log_p"] = np.take_along_axis(log_p, best, axis=1)
    rows["rest"] = np.logaddexp.reduce(rest, axis=1)
    return rows


def decode(rows: Rows, classes: int) -> NDArray[np.float32]:
    """Answers as logits (n, K); of the top-k kind all classes that were left out share the remaining mass equally."""
    if rows.dtype.names is None:
        return np.asarray(rows, dtype=np.float32)
    k = rows.dtype["classes"].shape[0]
    z = np.repeat((rows["rest"] - np.log(classes - k)).astype(np.float32)[:, None], classes, axis=1)
    np.put_along_axis(z, rows["classes"].astype(np.int64), rows["log_p"].astype(np.float32), axis=1)
    return z


def row_dtype(k: int, classes: int) -> np.dtype[Any]:
    """Type of a row of the top-k kind."""
    number = "<u2" if classes <= 1 << 16 else "<u4"
    return np.dtype([("classes", number, (k,)), ("log_p", "<f2", (k,)), ("rest", "<f4")])


@dataclass
class LogitShards:
    """The answers to one view of a split, in shards beside their manifests.

    Attributes:
        folder: Where they stand.
        view: Its number.
        samples: Of the split.
        identity: What the manifests must say: teachers, data, kind.
        k: See `encode`.
    """

    folder: Path
    view: int
    samples: int
    identity: dict[str, Any]
    k: int | None = None
    _shards: dict[int, Rows] = field(default_factory=dict)
    _classes: int = 0

    def missing(self) -> list[int]:
        """Shards that are not there, or not right: cut off, changed, or another's."""
        return [shard for shard in range(-(-self.samples // SHARD_SIZE)) if not self._open(shard)]

    def read(self, samples: NDArray[np.int64]) -> NDArray[np.float32]:
        """Logits (n, K) of these samples; all shards must be there."""
        shards = samples // SHARD_SIZE
        found = np.unique(shards)
        if len(found) == 1:
            return decode(self._shards[int(found[0])][samples % SHARD_SIZE], self._classes)
        z = np.empty((len(samples), self._classes), dtype=np.float32)
        for shard in found:
            here = shards == shard
            z[here] = decode(self._shards[int(shard)][samples[here] % SHARD_SIZE], self._classes)
        return z

    def write(self, answers: Iterable[tuple[int, NDArray[np.float32]]]) -> Iterator[None]:
        """Write shards as their answers come; an interruption loses the one under way.

        Args:
            answers: First sample and logits (n, K), in order; no block reaches over the end of a shard.

        Yields:
            After each block.
        """
        blocks: list[NDArray[np.float32]] = []
        for start, z in answers:
            blocks.append(z)
            end = start + len(z)
            if end % SHARD_SIZE == 0 or end == self.samples:
                self._save((end - 1) // SHARD_SIZE, np.concatenate(blocks))
                blocks = []
            yield

    def _files(self, shard: int) -> tuple[Path, Path]:
        stem = f"view-{self.view:04d}-{shard:05d}"
        return self.folder / f"{stem}.npy", self.folder / f"{stem}.json"

    def _described(self, shard: int, table: Path, classes: int) -> dict[str, Any]:
        return {**self.identity, "view": self.view, "shard": shard, "classes": classes, "sha256": sha256(table)}

    def _save(self, shard: int, z: NDArray[np.float32]) -> None:
        table, manifest = self._files(shard)
        with atomic_write(table) as aside, aside.open("wb") as file:
            np.lib.format.write_array(file, encode(z, self.k), allow_pickle=False)
        write_text(manifest, json.dumps(self._described(shard, table, z.shape[1])))
        self._open(shard)

    def _open(self, shard: int) -> bool:
        if shard in self._shards:
            return True
        table, manifest = self._files(shard)
        try:
            said = json.loads(manifest.read_text(encoding="utf-8"))
            if said != self._described(shard, table, said["classes"]):
                return False
            self._shards[shard] = np.load(table, mmap_mode="r", allow_pickle=False)
            self._classes = int(said["classes"])
        except (OSError, ValueError, EOFError, KeyError, TypeError):
            return False
        return True
