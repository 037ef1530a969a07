"""`npz:PATH`: named arrays of numpy, one file for all samples, or a folder with `train.npz`, `validation.npz` and `test.npz`.

The arrays `target` and `classes` are the targets and the names of the classes, and `groups`, texts or numbers (N,), is the
group of each sample, see `Data`; a source without `target` is read by `named_arrays`. Every other array is an input, in the
order of the file. All but `classes` have the samples first. Targets are class numbers (N,), real numbers (N,) or (N, V), or 0
and 1 for each class as float32 (N, K). A negative class number is a sample without a label; of one file these are training
samples. Inputs are given to the network as they are: normalise before.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from compress.core.errors import DataError
from compress.core.language import gettext
from compress.core.network_spec import NetworkSpec
from compress.core.seed_of import seed_of
from compress.core.signature import BATCH, Signature, TensorSpec
from compress.data.array_contents import checksums, content_hash
from compress.data.batch import TARGET, Batch
from compress.data.interface import Data
from compress.data.settings import DataSettings, DataSource
from compress.data.sources import named_arrays
from compress.data.sources.npz_checks import CLASSES, GROUPS, Arrays, check_inputs, check_targets, class_names
from compress.data.sources.npz_files import SPLITS, npz_files
from compress.data.split_checks import find_copies, find_missing_classes
from compress.data.stratified import Indices, stratified_hold_out

OTHERS = (TARGET, CLASSES, GROUPS)
"""Arrays that are no inputs."""


class ArraySplit:
    """Samples in memory. See `compress.data.batch.Split` for the interface.

    Args:
        inputs: Each (N, …).
        target: (N, …).
    """

    views: int | None = 1

    def __init__(self, inputs: Mapping[str, Tensor], target: Tensor) -> None:
        self.inputs, self.target = dict(inputs), target
        digest = hashlib.sha256()
        for name, values in (*self.inputs.items(), (TARGET, target)):
            digest.update(f"{name} {values.dtype} {tuple(values.shape)}\n".encode())
            digest.update(values.contiguous().numpy().tobytes())
        self.fingerprint = digest.hexdigest()

    def __len__(self) -> int:
        return len(self.target)

    @property
    def labels(self) -> Indices | None:
        """Class of each sample, int64 (N,), negative without a label; None where targets are no class numbers."""
        is_class = self.target.ndim == 1 and not self.target.is_floating_point()
        return self.target.numpy().astype(np.int64) if is_class else None

    def sizes(self) -> Indices:
        """A checksum of the inputs of each sample, (N,)."""
        return checksums(self.inputs.values())

    def contents(self, index: int) -> bytes:
        """Hash of the inputs."""
        return content_hash({name: values[index] for name, values in self.inputs.items()})

    def name(self, index: int) -> str:
        """Number of the sample."""
        return f"number {index}"

    def batches(self, batch_size: int) -> int:
        """How many batches `epoch` gives."""
        whole, rest = divmod(len(self), batch_size)
        return whole + (rest > 1)

    def ordered(self, batch_size: int) -> Iterator[Batch]:
        """Every sample once, in order, last batch short."""
        return (self._batch(samples) for samples in torch.split(torch.arange(len(self)), batch_size))

    def view(self, number: int, batch_size: int) -> Iterator[Batch]:
        """As `ordered`: there is one view."""
        return (batch._replace(views=torch.full((batch.size,), number)) for batch in self.ordered(batch_size))

    def epoch(self, number: int, batch_size: int, seed: int) -> Iterator[Batch]:
        """Shuffled batches; a rest of one sample is left out."""
        generator = torch.Generator().manual_seed(seed_of("order", seed, number))
        order = torch.split(torch.randperm(len(self), generator=generator), batch_size)
        return (self._batch(samples)._replace(views=torch.zeros_like(samples)) for samples in order[: self.batches(batch_size)])

    def _batch(self, samples: Tensor) -> Batch:
        return Batch({name: values[samples] for name, values in self.inputs.items()}, {TARGET: self.target[samples]}, samples)


def load(settings: DataSettings, origin: DataSource) -> Data:
    """Read the arrays and split them.

    Raises:
        DataError: Missing or damaged files, arrays of different lengths, no target, splits with different inputs.
    """
    path = origin.path
    if not any(_has_target(file) for file in npz_files(path)):
        return named_arrays.load(settings, origin)
    parts = [_read(file) for file in npz_files(path)] if path.is_dir() else _divide(_read(path), settings)
    names = [name for name in parts[0] if name not in OTHERS]
    inputs = [_inputs(part, names) for part in parts]
    targets = [_target(part[TARGET]) for part in parts]
    classes = class_names(parts, path) or _numbers(parts[0])
    check_inputs(inputs, path)
    check_targets(targets, classes, path)
    splits = [ArraySplit(each, target) for each, target in zip(inputs, targets, strict=True)]
    signature = Signature(
        inputs=tuple(
            TensorSpec.model_validate({"name": key, "dtype": str(values.dtype)[6:], "shape": (BATCH, *values.shape[1:])})
            for key, values in splits[0].inputs.items()
        )
    )
    spec = NetworkSpec(signature=signature, classes=classes)
    by_name = dict(zip(("training", "validation", "test"), splits, strict=True))
    labels = {name: split.labels for name, split in by_name.items() if split.labels is not None and name != "training"}
    facts = (*find_copies(*splits), *find_missing_classes(labels, classes))
    return Data(spec, splits[0], splits[1], splits[2], source=settings.source, warnings=facts, groups=_groups(parts[2]))


def _has_target(path: Path) -> bool:
    """Whether an archive that can be read has targets; one that cannot is refused by whoever reads it whole."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return TARGET in file.files or not file.files
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, AttributeError):
        return True


