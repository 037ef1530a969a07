"""`file:PATH` with an `architecture`: weights from safetensors, or from a torch file that holds nothing but tensors.

A torch file is a pickle, and a pickle may run code. It is read with `weights_only=True`, which refuses any that would.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from compress.core.errors import ModelError, message_line, nearest
from compress.core.fact import Fact
from compress.core.network_spec import NetworkSpec
from compress.core.user_path import user_path
from compress.models import checkpoint
from compress.models import fit_to_data as head
from compress.models.factory import UnfittedModel, construct_model
from compress.models.settings import ModelSettings
from compress.tasks.base import Task

WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "state_dict_ema", "model_ema", "ema")
PREFIXES = ("module.", "_orig_mod.", "model.", "net.")
AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")
"""Training-only heads of GoogLeNet and Inception, left out of the networks here."""


def build(name: str, settings: ModelSettings, spec: NetworkSpec, *, task: Task, base: Path, trust_code: bool) -> UnfittedModel:
    """Build the architecture and put the file's weights into it, pruned shapes of our own checkpoints included.

    Raises:
        ModelError: No such file, not weights, a pickle that would run code, or weights that do not fit.
    """
    path = user_path(name, base)
    if not path.is_file():
        msg = f"no weights file {path}; relative paths in a recipe start from {base}"
        raise ModelError(msg)
    architecture = settings.model_copy(update={"source": settings.architecture, "architecture": None, "weights": None})
    draft = construct_model(architecture, spec, task=task, base=base, trust_code=trust_code)
    if path.suffix == ".safetensors" and checkpoint.is_checkpoint(path):
        module = checkpoint.load(path, draft.module)
        return UnfittedModel(module, draft.classes, (*draft.notes, Fact.of("models.structure_from_file", path.name)))
    content, averaged = _state_dict(_read(path), settings.weights, path)
    state, unused = _own_entries(content, draft.module, path)
    _meet_channels(draft.module, state)
    _refuse_misfit(path, state, draft, spec.head_size or len(spec.classes))
    draft.module.load_state_dict(state, strict=False)
    return UnfittedModel(
        draft.module, draft.classes, (*draft.notes, Fact.of("models.weights_from_file", path.name), *averaged, *unused)
    )


def _read(path: Path) -> object:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        msg = (
            f"{path} is refused: it is a pickle that holds more than tensors, and loading it could run code. If you trust its "
            "source, convert it once: torch.save(torch.load(PATH, weights_only=False).state_dict(), NEW_PATH)"
        )
        raise ModelError(msg) from error
    except Exception as error:  # a damaged pickle may raise anything
        reason = message_line(error)
        msg = (
            f"{path} is not a readable weights file ({reason}); allowed: .safetensors, or .pt/.pth from torch.save(state_dict)"
        )
        raise ModelError(msg) from error


def _state_dict(content: object, entry: str | None, path: Path) -> tuple[dict[str, Tensor], list[Fact]]:
    """The state dict inside what a training script saved; notes on averaged weights that the file holds besides.

    Raises:
        ModelError: There is none, or none under the entry that the settings name.
    """
    notes: list[Fact] = []
    if entry is not None:
        if not isinstance(content, Mapping) or not isinstance(content.get(entry), Mapping):
            entries = [str(key) for key in content if isinstance(content[key], Mapping)] if isinstance(content, Mapping) else []
            msg = f"{path.name} has no state dict under {entry!r}: {nearest(entry, entries)}"
            raise ModelError(msg)
        content = content[entry]
    while isinstance(content, Mapping):
        inner = [key for key in WRAPPERS if isinstance(content.get(key), Mapping)]
        if not inner:
            break
        averaged = [str(key) for key in content if "ema" in str(key).lower() and isinstance(content[key], Mapping)]
        notes += [Fact.of("models.averaged_weights", path.name, entry=key) for key in averaged if key != inner[0]]
        content = content[inner[0]]
    state = (
        {str(key): value for key, value in content.items() if isinstance(value, Tensor)} if isinstance(content, Mapping) else {}
    )
    if not state:
        kind = type(content).__name__
        msg = f"the weights file holds no state dict (found {kind}); allowed: a state dict, bare or under one of {WRAPPERS}"
        raise ModelError(msg)
    return state, notes


def _own_entries(state: Mapping[str, Tensor], module: nn.Module, path: Path) -> tuple[dict[str, Tensor], list[Fact]]:
    """The entries of the network itself, without the prefix of wrappers (`model.` of Lightning); a note on the others."""
    expected = module.state_dict().keys()
    prefixes = dict.fromkeys(["", *PREFIXES, *(first + second for first in PREFIXES for second in PREFIXES)])
    matches = {prefix: sum(f"{prefix}{key}" in state for key in expected) for prefix in prefixes}
    prefix = max(prefixes, key=lambda name: matches[name])  # of equal ones the first, which is the shortest
    own = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
    outside = [key for key in state if not key.startswith(prefix)]
    notes = (
        [Fact.of("models.weights_unused", path.name, count=len(outside), prefix=prefix, first=outside[0])] if outside else []
    )
    return {key: value for key, value in own.items() if key in expected or not key.startswith(AUXILIARY)}, notes


def _meet_channels(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Let the network have the file's image channels; it is fitted to the data after loading, with the file's weights."""
    first = head.first_convolution(module)
    weight = state.get(f"{first[0]}.weight") if first else None
    if weight is not None and weight.ndim == 4:
        head.fit_channels(module, weight.shape[1])


def _refuse_misfit(path: Path, state: Mapping[str, Tensor], draft: UnfittedModel, classes: int) -> None:
    own = draft.module.state_dict()
    shapes = [key for key in own.keys() & state.keys() if own[key].shape != state[key].shape]
    missing = [key for key in own if key not in state and not key.endswith("num_batches_tracked")]
    unexpected = [key for key in state if key not in own]
    last = head.last_layer(draft.module, draft.classes)
    if last and shapes and not missing and not unexpected and all(key.rpartition(".")[0] == last[0] for key in shapes):
        held = state[f"{last[0]}.weight"].shape[0]
        msg = (
            f"class-count mismatch: checkpoint {path.name} has {held} classes, the data has {classes}; to keep its body and "
            f"give it a fresh head, set args: {{num_classes: {held}}}, otherwise use the data that it was trained on"
        )
        raise ModelError(msg)
    faults = [
        *_listed("missing", missing),
        *_listed("unexpected", unexpected),
        *_listed(
            "of another shape", [f"{key} {tuple(state[key].shape)} for {tuple(own[key].shape)}" for key in sorted(shapes)]
        ),
    ]
    if faults:
        msg = f"{path.name} does not fit its architecture: {'; '.join(faults)}; check architecture, args and small_stem"
        raise ModelError(msg)


def _listed(what: str, keys: Iterable[str]) -> list[str]:
    listed = list(keys)
    more = f" and {len(listed) - 4} more" if len(listed) > 4 else ""
    return [f"{len(listed)} {what} ({', '.join(listed[:4])}{more})"] if listed else []
