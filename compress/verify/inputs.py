"""Inputs for the verification: samples of a recipe's test split, image files, or noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from compress.backends.runner_protocol import Array
from compress.core.errors import ConversionError, DataError
from compress.core.language import gettext
from compress.data.batch import Tensors
from compress.verify.image_inputs import read_images
from compress.verify.spaced_samples import evenly_spaced

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
    shape = sample_shape(model, session)
    if recipe is not None:
        return _from_recipe(recipe, shape, count, trust_code=trust_code)
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
