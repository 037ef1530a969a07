"""`file:PATH` with an `architecture`: weights from safetensors, or from a torch file with only data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from torch import Tensor, nn

from compress.core.errors import ModelError
from compress.core.fact import Fact
from compress.core.language import gettext
from compress.core.network_spec import NetworkSpec
from compress.core.user_path import user_path
from compress.models import checkpoint
from compress.models import fit_to_data as head
from compress.models import read_weights as weights
from compress.models.factory import UnfittedModel, construct_model
from compress.models.settings import ModelSettings
from compress.tasks.base import Task

AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")
"""Heads of GoogLeNet and Inception that only training uses; they are not part of the networks here."""


def build(name: str, settings: ModelSettings, spec: NetworkSpec, *, task: Task, base: Path, trust_code: bool) -> UnfittedModel:
    """Build the architecture and load the weights of the file, also pruned shapes of checkpoints of this package.

    Raises:
        ModelError: The file is missing, has no weights, is a pickle with code, or its weights do not fit.
    """
    path = user_path(name, base)
    if not path.is_file():
        msg = gettext("no weights file {path}; relative paths in a recipe start from {base}", path=path, base=base)
        raise ModelError(msg)
    architecture = settings.without_weights()
    draft = construct_model(architecture, spec, task=task, base=base, trust_code=trust_code)
    if path.suffix == ".safetensors" and checkpoint.is_checkpoint(path):
        module = checkpoint.load(path, draft.module)
        return UnfittedModel(module, draft.classes, (*draft.notes, Fact.of("models.structure_from_file", path.name)))
    content, notes = weights.find_state_dict(weights.read_file(path), settings.weights, path)
    state, unused = weights.own_entries(content, [*draft.module.state_dict()], path)
    state, auxiliary = _without_auxiliary(state, draft.module, path)
    _meet_channels(draft.module, state)
    state, converted = weights.to_float32(state, draft.module.state_dict(), path)
    _put(draft, state, path, spec.head_size or len(spec.classes))
    loaded = Fact.of("models.weights_from_file", path.name)
    return UnfittedModel(draft.module, draft.classes, (*draft.notes, loaded, *notes, *unused, *auxiliary, *converted))


def _without_auxiliary(state: Mapping[str, Tensor], module: nn.Module, path: Path) -> tuple[dict[str, Tensor], list[Fact]]:
    """Remove heads that only training uses, with a note."""
    expected = module.state_dict().keys()
    extra = [key for key in state if key not in expected and key.startswith(AUXILIARY)]
    notes = [Fact.of("models.auxiliary_unused", path.name, count=len(extra), first=weights.first_few(extra))] if extra else []
    return {key: value for key, value in state.items() if key not in extra}, notes


def _meet_channels(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Set the image channels of the file; the network is fitted to the data after the weights are loaded."""
    first = head.first_convolution(module)
    weight = state.get(f"{first[0]}.weight") if first else None
    if weight is not None and weight.ndim == 4:
        head.fit_channels(module, weight.shape[1])


def _put(draft: UnfittedModel, state: Mapping[str, Tensor], path: Path, classes: int) -> None:
    """Load the weights, all of them or none.

    Raises:
        ModelError: Names or shapes differ; all kinds of differences are listed.
    """
    own = draft.module.state_dict()
    shapes = [key for key in own.keys() & state.keys() if own[key].shape != state[key].shape]
    if shapes:
        missing, unexpected = [key for key in own if key not in state], [key for key in state if key not in own]
    else:  # hooks of the network may rename entries of older files
        result = draft.module.load_state_dict(state, strict=False)
        missing, unexpected = list(result.missing_keys), list(result.unexpected_keys)
    tied = _tied(draft.module, state)
    missing = [key for key in missing if not key.endswith("num_batches_tracked") and key not in tied]
    if shapes and not missing and not unexpected:
        _refuse_other_head(draft, state, shapes, path, classes)
    faults = [
        *_listed("missing", missing),
        *_listed("unexpected", unexpected),
        *_listed(
            gettext("of another shape"),
            [
                gettext("{key} {shape} for {shape_2}", key=key, shape=tuple(state[key].shape), shape_2=tuple(own[key].shape))
                for key in sorted(shapes)
            ],
        ),
    ]
    if faults:
        msg = gettext(
            "{name} does not fit its architecture: {faults}; check architecture, args and small_stem",
            name=path.name,
            faults="; ".join(faults),
        )
        raise ModelError(msg)


def _tied(module: nn.Module, state: Mapping[str, Tensor]) -> set[str]:
    """Names that are further names of tensors in the file, since safetensors stores shared tensors once."""
    own = module.state_dict(keep_vars=True)
    held = {id(own[key]) for key in own.keys() & state.keys()}
    return {key for key, value in own.items() if id(value) in held}


def _refuse_other_head(
    draft: UnfittedModel, state: Mapping[str, Tensor], shapes: Iterable[str], path: Path, classes: int
) -> None:
    last = head.last_layer(draft.module, draft.classes)
    if last and all(key.rpartition(".")[0] == last[0] for key in shapes):
        held = state[f"{last[0]}.weight"].shape[0]
        msg = gettext(
            "class-count mismatch: checkpoint {name} has {held} classes, the data has {classes}; to keep its body and "
            "give it a fresh head, set args: {{num_classes: {held}}}, otherwise use the data that it was trained on",
            name=path.name,
            held=held,
            classes=classes,
        )
        raise ModelError(msg)


def _listed(what: str, keys: Iterable[str]) -> list[str]:
    listed = list(keys)
    return [f"{len(listed)} {what} ({weights.first_few(listed)})"] if listed else []
