"""External teachers: soft labels from a file or a distilled set, or a Python function."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from compress.core.atomic_files import sha256, write_with
from compress.core.errors import DataError, MissingPackageError
from compress.core.language import gettext
from compress.core.network_spec import NetworkSpec
from compress.core.stage import Context
from compress.data.batch import Batch, Split
from compress.train.teachers.base import Teacher
from compress.train.teachers.cached_logits import CachedTeacher
from compress.train.teachers.logit_shards import LogitFolder

if TYPE_CHECKING:
    from pyarrow import ChunkedArray

SMALLEST = torch.finfo(torch.float32).tiny
NAME = "probabilities"


def write_soft_labels(path: Path, probabilities: Tensor, split: Split, classes: tuple[str, ...]) -> None:
    """Write soft labels of a split, with the fingerprint of its samples.

    Args:
        path: `.safetensors` or `.parquet`.
        probabilities: (N, K), rows in the order of the split.
        split: Whose samples they are for.
        classes: Names of the K classes.

    Raises:
        DataError: They are no probabilities, or not as many as the split has samples.
        MissingPackageError: Parquet without pyarrow.
    """
    labels = check_probabilities(probabilities, len(split), classes, str(path))
    about = {"contents": sample_fingerprint(split), "classes": json.dumps(classes)}
    if path.suffix == ".parquet":
        arrow, parquet = _arrow()
        rows = arrow.FixedSizeListArray.from_arrays(arrow.array(labels.contiguous().flatten().numpy()), len(classes))
        table = arrow.table({NAME: rows})
        write_with(path, lambda aside: parquet.write_table(table.replace_schema_metadata(about), str(aside)))
    else:
        write_with(path, lambda aside: save_file({NAME: labels.contiguous()}, str(aside), metadata=about))


def sample_fingerprint(split: Split) -> str:
    """Identifies the samples of a split, independently of augmentation."""
    return getattr(split, "contents", split.fingerprint)


def check_probabilities(probabilities: Tensor, samples: int, classes: tuple[str, ...], what: str) -> Tensor:
    """Probabilities (N, K) as float32.

    Raises:
        DataError: Another shape, or rows that hold no probabilities.
    """
    if probabilities.shape != (samples, len(classes)):
        shape = "×".join(map(str, probabilities.shape))
        msg = gettext(
            "{what}: soft labels of shape {shape}, needed {samples} samples × {count} classes; make them for this data",
            what=what,
            shape=shape,
            samples=samples,
            count=len(classes),
        )
        raise DataError(msg)
    values = probabilities.to(torch.float32)
    wrong = (values.min(dim=1).values < 0) | ((values.sum(dim=1) - 1).abs() > 1e-2) | ~values.isfinite().all(dim=1)
    if bool(wrong.any()):
        row = int(wrong.nonzero()[0])
        total = f"{float(values[row].sum()):.4g}"
        msg = gettext(
            "{what}: row {row} holds no probabilities (its sum is {total}); give values of 0 and more that sum to 1",
            what=what,
            row=row,
            total=total,
        )
        raise DataError(msg)
    return values


class FileSoftLabels(Teacher):
    """Soft labels from a file, the same for every view of a sample.

    Args:
        path: `.safetensors` or `.parquet`.
        split: The training split.
        classes: Names of the student's classes.

    Raises:
        DataError: The file is missing, damaged, of other data or other classes.
        MissingPackageError: Parquet without pyarrow.
    """

    indexed_by_sample = True

    def __init__(self, path: Path, split: Split, classes: tuple[str, ...]) -> None:
        if not path.is_file():
            msg = gettext(
                "no soft labels at {path}; write them with compress.distill.teachers.external.write_soft_labels", path=path
            )
            raise DataError(msg)
        values, about = _read(path)
        labels = check_probabilities(values, len(split), classes, str(path))
        if about.get("contents") != sample_fingerprint(split):
            msg = gettext(
                "{path} was made for other data (its fingerprint differs from the training split's); make it for this data",
                path=path,
            )
            raise DataError(msg)
        if _classes(about.get("classes", "")) != list(classes):
            msg = gettext(
                "{path} names other classes, or in another order, than the data; write its columns in the data's order",
                path=path,
            )
            raise DataError(msg)
        self.key = f"labels {sha256(path)}"
        self._logits = labels.clamp(min=SMALLEST).log()

    def logits(self, batch: Batch) -> Tensor:
        """Logarithms of the soft labels.

        Raises:
            DataError: The data source does not number its samples.
        """
        if batch.samples is None:
            msg = gettext("soft labels from a file need numbered samples, and this data source does not number them")
            raise DataError(msg)
        return self._logits[batch.samples.cpu()].to(batch.device)


class DatasetSoftLabels(FileSoftLabels):
    """Soft labels of a distilled training set, the same for every view of an image.

    Args:
        split: The training split.
        classes: Names of the student's classes.

    Raises:
        DataError: It has none, or other classes.
    """

    def __init__(self, split: Split, classes: tuple[str, ...]) -> None:
        soft: Tensor | None = getattr(split, "soft", None)
        if soft is None:
            msg = gettext(
                "teacher `distilled` needs a distilled training set, and this data is none; put a stage "
                "dataset_distillation before, or train on `data: {source: distilled:PATH}`"
            )
            raise DataError(msg)
        labels = check_probabilities(soft, len(split), classes, gettext("the distilled set"))
        values = hashlib.sha256(labels.contiguous().numpy().tobytes()).hexdigest()
        self.key = f"brought labels {sample_fingerprint(split)} {values}"
        self._logits = labels.clamp(min=SMALLEST).log()


class FunctionModule(nn.Module):
    """A function of images as a network whose outputs are the logarithms of its probabilities.

    Args:
        function: Images (N, C, H, W) in [0, 1] → probabilities (N, K).
        spec: Normalisation of the inputs, and the classes.
    """

    def __init__(self, function: Callable[..., object], spec: NetworkSpec) -> None:
        super().__init__()
        self.function, self.classes = function, spec.classes
        self.register_buffer("mean", torch.tensor(spec.mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(spec.std).view(1, -1, 1, 1))

    def forward(self, inputs: Tensor) -> Tensor:
        """Log-probabilities, (N, K)."""
        images = inputs * self.get_buffer("std") + self.get_buffer("mean")
        probabilities = torch.as_tensor(np.asarray(self.function(images.cpu())), dtype=torch.float32)
        name = getattr(self.function, "__name__", "function")
        return check_probabilities(probabilities, len(inputs), self.classes, name).clamp(min=SMALLEST).log().to(inputs.device)


def function_teacher(
    function: Callable[..., object], key: str, spec: NetworkSpec, context: Context, k: int | None = None
) -> CachedTeacher:
    """A function as a teacher; it is called once for each sample and view, and its results are cached.

    Args:
        function: See `FunctionModule`.
        key: Identifies the function in the cache.
        spec: Of the student.
        context: Data and cache folder.
        k: Classes to store; None for all.
    """
    network, cache = FunctionModule(function, spec), LogitFolder(context.cache, k)
    split, task = context.data.train, context.task
    return CachedTeacher([network], split, task, key=key, cache=cache, device="cpu", reporter=context.reporter)


def _read(path: Path) -> tuple[Tensor, Mapping[str, str]]:
    if path.suffix == ".parquet":
        arrow, parquet = _arrow()
        try:
            table = parquet.read_table(str(path))
            rows = _rows(table.column(NAME))
            metadata = {key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()}
        except (OSError, KeyError, ValueError, TypeError, AttributeError, arrow.ArrowException) as error:
            raise _unreadable(path, error) from error
        return torch.from_numpy(rows), metadata
    try:
        with safe_open(str(path), framework="pt") as file:
            return file.get_tensor(NAME), file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise _unreadable(path, error) from error


def _classes(text: str) -> object:
    """The class names in a file's metadata; None where it is no JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _rows(column: ChunkedArray) -> NDArray[np.float32]:
    """A column of lists as (N, K).

    Raises:
        ValueError: The lists are of different lengths, or hold no numbers.
        AttributeError: It holds no lists.
    """
    whole = column.combine_chunks()
    values = np.array(whole.flatten().to_numpy(zero_copy_only=False), dtype=np.float32)  # a copy: arrow's is read-only
    lengths = np.asarray(whole.value_lengths().to_numpy(zero_copy_only=False)) if len(whole) else np.zeros(0)
    if len(np.unique(lengths)) > 1:
        msg = gettext("rows of different lengths")
        raise ValueError(msg)
    return values.reshape(len(whole), -1) if len(whole) else values.reshape(0, 0)


def _unreadable(path: Path, error: Exception) -> DataError:
    return DataError(
        gettext(
            "{path} holds no soft labels named {name!r} ({kind}); write it with write_soft_labels",
            path=path,
            name=NAME,
            kind=type(error).__name__,
        )
    )


def _arrow() -> tuple[ModuleType, ModuleType]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingPackageError("pyarrow", "parquet", gettext("soft labels in Parquet")) from error
    return pyarrow, pyarrow.parquet
