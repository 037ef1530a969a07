"""Inputs for the verification: samples of the test split of a recipe, for a network with any inputs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from compress.backends.file_signature import read_signature
from compress.core.errors import DataError
from compress.core.language import gettext
from compress.core.signature import TensorSpec, axes_fit
from compress.data.batch import Batch
from compress.verify.prompts import check_tokenizer
from compress.verify.spaced_samples import evenly_spaced
from compress.verify.verification_samples import VerificationSamples

BATCH_SIZE = 64


def recipe_samples(model: Path, recipe: str, count: int, *, trust_code: bool = False) -> VerificationSamples:
    """Samples of the test split of a recipe, shorter ones filled with zeros, which their masks leave out.

    Args:
        model: ONNX file.
        recipe: Recipe of the network.
        count: Most samples.
        trust_code: Whether code of the recipe may run.

    Raises:
        DataError: The recipe has other inputs or another tokenizer than the network.
    """
    from compress.config.recipe import load
    from compress.pipeline.plan import from_recipe

    source = load(recipe, trust_code=trust_code)
    plan = from_recipe(source, trust_code=trust_code)
    data = plan.load_data()
    specs = read_signature(model).inputs
    parts = _rows(data.test.ordered(BATCH_SIZE), evenly_spaced(len(data.test), count).tolist())
    if len(specs) == 1 == len(parts[0].inputs):  # whatever its name
        parts = [part._replace(inputs={specs[0].name: part.input}) for part in parts]
    _check_inputs(parts[0], specs, model, recipe)
    check_tokenizer(model, data, recipe)
    inputs = {spec.name: _joined([part.inputs[spec.name] for part in parts]).numpy() for spec in specs}
    targets = {name: [part.targets[name] for part in parts] for name in parts[0].targets}
    same_widths = all(len({tensor.shape[1:] for tensor in tensors}) == 1 for tensors in targets.values())
    origin = gettext(
        "{count} of {test_count} samples of the test split of {name} ({source})",
        count=sum(part.size for part in parts),
        test_count=len(data.test),
        name=source.recipe.name,
        source=data.source,
    )
    return VerificationSamples(
        next(iter(inputs.values())) if len(specs) == 1 else inputs,
        origin,
        plan.task,
        {name: torch.cat(tensors) for name, tensors in targets.items()} if targets and same_widths else None,
    )


def _rows(batches: Iterable[Batch], positions: Sequence[int]) -> list[Batch]:
    """The samples at these positions."""
    wanted, parts, start = torch.tensor(positions), list[Batch](), 0
    for batch in batches:
        inside = wanted[(wanted >= start) & (wanted < start + batch.size)] - start
        if len(inside):
            parts.append(batch.rows(inside))
        start += batch.size
    return parts


def _joined(tensors: Sequence[Tensor]) -> Tensor:
    """Tensors (N_i, L_i, …) as one, the shorter filled with zeros."""
    if tensors[0].dim() < 2:
        return torch.cat(list(tensors))
    longest = max(tensor.shape[1] for tensor in tensors)
    tail = [0, 0] * (tensors[0].dim() - 2)
    return torch.cat([F.pad(tensor, (*tail, 0, longest - tensor.shape[1])) for tensor in tensors])


def _check_inputs(batch: Batch, specs: Sequence[TensorSpec], model: Path, recipe: str) -> None:
    """Refuse a recipe whose samples are not the inputs of the network.

    Raises:
        DataError: They are not.
    """
    fits = [
        spec.name in batch.inputs and axes_fit(spec.shape[1:], batch.inputs[spec.name].shape[1:])  # the file has its own batch
        for spec in specs
    ]
    if not all(fits):
        given = ", ".join(
            f"{name}: {'×'.join(map(str, ('batch', *tensor.shape[1:])))}" for name, tensor in batch.inputs.items()
        )
        msg = gettext(
            "{recipe} has inputs {given}, but {model} takes {inputs}; give the recipe of the model, or an array for each input "
            "by --feeds FILE.npz",
            recipe=recipe,
            given=given,
            model=model,
            inputs="; ".join(map(str, specs)),
        )
        raise DataError(msg)