def _read(path: Path) -> Arrays:
    """Arrays of one file, checked."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        reason = " ".join(str(error).split())
        msg = gettext(
            "cannot read {path}: {reason}; give an .npz file of numbers (np.savez), or a folder with one for each of",
            path=path,
            reason=reason,
        )
        raise DataError(gettext("{msg} {splits}", msg=msg, splits=", ".join(SPLITS))) from error
    inputs = [name for name in arrays if name not in OTHERS]
    if TARGET not in arrays or not inputs:
        msg = gettext(
            "{path} has the arrays {arrays}; it needs `target` and at least one input",
            path=path,
            arrays=", ".join(arrays) or "none",
        )
        raise DataError(msg)
    lengths = {
        name: len(arrays[name]) if arrays[name].ndim else 0
        for name in (*inputs, TARGET, *(name for name in (GROUPS,) if name in arrays))
    }
    if len(set(lengths.values())) > 1 or 0 in lengths.values():
        counts = ", ".join(f"{name} {count}" for name, count in lengths.items())
        msg = gettext(
            "{path}: the arrays hold different numbers of samples, or none ({counts}); the samples are the first axis",
            path=path,
            counts=counts,
        )
        raise DataError(msg)
    for name in (*inputs, TARGET):
        _check_numbers(path, name, arrays[name])
    return arrays


def _check_numbers(path: Path, name: str, values: np.ndarray) -> None:
    if values.dtype.kind not in "fiub":
        msg = gettext("{path}: {name} is {dtype}; arrays hold numbers", path=path, name=name, dtype=values.dtype)
        raise DataError(msg)
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        msg = gettext("{path}: {name} has NaN or infinite values; correct the data", path=path, name=name)
        raise DataError(msg)


def _divide(arrays: Arrays, settings: DataSettings) -> list[Arrays]:
    """Train, validation and test, by class where the targets are classes."""
    target = arrays[TARGET]
    is_class = target.ndim == 1 and target.dtype.kind in "iu"
    labels: Indices = target.astype(np.int64) if is_class else np.zeros(len(target), np.int64)
    labelled, unlabelled = np.flatnonzero(labels >= 0), np.flatnonzero(labels < 0)
    labels = labels[labelled]
    rest, test = stratified_hold_out(labels, settings.test, settings.seed)
    train, validation = stratified_hold_out(labels[rest], settings.validation, settings.seed)

    def part(samples: Indices) -> Arrays:
        return {name: values if name == CLASSES else values[samples] for name, values in arrays.items()}

    return [
        part(np.sort(np.concatenate([labelled[rest[train]], unlabelled]))),
        part(labelled[rest[validation]]),
        part(labelled[test]),
    ]


def _tensor(values: np.ndarray) -> Tensor:
    """Real numbers as float32, integers in their own type; unsigned ones of more than 8 bits as int64."""
    is_exact = values.dtype.kind in "bi" or values.dtype == np.uint8
    other = np.float32 if values.dtype.kind == "f" else np.int64
    return torch.from_numpy(np.ascontiguousarray(values, dtype=values.dtype if is_exact else other))


def _target(values: np.ndarray) -> Tensor:
    """Targets; one real number for each sample is a row of one value, (N, 1)."""
    target = _tensor(values)
    return target[:, None] if target.ndim == 1 and target.is_floating_point() else target


def _inputs(arrays: Arrays, order: Sequence[str]) -> dict[str, Tensor]:
    """The inputs in the order of the training split, others after them."""
    names = [name for name in arrays if name not in OTHERS]
    names.sort(key=lambda name: order.index(name) if name in order else len(order))
    return {name: _tensor(arrays[name]) for name in names}


def _groups(arrays: Arrays) -> list[str]:
    """Group of each sample; none without the array."""
    return [str(group) for group in arrays[GROUPS].reshape(-1).tolist()] if GROUPS in arrays else []


def _numbers(arrays: Arrays) -> tuple[str, ...]:
    """Numbers as the names of the classes or values of targets."""
    target = arrays[TARGET]
    count = int(target.max()) + 1 if target.ndim == 1 and target.dtype.kind in "iu" else int(np.prod(target.shape[1:2]))
    return tuple(map(str, range(count)))
