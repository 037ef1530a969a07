"""`distilled:PATH`: a small synthetic training set with soft labels from the stage `dataset_distillation`.

One safetensors file contains everything, with exact pixels:

    images          float32 (N, C, H, W), normalised
    targets         int64 (N,), class of each image
    probabilities   float32 (N, K), soft labels; `teacher: {labels: {file: …}}` reads them as well

PATH is the file or its folder. Validation and test images are those of the data set that it was made from, read with the
settings that it was made with. Of a set made without a data set (from a teacher alone, or from the caller's own loaders), some
images are held out for validation and test.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from compress.core.atomic_files import write_with
from compress.core.errors import DataError
from compress.core.fact import Fact
from compress.core.language import gettext
from compress.core.network_spec import NetworkSpec
from compress.data.interface import Data
from compress.data.settings import DataSettings, DataSource
from compress.data.sources.distilled_metadata import FORMAT, DistilledMetadata, distilled_file, source_description
from compress.data.sources.distilled_split import DistilledSplit, contents_hash
from compress.data.stratified import Indices, balanced_subset, stratified_hold_out


@dataclass(frozen=True, eq=False)
class DistilledSet:
    """A synthetic training set.

    Attributes:
        images: Float32 (N, C, H, W), normalised.
        targets: Class of each image, int64 (N,).
        soft: Soft labels, probabilities, float32 (N, K).
        spec: Input and class names.
        about: Metadata of the synthesis.
    """

    images: Tensor
    targets: Tensor
    soft: Tensor
    spec: NetworkSpec
    about: DistilledMetadata

    def split(self, *, augmented: bool = True, seed: int = 0, rows: Tensor | None = None) -> DistilledSplit:
        """The set, or some of its samples, as a training split."""
        images, targets, soft = (part if rows is None else part[rows] for part in (self.images, self.targets, self.soft))
        operations = self.about.augmentation if augmented else ()
        return DistilledSplit(images, targets, soft, operations=operations, views=self.about.views, seed=seed)


def write(path: Path, distilled: DistilledSet) -> None:
    """Write the file atomically."""
    metadata = {
        "format": FORMAT,
        "contents": contents_hash(distilled.images, distilled.targets),
        "sum": contents_hash(distilled.images, distilled.targets, distilled.soft),
        "classes": json.dumps(distilled.spec.classes),
        "spec": distilled.spec.model_dump_json(),
        "about": distilled.about.model_dump_json(),
    }
    tensors = {"images": distilled.images, "targets": distilled.targets, "probabilities": distilled.soft}
    stored = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_with(path, lambda aside: save_file(stored, str(aside), metadata=metadata))


def read(path: Path) -> DistilledSet:
    """Read a file of `write`.

    Args:
        path: The file, or the folder that holds it as `distilled.safetensors`.

    Raises:
        DataError: The file is missing, damaged, or not a distilled set.
    """
    file = distilled_file(path)
    try:
        with safe_open(str(file), framework="pt") as opened:
            metadata: Mapping[str, str] = opened.metadata() or {}
            images, targets, soft = (opened.get_tensor(name) for name in ("images", "targets", "probabilities"))
        distilled = DistilledSet(
            images,
            targets,
            soft,
            NetworkSpec.model_validate_json(metadata["spec"]),
            DistilledMetadata.model_validate_json(metadata["about"]),
        )
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        msg = gettext(
            "{file} is not a distilled set, or is damaged ({kind}); create it again with dataset_distillation",
            file=file,
            kind=type(error).__name__,
        )
        raise DataError(msg) from error
    if metadata.get("sum") != contents_hash(images, targets, soft):
        msg = gettext(
            "{file}: its images or labels changed after it was written; create it again with dataset_distillation", file=file
        )
        raise DataError(msg)
    return distilled


def with_distilled_train(data: Data, path: Path) -> Data:
    """The data with a distilled set in place of its training images."""
    return replace(data, train=read(path).split())


def load(settings: DataSettings, origin: DataSource) -> Data:
    """The set as training images, with validation and test images of the original data set.

    Raises:
        DataError: The set is missing, damaged or of another size, or the data set behind it is missing or has changed.
    """
    distilled = read(origin.path)
    _fits(distilled, settings)
    labels = distilled.targets.numpy()
    rows = torch.from_numpy(balanced_subset(labels, settings.limit, settings.seed))
    if distilled.about.data is None:
        return _alone(distilled, settings, rows)
    source = source_description(distilled.about.data, settings)
    from compress.data import factory as sources

    behind: Data = sources.load_data(source, base=origin.base, trust_code=origin.trust_code)
    if behind.spec != distilled.spec or behind.train.fingerprint != distilled.about.fingerprint:
        msg = gettext(
            "{source} was made from {source_source}, which has changed since (other images, classes or versions of "
            "the packages that read them); make the set again, or train on the data set itself",
            source=settings.source,
            source_source=source.source,
        )
        raise DataError(msg)
    train = distilled.split(augmented=settings.augment != "none", seed=settings.seed, rows=rows)
    return Data(
        distilled.spec,
        train,
        behind.validation,
        behind.test,
        source=settings.source,
        skipped=behind.skipped,
        warnings=behind.warnings,
    )


def _fits(distilled: DistilledSet, settings: DataSettings) -> None:
    """Refuse settings that do not fit the set."""
    spec = distilled.spec
    if (spec.height, spec.width, spec.channels) != (*settings.size, settings.channels):
        sides = spec.height if spec.height == spec.width else [spec.height, spec.width]
        size = gettext("image_size: {sides}, channels: {channels}", sides=sides, channels=spec.channels)
        msg = gettext(
            "{source} holds images of {height} × {width} with {channels} channels; write {size}",
            source=settings.source,
            height=spec.height,
            width=spec.width,
            channels=spec.channels,
            size=size,
        )
        raise DataError(msg)
    if settings.labelled is not None:
        msg = gettext("{source}: every image of a distilled set has its label; leave `labelled` out", source=settings.source)
        raise DataError(msg)


def _alone(distilled: DistilledSet, settings: DataSettings, rows: Tensor) -> Data:
    """All three splits from the set."""
    labels = distilled.targets[rows].numpy()
    rest, test = stratified_hold_out(labels, settings.test, settings.seed)
    train, validation = stratified_hold_out(labels[rest], settings.validation, settings.seed)
    if min(len(test), len(validation)) == 0:
        msg = gettext(
            "{source} was made without a data set and has too few images to hold some out for validation and test; "
            "make it with 4 images per class or more",
            source=settings.source,
        )
        raise DataError(msg)

    def part(indices: Indices, *, augmented: bool) -> DistilledSplit:
        return distilled.split(augmented=augmented, seed=settings.seed, rows=rows[torch.from_numpy(indices)])

    return Data(
        distilled.spec,
        part(rest[train], augmented=settings.augment != "none"),
        part(rest[validation], augmented=False),
        part(test, augmented=False),
        source=settings.source,
        skipped=(Fact.of("data.synthetic_evaluation"),),
    )
