"""A DataLoader of the user as a split, with its sampling, transforms and workers."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Mapping, Sized
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import (
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
)

from compress.core.errors import DataError
from compress.core.language import gettext
from compress.core.object_fingerprint import fingerprint_object
from compress.core.seed_of import seed_of
from compress.core.signature import BATCH, TensorSpec
from compress.data.array_contents import content_hash
from compress.data.augment import seeded_transform
from compress.data.batch import Batch
from compress.data.read_batch import BatchLayout
from compress.data.split_checks import refuse_unlabelled
from compress.data.stratified import Indices

_PROBED = 32


class LoaderSplit:
    """A loader as a split. See `compress.data.batch.Split` for the interface.

    `fingerprint` covers the loader's length, the attributes and code of its dataset and collate function, and up to 32 of its
    samples. Changes of other files that the dataset reads are not detected.

    Args:
        loader: Reads a dataset by index.
        name: Name of the split.
        layout: Content of its batches.

    Attributes:
        layout: Content of the batches.
        inputs: Type and shape of the inputs of the first sample, in their order.
        probed: Hashes of the inputs of up to 32 samples.
        hashes: Hashes of inputs and targets of these samples, in their order.
        range: Smallest and largest float value in these samples.

    Raises:
        DataError: It is not a DataLoader of an indexed dataset, or its samples do not fit the layout.
    """

    views: int | None = None

    def __init__(self, loader: DataLoader[object], name: str, layout: BatchLayout) -> None:
        self.name, self._loader, self.layout = name, loader, layout
        if not isinstance(loader, DataLoader):
            msg = gettext(
                "the {name} loader is {kind}; wrap the dataset: DataLoader(dataset, batch_size=64)",
                name=name,
                kind=type(loader).__name__,
            )
            raise DataError(msg)
        if (
            isinstance(loader.dataset, IterableDataset)
            or loader.batch_sampler is None
            or not hasattr(loader.dataset, "__len__")
        ):
            msg = gettext(
                "the {name} loader cannot be read by index; give it a dataset with __len__ and __getitem__, and a batch size",
                name=name,
            )
            raise DataError(msg)
        self._dataset = self._own_dataset()
        self._steps, self._size = len(loader), _length(self._dataset)
        if self._steps == 0 or self._size == 0:
            msg = gettext("the {name} loader gives no batches", name=name)
            raise DataError(msg)
        self.range, self.hashes = (0.0, 0.0), tuple[bytes, ...]()
        if name != "train":
            self._refuse_unlabelled()
        self.inputs, self.probed, self.fingerprint = self._probe()

    def _own_dataset(self) -> Dataset[object]:
        """The dataset, or the subset of it that the sampler of the loader uses."""
        dataset, sampler = self._loader.dataset, self._loader.sampler
        if isinstance(sampler, SubsetRandomSampler):
            return Subset(dataset, sorted(set(sampler.indices)))
        if self.name != "train" and not isinstance(sampler, (SequentialSampler, RandomSampler)):
            msg = gettext(
                "the {name} loader has a {kind}; use a Subset of the dataset with its samples instead",
                name=self.name,
                kind=type(sampler).__name__,
            )
            raise DataError(msg)
        return dataset

    def __len__(self) -> int:
        return self._size

    def batches(self, batch_size: int) -> int:  # noqa: ARG002
        """Number of batches of the loader, without a last batch of one sample."""
        own = self._loader.batch_size
        if own is None or own == 1 or self._loader.drop_last:
            return self._steps
        return self._steps - (_length(self._loader.sampler) % own == 1)

    def ordered(self, batch_size: int) -> Iterator[Batch]:
        """Every sample once, in order, with the transforms of the dataset."""
        loader = self._loader
        plain: DataLoader[object] = DataLoader(
            self._dataset,
            batch_size,
            num_workers=loader.num_workers,
            collate_fn=loader.collate_fn,
            worker_init_fn=loader.worker_init_fn,
            generator=torch.Generator(),
        )
        start = 0
        for batch in self._batches(plain, seed_of("ordered")):
            read = self._read(batch)
            yield read._replace(samples=torch.arange(start, start + read.size))
            start += read.size

    def view(self, number: int, batch_size: int) -> Iterator[Batch]:  # noqa: ARG002
        """The same as `ordered`, since the views of a loader have no indices."""
        return self.ordered(batch_size)

    def epoch(self, number: int, batch_size: int, seed: int) -> Iterator[Batch]:
        """The batches of the loader."""
        batches = self._batches(self._loader, seed_of("epoch", seed, number))
        for batch in itertools.islice(batches, self.batches(batch_size)):
            yield self._read(batch)

    @property
    def dataset(self) -> Dataset[object]:
        """The samples of the split, by index."""
        return self._dataset

    def probe_samples(self) -> Iterator[tuple[int, Batch]]:
        """Up to 32 evenly spaced samples, each a batch with its index; torch's global generator is seeded."""
        with seeded_transform(seed_of("probe")):
            for index in torch.linspace(0, self._size - 1, min(self._size, _PROBED)).round().int().tolist():
                yield index, self._read(self._sample(index))

    @property
    def labels(self) -> Indices | None:
        """Class of each sample, int64 (N,), if the dataset has them without reading samples; else None."""
        dataset, indices = self._whole_dataset()
        values = dataset.tensors[-1] if isinstance(dataset, TensorDataset) else getattr(dataset, "targets", None)
        if not isinstance(values, (list, Tensor, np.ndarray)) or len(values) != _length(dataset):
            return None
        labels = np.asarray(values)
        return labels[indices] if labels.ndim == 1 and labels.dtype.kind == "i" else None

    def image_files(self, count: int) -> list[tuple[Path, Tensor]]:
        """Up to `count` evenly spaced image files, each with its sample (C, H, W).

        Empty if the dataset has no list of (path, class) in `samples`, as torchvision's `ImageFolder` has.
        """
        dataset, indices = self._whole_dataset()
        listed = getattr(dataset, "samples", None)
        if not isinstance(listed, list) or not all(isinstance(entry, tuple) and isinstance(entry[0], str) for entry in listed):
            return []
        with seeded_transform(seed_of("files")):
            return [
                (Path(listed[indices[index]][0]), self._read(self._sample(index)).input[0])
                for index in torch.linspace(0, self._size - 1, min(self._size, count)).round().int().tolist()
            ]

    def _refuse_unlabelled(self) -> None:
        """Refuse samples without a label, where the dataset has labels without reading samples.

        Raises:
            DataError: A label of the dataset is negative, and its sample, read through the loader, has no class either.
        """
        labels = self.labels if any(spec.values is not None for spec in self.layout.targets) else None
        if labels is None or not (labels < 0).any():
            return
        try:  # a transform or the collate function may change labels such as -1 and 1 to class numbers
            self._read(self._sample(int(np.flatnonzero(labels < 0)[0])))
        except DataError:
            refuse_unlabelled(labels, self.name)

    def _whole_dataset(self) -> tuple[Dataset[object], Indices]:
        """The underlying dataset, and the index of each sample in it, (N,)."""
        dataset, indices = self._dataset, np.arange(self._size)
        while isinstance(dataset, Subset):
            indices = np.asarray(dataset.indices)[indices]
            dataset = dataset.dataset
        return dataset, indices

    def _read(self, batch: object) -> Batch:
        return self.layout.read(batch, self.name)

    def _probe(self) -> tuple[tuple[TensorSpec, ...], frozenset[bytes], str]:
        """Inputs of a sample, hashes of some samples, and the fingerprint."""
        shapes: dict[tuple[tuple[int, ...], ...], int] = {}
        probed: list[bytes] = []
        labels: list[object] = []
        inputs: tuple[TensorSpec, ...] = ()
        code = fingerprint_object((self._dataset, self._loader.collate_fn)).sha256
        for index, batch in self.probe_samples():
            inputs = inputs or _describe(batch)
            shapes.setdefault(tuple(tuple(values.shape[1:]) for values in batch.inputs.values()), index)
            probed.append(content_hash(batch.inputs))
            self.hashes += (content_hash({**batch.inputs, **batch.targets}),)
            labels += _listed(batch)
            for values in batch.inputs.values():
                if values.is_floating_point() and values.numel():
                    self.range = min(self.range[0], float(values.min())), max(self.range[1], float(values.max()))
        if len(shapes) > 1 and self.layout.signature is None:
            self._refuse_shapes(shapes)
        sampling = {
            name: value for name, value in vars(self._loader.sampler).items() if name not in ("data_source", "generator")
        }
        own = (type(self._loader.sampler), sampling, self._loader.batch_size, self._loader.drop_last)
        known = [(spec.name, spec.shape, spec.values) for spec in self.layout.targets]
        text = f"{code} {fingerprint_object(own).sha256} {self._size} {self._steps} {known} {labels}".encode()
        return inputs, frozenset(probed), hashlib.sha256(text + b"".join(probed)).hexdigest()

    def _refuse_shapes(self, shapes: Mapping[tuple[tuple[int, ...], ...], int]) -> None:
        listed = ", ".join(
            gettext("{shape} at {index}", shape=" and ".join(map(str, shape)), index=index) for shape, index in shapes.items()
        )
        msg = gettext(
            "the {name} loader's samples have several shapes ({listed}); resize them in the dataset's transform, or name "
            "the free axes and their sizes by `signature`",
            name=self.name,
            listed=listed,
        )
        raise DataError(msg)

    def _sample(self, index: int) -> object:
        """A sample as a batch."""
        try:
            return self._loader.collate_fn([self._dataset[index]])
        except Exception as error:  # whatever the user's dataset raises
            raise self._failure(error, gettext("at sample {index}", index=index)) from error

    def _batches(self, loader: DataLoader[object], seed: int) -> Iterator[object]:
        """Iterate with torch's global generator started from `seed`, as seen by the loader only."""
        with seeded_transform(seed):
            batches = iter(loader)
            state = torch.get_rng_state()
        end = object()
        for number in itertools.count():
            with seeded_transform(0):
                torch.set_rng_state(state)
                try:
                    batch = next(batches, end)
                except Exception as error:  # whatever the user's dataset raises
                    raise self._failure(error, gettext("at batch {number}", number=number)) from error
                state = torch.get_rng_state()
            if batch is end:
                return
            yield batch

    def _failure(self, error: Exception, where: str) -> DataError:
        reason = str(error).strip().splitlines()[-1] if str(error).strip() else ""
        hint = gettext("; convert images to tensors in the dataset's transform") if "PIL" in reason else ""
        return DataError(
            gettext(
                "the {name} loader fails {where}: {kind}: {reason}{hint}",
                name=self.name,
                where=where,
                kind=type(error).__name__,
                reason=reason,
                hint=hint,
            )
        )


def _length(value: object) -> int:
    """Number of samples of a dataset or a sampler; 0 where it has no length."""
    return len(value) if isinstance(value, Sized) else 0


def _describe(batch: Batch) -> tuple[TensorSpec, ...]:
    """Types and shapes of the inputs."""
    return tuple(
        TensorSpec.model_validate(
            {"name": name, "dtype": str(values.dtype).removeprefix("torch."), "shape": (BATCH, *values.shape[1:])}
        )
        for name, values in batch.inputs.items()
    )


def _listed(batch: Batch) -> list[object]:
    """Class numbers; hashes of targets of another kind."""
    targets = [*batch.targets.values()]
    if len(targets) == 1 and targets[0].ndim == 1 and not targets[0].is_floating_point():
        return list(targets[0].tolist())
    return [content_hash(batch.targets).hex()]
