"""Inputs to verify on: samples of a recipe's test split, image files, or noise."""

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
from compress.core.network_spec import Resize
from compress.data.batch import Tensors

if TYPE_CHECKING:
    import onnxruntime

    from compress.tasks.base import Task

NOISE_SEED = 0


class VerificationSamples(NamedTuple):
    """Inputs, and where they are from.

    Attributes:
        values: Float32 (N, …), as the network takes them.
        origin: In words.
        task: The task of the recipe that they are from; None where they are from no recipe.
        targets: Targets of the task by name, (N, …) each; None where they are unknown.
    """

    values: Array
    origin: str = "the caller's inputs"
    task: Task | None = None
    targets: Tensors | None = None


def load_samples(
    model: Path, count: int, *, recipe: str | None, images: Sequence[Path], trust_code: bool = False
) -> VerificationSamples:
    """Samples of the size that a model takes.

    Args:
        model: ONNX file with one float input whose only free dimension is the batch.
        count: How many at most.
        recipe: Take them from the test split of this recipe.
        images: Take them from these files and folders.
        trust_code: Whether the recipe's own code may run.

    Raises:
        ConversionError: Not such a model.
        DataError: Both a recipe and images, no image, an unreadable image, or samples of another size.
    """
    from compress.backends import onnx_session
    from compress.backends.check_file import check_onnx_file

    if recipe is not None and images:
        msg = "both a recipe and images are given; name one of them"
        raise DataError(msg)
    check_onnx_file(model)
    session = onnx_session.create_session(model)
    shape = sample_shape(model, session)
    if recipe is not None:
        return _of_recipe(recipe, shape, count, trust_code=trust_code)
    if images:
        return _of_images(images, shape, count, session.get_modelmeta().custom_metadata_map)
    generator = np.random.default_rng(NOISE_SEED)
    return VerificationSamples(
        generator.standard_normal((count, *shape), np.float32), f"{count} samples of noise, mean 0, deviation 1"
    )


def sample_shape(model: Path, session: onnxruntime.InferenceSession) -> tuple[int, ...]:
    """Shape of one sample.

    Raises:
        ConversionError: Not one float input, or free dimensions besides the batch.
    """
    inputs = session.get_inputs()
    if len(inputs) != 1 or inputs[0].type != "tensor(float)":
        types = ", ".join(f"{value.name}: {value.type}" for value in inputs)
        msg = f"{model} has inputs {{{types}}}; networks with one float input can be verified"
        raise ConversionError(msg)
    shape = inputs[0].shape
    if not shape or not all(isinstance(size, int) for size in shape[1:]):
        msg = f"{model}: input {inputs[0].name!r} has the shape {shape}; only the batch may be free: export with fixed sizes"
        raise ConversionError(msg)
    return tuple(shape[1:])


def _of_recipe(recipe: str, shape: tuple[int, ...], count: int, *, trust_code: bool) -> VerificationSamples:
    import torch

    from compress.config.recipe import load
    from compress.pipeline.plan import from_recipe

    loaded = load(recipe, trust_code=trust_code)
    plan = from_recipe(loaded, trust_code=trust_code)
    data = plan.load_data()
    if data.spec.shape != shape:
        msg = f"{recipe} gives inputs of {data.spec.shape}, the model takes {shape}; name the recipe that made the model"
        raise DataError(msg)
    positions = evenly_spaced(len(data.test), count)
    parts, start = [], 0
    for batch in data.test.ordered(64):
        end = start + batch.size
        parts.append(batch.rows(torch.from_numpy(positions[(positions >= start) & (positions < end)] - start)))
        start = end
    targets = {name: torch.cat([part.targets[name] for part in parts]) for name in parts[0].targets}
    origin = f"{len(positions)} of {len(data.test)} samples of the test split of {loaded.recipe.name} ({data.source})"
    return VerificationSamples(torch.cat([part.input for part in parts]).numpy(), origin, plan.task, targets)


def evenly_spaced(available: int, count: int) -> npt.NDArray[np.int64]:
    """Positions of `count` samples evenly over `available`, so that every class of a sorted split is represented."""
    return np.unique(np.linspace(0, available - 1, min(count, available)).round().astype(np.int64))


def _of_images(paths: Sequence[Path], shape: tuple[int, ...], count: int, metadata: Mapping[str, str]) -> VerificationSamples:
    from compress.data.decode_image import MODES

    if len(shape) != 3 or shape[0] not in MODES:
        msg = f"images fit networks that take (1 to 4, height, width); this one takes {shape}: leave the images out for noise"
        raise DataError(msg)
    files = [file for path in paths for file in _image_files(path)]
    if not files:
        msg = f"no images in {', '.join(map(str, paths))}; name image files, or folders that contain some"
        raise DataError(msg)
    selected = [files[index] for index in evenly_spaced(len(files), count)]
    preprocessing = _Preprocessing.of(metadata, shape[0])
    pixels = np.stack([_read(path, shape, preprocessing.resize) for path in selected])
    mean, std = (np.array(values).reshape(-1, 1, 1) for values in (preprocessing.mean, preprocessing.std))
    values = ((pixels - mean) / std).astype(np.float32)
    scaled = (
        "normalised as the file says"
        if "compress" in metadata
        else "scaled to [0, 1], as the file says nothing of normalisation"
    )
    return VerificationSamples(values, f"{len(selected)} of {len(files)} images, {_RESIZED[preprocessing.resize]}, {scaled}")


class _Preprocessing(FrozenModel):
    """What an ONNX file says of the images that it takes.

    Attributes:
        mean: Per channel, of pixels in [0, 1].
        std: Per channel.
        resize: How an image is scaled to the input.
    """

    mean: tuple[float, ...]
    std: tuple[Annotated[float, Field(gt=0)], ...]
    resize: Resize

    @classmethod
    def of(cls, metadata: Mapping[str, str], channels: int) -> Self:
        """Of a file's metadata; pixels in [0, 1] where `compress` did not write it.

        Raises:
            DataError: The metadata is not what `compress` writes for so many channels.
        """
        if "compress" not in metadata:
            return cls(mean=(0.0,) * channels, std=(1.0,) * channels, resize="squash")
        try:
            values = {key: json.loads(metadata[key]) for key in ("mean", "std")}
            resize = json.loads(metadata.get("resize", "null"))
            preprocessing = cls.model_validate({**values, "resize": "squash" if resize is None else resize})
        except (KeyError, ValueError, RecursionError) as error:  # a ValidationError is a ValueError
            reason = message_line(error)
            msg = f"the file's metadata on images cannot be read ({reason}); export it again, or leave out the images"
            raise DataError(msg) from error
        if not len(preprocessing.mean) == len(preprocessing.std) == channels:
            counts = f"{len(preprocessing.mean)} means and {len(preprocessing.std)} deviations"
            msg = f"the file's metadata holds {counts} for {channels} channels; export it again, or leave the images out"
            raise DataError(msg)
        return preprocessing


_RESIZED: dict[Resize, str] = {
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
        msg = f"no such image file or folder: {path}"
        raise DataError(msg)


def _read(path: Path, shape: tuple[int, ...], resize: Resize) -> Array:
    """One image in [0, 1], (C, H, W)."""
    from compress.data.decode_image import open_image, resize_image

    channels, height, width = shape
    try:
        image = resize_image(open_image(path, channels), height, width, resize)
    except (OSError, ValueError) as error:
        msg = f"{path} is not a readable image: {error}"
        raise DataError(msg) from error
    return np.asarray(image, dtype=np.float64).reshape(height, width, channels).transpose(2, 0, 1) / 255.0
