"""Inputs for the verification: samples of a recipe's test split, image files, or noise."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from compress.core.errors import ConversionError, DataError
from compress.core.language import gettext
from compress.verify.image_inputs import read_images
from compress.verify.recipe_inputs import recipe_samples
from compress.verify.spaced_samples import evenly_spaced
from compress.verify.verification_samples import VerificationSamples

if TYPE_CHECKING:
    import onnxruntime


NOISE_SEED = 0


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
        model: ONNX file; with images one with one float input whose only free dimension is the batch.
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

    check_single_source(recipe, images, feeds)
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
    if recipe is not None:
        return recipe_samples(model, recipe, count, trust_code=trust_code)
    shape = sample_shape(model, session)
    if images:
        metadata = session.get_modelmeta().custom_metadata_map
        return VerificationSamples(*read_images(images, shape, count, metadata))
    generator = np.random.default_rng(NOISE_SEED)
    return VerificationSamples(
        generator.standard_normal((count, *shape), np.float32),
        gettext("{count} samples of noise, mean 0, standard deviation 1", count=count),
    )


def check_single_source(recipe: str | None, images: Sequence[Path], feeds: Path | None) -> None:
    """Refuse inputs of several kinds.

    Raises:
        DataError: More than one is given.
    """
    if (recipe is not None) + bool(images) + (feeds is not None) > 1:
        msg = gettext("a recipe, images and arrays are different inputs; give only one of them")
        raise DataError(msg)


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
            "{model} has inputs {{{types}}}, and images give one float input; give an array for each input by --feeds FILE.npz",
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
