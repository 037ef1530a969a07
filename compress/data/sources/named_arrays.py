"""`npz:PATH` without `target`: NumPy archives with one array for each input of a network, the samples along the first axis.

Arrays named `target`, `targets`, `label` or `labels` are targets; all others are inputs, by their names. An input that the
network takes without an axis of samples, such as the state of a recurrent network, has one more axis here.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from compress.core.atomic_files import sha256
from compress.core.errors import DataError
from compress.core.fact import Fact
from compress.core.language import gettext
from compress.core.network_spec import NetworkSpec
from compress.core.signature import BATCH, Signature, TensorSpec
from compress.data.batch import TARGET
from compress.data.interface import Data
from compress.data.named_split import NamedSplit, read_rows, split_indices
from compress.data.settings import DataSettings, DataSource
from compress.data.sources.npz_checks import check_inputs
from compress.data.sources.npz_files import SPLITS, npz_files

TARGETS = frozenset(("target", "targets", "label", "labels"))
KINDS = frozenset("fiub")


def load(settings: DataSettings, origin: DataSource) -> Data:
    """Read the arrays; those of one file are split by seed, a folder has a file for each split.

    Raises:
        DataError: No such file, not an archive of plain arrays, arrays with different numbers of samples, or splits with
            different inputs.
    """
    if origin.path.is_dir():
        return _load_folder(settings, origin)
    arrays = read_arrays(origin.path)
    inputs, targets = _divide(arrays, origin.path)
    count = len(next(iter(inputs.values())))
    read, digest = read_rows(inputs, targets), sha256(origin.path)
    train, validation, test = (
        NamedSplit(part[:limit] if limit else part, read, f"{digest} {name} {settings.seed} {limit} {len(part)}")
        for name, part, limit in zip(
            SPLITS,
            split_indices(count, settings.validation, settings.test, settings.seed),
            (settings.limit, settings.evaluation_limit, settings.evaluation_limit),
            strict=True,
        )
    )
    few = (Fact.of("data.few_samples_in_all_splits", str(origin.path), count=count),) if count < 3 else ()
    return Data(_specification(inputs, targets), train, validation, test, source=settings.source, warnings=few)


def _load_folder(settings: DataSettings, origin: DataSource) -> Data:
    """The splits of a folder with a file for each."""
    parts = [_divide(read_arrays(file), file) for file in npz_files(origin.path)]
    check_inputs([inputs for inputs, _ in parts], origin.path)
    limits = (settings.limit, settings.evaluation_limit, settings.evaluation_limit)
    splits = []
    for file, (inputs, targets), limit in zip(npz_files(origin.path), parts, limits, strict=True):
        count = len(next(iter(inputs.values())))
        samples = torch.arange(min(count, limit or count))
        splits.append(NamedSplit(samples, read_rows(inputs, targets), f"{sha256(file)} {len(samples)}"))
    return Data(_specification(*parts[0]), splits[0], splits[1], splits[2], source=settings.source)


def _divide(arrays: dict[str, np.ndarray], path: Path) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Inputs and targets."""
    inputs = {name: torch.from_numpy(array) for name, array in arrays.items() if name.lower() not in TARGETS}
    labels = next((name for name in arrays if name.lower() in TARGETS), None)
    targets = {} if labels is None else {TARGET: torch.from_numpy(arrays[labels])}
    if not inputs:
        msg = gettext("{path} holds targets alone; give an array for each input of the network, by its name", path=path)
        raise DataError(msg)
    return inputs, targets


def _specification(inputs: Mapping[str, torch.Tensor], targets: Mapping[str, torch.Tensor]) -> NetworkSpec:
    specs = tuple(
        TensorSpec(name=name, dtype=str(values.dtype).removeprefix("torch."), shape=(BATCH, *values.shape[1:]))
        for name, values in inputs.items()
    )
    return NetworkSpec(signature=Signature(inputs=specs), classes=_classes(targets.get(TARGET)))


def _classes(target: torch.Tensor | None) -> tuple[str, ...]:
    """Numbers of the classes, where targets are class numbers."""
    if target is None or target.is_floating_point() or target.ndim != 1:
        return ()
    return tuple(str(number) for number in range(int(target.max()) + 1))


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an archive, with equal numbers of samples.

    Raises:
        DataError: No such file, not an archive of plain arrays, none in it, or different numbers of samples.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files} if hasattr(archive, "files") else {}
    except OSError as error:
        msg = gettext(
            "cannot read {path}: {strerror}; give the path of an .npz file", path=path, strerror=error.strerror or error
        )
        raise DataError(msg) from error
    except (ValueError, EOFError, zipfile.BadZipFile, KeyError) as error:
        msg = gettext(
            "{path} is not a NumPy archive of plain arrays ({error}); write it with numpy.savez(path, name=array, …)",
            path=path,
            error=error,
        )
        raise DataError(msg) from error
    if not arrays:
        msg = gettext("{path} holds no named arrays; write it with numpy.savez(path, name=array, …)", path=path)
        raise DataError(msg)
    if odd := [name for name, array in arrays.items() if array.dtype.kind not in KINDS or array.ndim == 0]:
        described = ", ".join(f"{name}: {arrays[name].dtype} {arrays[name].shape}" for name in odd)
        msg = gettext(
            "{path} holds {described}; arrays are numbers with the samples along the first axis", path=path, described=described
        )
        raise DataError(msg)
    counts = {name: len(array) for name, array in arrays.items()}
    if len(set(counts.values())) > 1 or 0 in counts.values():
        described = ", ".join(f"{name}: {count}" for name, count in counts.items())
        msg = gettext(
            "{path} holds different numbers of samples, or none ({described}); the first axis of every array counts samples",
            path=path,
            described=described,
        )
        raise DataError(msg)
    return {name: np.ascontiguousarray(array) for name, array in arrays.items()}
