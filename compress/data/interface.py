"""`Data`: the three splits of a data set, and the input specification that the network must meet."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

from compress.core.errors import DataError
from compress.core.fact import Fact
from compress.core.network_spec import NetworkSpec, Resize, image_spec
from compress.data.batch import Split
from compress.data.settings import DataSettings

if TYPE_CHECKING:
    from torch.utils.data import DataLoader

    from compress.data.dataloader_split import LoaderSplit


@dataclass(frozen=True)
class Data:
    """Three splits kept apart, and what the network must know of them.

    Attributes:
        spec: Input shape, normalisation and class names.
        train: For weights.
        validation: For every decision: best checkpoint, early stopping, ratios, calibration choices.
        test: For the figures in the report, looked at after all decisions.
        source: The recipe's source string, or `python` for a user's own loaders.
        skipped: Files left out, with reasons.
        warnings: What makes figures wrong or empty: samples in two splits, classes without samples.
        settings: What it was read with; None for a user's own loaders.
    """

    spec: NetworkSpec
    train: Split
    validation: Split
    test: Split
    source: str = "python"
    skipped: tuple[Fact, ...] = ()
    warnings: tuple[Fact, ...] = ()
    settings: DataSettings | None = None

    @staticmethod
    def from_loaders(
        train: DataLoader[Any],
        validation: DataLoader[Any],
        test: DataLoader[Any],
        *,
        classes: Sequence[str],
        mean: Sequence[float] = (0.0, 0.0, 0.0),
        std: Sequence[float] = (1.0, 1.0, 1.0),
        resize: Resize | None = None,
    ) -> Data:
        """Wrap three loaders of (inputs, targets).

        Inputs are float (N, C, H, W), already normalised, all of one size; targets are integer (N,). Since a loader's
        augmentation is not known, teacher logits are not cached. An epoch draws from torch's global generator as the loader
        does, started from the run's seed, so a run repeats itself if the loader has no other source of randomness.

        Args:
            train: Shuffles and augments in its own way; the batch size is its own.
            validation: For every decision.
            test: For the final figures.
            classes: Class names in the order of the targets.
            mean: What the loaders subtracted from pixels in [0, 1], per channel; written into the artifact.
            std: What they divided by.
            resize: How the validation and test loaders scale images to the input, see
                `compress.data.decode_image.resize_image`; `infer.py` does the same. None: it is found by comparison where the
                test loader's dataset lists its image files, as torchvision's `ImageFolder` does; else `squash` is assumed.

        Raises:
            DataError: A loader has no length, or yields something else.
        """
        from compress.data.dataloader_split import LoaderSplit
        from compress.data.loader_resizing import FILES, find_resizing
        from compress.data.split_checks import find_missing_classes

        names = _class_names(classes)
        loaders = {"train": train, "validation": validation, "test": test}
        splits = [LoaderSplit(loader, name, len(names)) for name, loader in loaders.items()]
        shape = splits[0].shape
        for split in splits[1:]:
            if split.shape != shape:
                msg = f"{split.name} loader gives samples of shape {split.shape}, the train loader {shape}; make them the same"
                raise DataError(msg)
        channels, height, width = shape
        spec = image_spec(
            channels=channels,
            height=height,
            width=width,
            mean=_per_channel("mean", mean, channels),
            std=_per_channel("std", std, channels),
            classes=names,
            resize=resize,
        )
        resize, differing = find_resizing(splits[2].image_files(FILES), spec)
        spec = spec.model_copy(update={"preprocessing": spec.image.model_copy(update={"resize": resize})})
        labels = {split.name: split.labels for split in splits[1:]}
        warnings = (
            *_equal_samples(splits),
            *_outside_normalisation(splits, spec),
            *differing,
            *find_missing_classes({name: values for name, values in labels.items() if values is not None}, spec.classes),
        )
        return Data(spec, splits[0], splits[1], splits[2], warnings=warnings)


def _class_names(classes: Sequence[object]) -> tuple[str, ...]:
    names = tuple(map(str, classes))
    if len(names) < 2 or len(set(names)) < len(names):
        msg = f"classes are {', '.join(names) or 'none'}; a classifier needs two or more, with different names"
        raise DataError(msg)
    return names


def _outside_normalisation(splits: Sequence[LoaderSplit], spec: NetworkSpec) -> tuple[Fact, ...]:
    """A fact where values are outside those that pixels in [0, 1] can get by this mean and standard deviation."""
    low, high = min(split.range[0] for split in splits), max(split.range[1] for split in splits)
    lowest = min((0 - mean) / std for mean, std in zip(spec.mean, spec.std, strict=True))
    highest = max((1 - mean) / std for mean, std in zip(spec.mean, spec.std, strict=True))
    if lowest - 1e-3 <= low and high <= highest + 1e-3:
        return ()
    return (Fact.of("data.normalised_by_unknown_values", low=low, high=high, mean=spec.mean, std=spec.std),)


def _equal_samples(splits: Sequence[LoaderSplit]) -> tuple[Fact, ...]:
    """Facts about samples that two loaders both have, among those that were read."""
    return tuple(
        Fact.of("data.equal_samples_in_loaders", first=first.name, second=second.name, count=count, probed=len(second.probed))
        for first, second in combinations(splits, 2)
        if (count := len(first.probed & second.probed))
    )


def _per_channel(name: str, values: Sequence[float], channels: int) -> tuple[float, ...]:
    if not all(math.isfinite(value) and (name == "mean" or value > 0) for value in values):
        msg = f"{name} is {tuple(values)}; it must be finite, and a standard deviation over 0"
        raise DataError(msg)
    if len(values) == channels:
        return tuple(values)
    if len(set(values)) == 1:
        return (values[0],) * channels
    msg = f"{name} has {len(values)} values, the images have {channels} channels; give one for each"
    raise DataError(msg)
