"""Inputs for the verification: samples of a recipe's test split, image files, or noise."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field

from compress.backends.runner_protocol import Array
from compress.core.errors import ConversionError, DataError, message_line
from compress.core.frozen_model import FrozenModel
from compress.core.language import gettext
from compress.core.network_spec import Resize
from compress.data.batch import Tensors

if TYPE_CHECKING:
    import onnxruntime

    from compress.tasks.base import Task

NOISE_SEED = 0


class VerificationSamples(NamedTuple):
    """Inputs and their origin.

    Attributes:
        values: Preprocessed inputs: float32 (N, …) of a network with one input, or arrays (N, …) by name of the input.
        origin: Description of the origin; empty for inputs of the caller.
        task: Task of the recipe; None without a recipe.
        targets: Targets by name, (N, …); None if unknown.
    """

    values: Array | Mapping[str, Array]
    origin: str = ""
    task: Task | None = None
    targets: Tensors | None = None

    @property
    def described(self) -> str:
        """Description of the origin."""
        return self.origin or gettext("inputs of the caller")

    @property
    def size(self) -> int:
        """N."""
        return len(next(iter(self.values.values()))) if isinstance(self.values, Mapping) else len(self.values)


def load_samples(
    model: Path,
    count: int,
    *,
    recipe: str | None,
    images: Sequence[Path],
    feeds: Path | None = None,
    trust_code: bool = False,
) -> VerificationSamples:
    """Load samples for a model; noise without a recipe, images or feeds.

    Args:
        model: ONNX file; with a recipe or images one with one float input whose only free dimension is the batch.
        count: Largest number of samples.
        recipe: Recipe whose test split is used.
        images: Image files and folders.
        feeds: An .npz file with an array (N, …) for each input.
        trust_code: Whether code of the recipe may run.

    Raises:
        ConversionError: The model has other inputs.
        DataError: Several sources are given, there is no readable image, or the samples have another size.
    """
    from compress.backends import onnx_session
    from compress.backends.check_file import check_onnx_file
    from compress.verify import named_inputs

    if (recipe is not None) + bool(images) + (feeds is not None) > 1:
        msg = gettext("a recipe, images and arrays are different inputs; give only one of them")
        raise DataError(msg)
    check_onnx_file(model)
    session = onnx_session.create_session(model)
    if feeds is not None:
        arrays = named_inputs.read_feeds(model, feeds)
        available = VerificationSamples(arrays).size
        chosen = evenly_spaced(available, count)
        origin = gettext("{count} of {available} samples of {file}", count=len(chosen), available=available, file=feeds.name)
        return VerificationSamples({name: array[chosen] for name, array in arrays.items()}, origin)
    if recipe is None and not images and not _has_one_plain_input(session):
        return VerificationSamples(
            named_inputs.noise(model, count), gettext("{count} samples of noise for each input", count=count)
        )
    shape = sample_shape(model, session)
    if recipe is not None:
        return _from_recipe(recipe, shape, count, trust_code=trust_code)
    if images:
        return _from_images(images, shape, count, session.get_modelmeta().custom_metadata_map)
    generator = np.random.default_rng(NOISE_SEED)
    return VerificationSamples(
        generator.standard_normal((count, *shape), np.float32),
        gettext("{count} samples of noise, mean 0, standard deviation 1", count=count),
    )


def _has_one_plain_input(session: onnxruntime.InferenceSession) -> bool:
    """Whether there is one float input whose only free dimension is the batch."""
    inputs = session.get_inputs()
    return (
        len(inputs) == 1
        and inputs[0].type == "tensor(float)"
        and bool(inputs[0].shape)
        and all(isinstance(size, int) for size in inputs[0].shape[1:])
    )


def sample_shape(model: Path, session: onnxruntime.InferenceSession) -> tuple[int, ...]:
    """Shape of one sample.

    Raises:
        ConversionError: The model has not exactly one float input, or free dimensions besides the batch.
    """
    inputs = session.get_inputs()
    if len(inputs) != 1 or inputs[0].type != "tensor(float)":
        types = ", ".join(f"{value.name}: {value.type}" for value in inputs)
        msg = gettext(
            "{model} has inputs {{{types}}}, and a recipe or images give one float input; give an array for each input by "
            "--feeds FILE.npz",
            model=model,
            types=types,
        )
        raise ConversionError(msg)
    shape = inputs[0].shape
    if not shape or not all(isinstance(size, int) for size in shape[1:]):
        msg = gettext(
            "{model}: input {name!r} has shape {shape}; only the batch may be free here: export with fixed sizes, or "
            "give arrays by --feeds FILE.npz",
            model=model,
            name=inputs[0].name,
            shape=shape,
        )
        raise ConversionError(msg)
    return tuple(shape[1:])


def _from_recipe(recipe: str, shape: tuple[int, ...], count: int, *, trust_code: bool) -> VerificationSamples:
    import torch

    from compress.config.recipe import load
    from compress.pipeline.plan import from_recipe

    source = load(recipe, trust_code=trust_code)
    plan = from_recipe(source, trust_code=trust_code)
    data = plan.load_data()
    if data.spec.shape != shape:
        msg = gettext(
            "{recipe} has inputs of {shape}, but the model has {model_shape}; give the recipe of the model",
            recipe=recipe,
            shape=data.spec.shape,
            model_shape=shape,
        )
        raise DataError(msg)
    positions = evenly_spaced(len(data.test), count)
    parts, start = [], 0
    for batch in data.test.ordered(64):
        end = start + batch.size
        parts.append(batch.rows(torch.from_numpy(positions[(positions >= start) & (positions < end)] - start)))
        start = end
    targets = {name: torch.cat([part.targets[name] for part in parts]) for name in parts[0].targets}
    origin = gettext(
        "{count} of {test_count} samples of the test split of {name} ({source})",
        count=len(positions),
        test_count=len(data.test),
        name=source.recipe.name,
        source=data.source,
    )
    return VerificationSamples(torch.cat([part.input for part in parts]).numpy(), origin, plan.task, targets)


def evenly_spaced(available: int, count: int) -> npt.NDArray[np.int64]:
    """Indices of up to `count` evenly spaced samples out of `available`, so that a split sorted by class is represented."""
    return np.unique(np.linspace(0, available - 1, min(count, available)).round().astype(np.int64))


def _from_images(paths: Sequence[Path], shape: tuple[int, ...], count: int, metadata: Mapping[str, str]) -> VerificationSamples:
    from compress.data.decode_image import MODES

    if len(shape) != 3 or shape[0] not in MODES:
        msg = gettext(
            "images need a network with input (1 to 4, height, width), this one has {shape}: omit the images to use noise",
            shape=shape,
        )
        raise DataError(msg)
    files = [file for path in paths for file in _image_files(path)]
    if not files:
        msg = gettext("no images in {paths}; give image files, or folders with images", paths=", ".join(map(str, paths)))
        raise DataError(msg)
    selected = [files[index] for index in evenly_spaced(len(files), count)]
    preprocessing = _Preprocessing.of(metadata, shape[0])
    pixels = np.stack([_read(path, shape, preprocessing.resize) for path in selected])
    mean, std = (np.array(values).reshape(-1, 1, 1) for values in (preprocessing.mean, preprocessing.std))
    values = ((pixels - mean) / std).astype(np.float32)
    scaling = (
        gettext("normalised as in the metadata of the file")
        if "compress" in metadata
        else gettext("scaled to [0, 1], because the file has no metadata on normalisation")
    )
    return VerificationSamples(
        values,
        gettext(
            "{count} of {files_count} images, {resizing}, {scaling}",
            count=len(selected),
            files_count=len(files),
            resizing=gettext(_RESIZING[preprocessing.resize]),
            scaling=scaling,
        ),
    )


class _Preprocessing(FrozenModel):
    """Preprocessing of images from the metadata of an ONNX file.

    Attributes:
        mean: Mean per channel, of pixels in [0, 1].
        std: Standard deviation per channel.
        resize: How an image is resized to the input.
    """

    mean: tuple[float, ...]
    std: tuple[Annotated[float, Field(gt=0)], ...]
    resize: Resize

    @classmethod
    def of(cls, metadata: Mapping[str, str], channels: int) -> Self:
        """Read the metadata of a file; without metadata of `compress`, pixels are only scaled to [0, 1].

        Raises:
            DataError: The metadata is damaged, or has another number of channels.
        """
        if "compress" not in metadata:
            return cls(mean=(0.0,) * channels, std=(1.0,) * channels, resize="squash")
        try:
            values = {key: json.loads(metadata[key]) for key in ("mean", "std")}
            resize = json.loads(metadata.get("resize", "null"))
            preprocessing = cls.model_validate({**values, "resize": "squash" if resize is None else resize})
        except (KeyError, ValueError, RecursionError) as error:  # a ValidationError is a ValueError
            reason = message_line(error)
            msg = gettext(
                "the file's metadata on images cannot be read ({reason}); export it again, or omit the images", reason=reason
            )
            raise DataError(msg) from error
        if not len(preprocessing.mean) == len(preprocessing.std) == channels:
            counts = gettext(
                "{count} means and {std_count} standard deviations",
                count=len(preprocessing.mean),
                std_count=len(preprocessing.std),
            )
            msg = gettext(
                "the file's metadata has {counts} for {channels} channels; export it again, or omit the images",
                counts=counts,
                channels=channels,
            )
            raise DataError(msg)
        return preprocessing


_RESIZING: dict[Resize, str] = {
    "squash": "resized without regard to the aspect ratio",
    "center_crop": "center-cropped",
    "center_crop_unless_square": "center-cropped unless square",
}


def _image_files(path: Path) -> Iterator[Path]:
    from compress.data.sources.folder_listing import SUFFIXES

    if path.is_dir():
        yield from sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
    elif path.exists():
        yield path
    else:
        msg = gettext("there is no image file or folder {path}", path=path)
        raise DataError(msg)


def _read(path: Path, shape: tuple[int, ...], resize: Resize) -> Array:
    """An image with pixels in [0, 1], (C, H, W)."""
    from compress.data.decode_image import open_image, resize_image

    channels, height, width = shape
    try:
        image = resize_image(open_image(path, channels), height, width, resize)
    except (OSError, ValueError) as error:
        msg = gettext("{path} is not a readable image: {error}", path=path, error=error)
        raise DataError(msg) from error
    return np.asarray(image, dtype=np.float64).reshape(height, width, channels).transpose(2, 0, 1) / 255.0
