"""Weights and structure of a network in one safetensors file, from which also a pruned network is restored.

Structured pruning changes shapes and the related attributes (`out_channels`, `groups`, `num_heads`,
`normalized_shape`). The metadata of the file contains every numeric attribute of every submodule as JSON. Reading
starts from a reference, the same network newly built: differing numbers are set, then all tensors are replaced.
Submodules that were replaced by a simpler one (`parts`) are listed with their replacement, one of a closed list.
Nothing is unpickled. A file can only change existing numbers of existing submodules, and insert such replacements.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, TypeGuard

import torch
from pydantic import Field, StrictBool, StrictFloat, StrictInt, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from compress.core.atomic_files import write_with
from compress.core.errors import ModelError
from compress.core.frozen_model import FrozenModel
from compress.core.language import gettext
from compress.models import module_replacement as parts
from compress.models.pruned_attention import checkpoint_type, restore_pruned_forwards

KEY = "compress"
Number = StrictBool | StrictInt | StrictFloat
Plain = Number | list[Number]
_BASE = frozenset({*vars(nn.Module()), "training"})


class Layout(FrozenModel):
    """The structure of a network, in the metadata of the file.

    Attributes:
        version: Version of the format.
        types: Class name of each submodule.
        numbers: Numeric attributes of each submodule.
        tied: Further names of a shared tensor → the name under which it is stored.
        replaced: Replacements of submodules; `types` and `numbers` are those after the replacement.
    """

    version: Literal[1] = 1
    types: dict[str, str]
    numbers: dict[str, dict[str, Plain]]
    tied: dict[str, str]
    replaced: dict[str, parts.ReplaceablePart] = Field(default_factory=dict)


def save(module: nn.Module, reference: nn.Module, path: Path) -> None:
    """Write weights and structure atomically.

    Args:
        module: The network, on any device.
        reference: The same network newly built, as for `load`.
        path: Path with the suffix `.safetensors`.

    Raises:
        ModelError: The two differ in more than shapes, plain numbers and known parts: submodules or tensors added, removed,
            replaced by others.
        StoreError: The folder is unwritable or full.
    """
    replaced = parts.find_replaceable(module, reference)
    reference = _with_parts(reference, replaced) if replaced else reference
    types, expected = _types(module), _types(reference)
    _refuse(
        "submodules",
        (name or gettext("the network") for name in types.keys() | expected.keys() if types.get(name) != expected.get(name)),
    )
    _refuse("attributes", _inexpressible(module, reference))
    stored, tied = _tensors(module, reference)
    layout = Layout(types=types, numbers=_numbers(module, reference), tied=tied, replaced=replaced)
    text = json.dumps(layout.model_dump(), separators=(",", ":"))
    write_with(path, lambda aside: save_file(stored, aside, metadata={KEY: text}))


def load(path: Path, reference: nn.Module) -> nn.Module:
    """Read a file of `save`.

    Args:
        path: The file.
        reference: The same network newly built; not changed.

    Returns:
        A new module in eval mode on the CPU, with `requires_grad` as in the reference.

    Raises:
        ModelError: The file is missing or damaged, not from `save`, or from another network.
    """
    layout, tensors = _read(path)
    try:
        module = _with_parts(reference, layout.replaced).cpu()
    except KeyError as error:
        raise ModelError(_misfit(path, "submodules", [str(error.args[0])])) from error
    types = _types(module)
    other = sorted(
        name or gettext("the network")
        for name in types.keys() | layout.types.keys()
        if types.get(name) != layout.types.get(name)
    )
    if other:
        raise ModelError(_misfit(path, "submodules", other))
    for name, numbers in layout.numbers.items():
        _set_numbers(path, module, name, numbers)
    _set_tensors(path, module, tensors, layout.tied)
    return restore_pruned_forwards(module).eval()


def _with_parts(reference: nn.Module, replaced: Mapping[str, parts.ReplaceablePart]) -> nn.Module:
    module = copy.deepcopy(reference)
    parts.set_submodule(module, replaced)
    return module


def has_other_structure(module: nn.Module, reference: nn.Module) -> bool:
    """Whether a network differs from the newly built network in shapes, parts or names of tensors, not only in values."""
    shapes = [{name: tensor.shape for name, tensor in _named(network).items()} for network in (module, reference)]
    return shapes[0] != shapes[1] or bool(parts.find_replaceable(module, reference))


def is_checkpoint(path: Path) -> bool:
    """Whether this safetensors file is from `save`."""
    with _opened(path) as file:
        return KEY in (file.metadata() or {})


def _types(module: nn.Module) -> dict[str, str]:
    return {name: checkpoint_type(child) for name, child in module.named_modules()}


def _is_plain(value: object) -> TypeGuard[Plain | tuple[bool | int | float, ...]]:
    if isinstance(value, (tuple, list)):
        return all(type(entry) in (bool, int, float) for entry in value)
    return type(value) in (bool, int, float)


def _attributes(module: nn.Module, reference: nn.Module) -> Iterator[tuple[str, str, object, object]]:
    """(submodule, attribute, its value, value in the reference) for every attribute that both have."""
    children = dict(module.named_modules())
    for name, other in reference.named_modules():
        own = vars(children[name])
        for key, expected in vars(other).items():
            if key not in _BASE and key in own:
                yield name, key, own[key], expected


def _numbers(module: nn.Module, reference: nn.Module) -> dict[str, dict[str, Plain]]:
    numbers: dict[str, dict[str, Plain]] = {}
    for name, key, value, expected in _attributes(module, reference):
        if _is_plain(value) and _is_plain(expected):
            numbers.setdefault(name, {})[key] = list(value) if isinstance(value, tuple) else value
    return numbers


def _inexpressible(module: nn.Module, reference: nn.Module) -> Iterator[str]:
    """Differing attributes that are not numeric: another type, a string, a tensor that is not a buffer."""
    for name, key, value, expected in _attributes(module, reference):
        if isinstance(value, Tensor) and isinstance(expected, Tensor):
            differs = value.shape != expected.shape or not torch.equal(value.cpu(), expected.cpu())
        elif _is_plain(value) or _is_plain(expected):
            differs = not _same_kind(value, expected)
        else:
            differs = isinstance(value, str) and value != expected
        if differs:
            yield f"{name}.{key}".lstrip(".")


def _same_kind(value: object, expected: object) -> bool:
    """Whether both are a number of the same type, or both a sequence of numbers."""
    if not (_is_plain(value) and _is_plain(expected)):
        return False
    sequences = isinstance(value, (tuple, list)), isinstance(expected, (tuple, list))
    return all(sequences) or (not any(sequences) and type(value) is type(expected))


def _named(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and all buffers, under all their names."""
    return {**dict(module.named_parameters(remove_duplicate=False)), **dict(module.named_buffers(remove_duplicate=False))}


def _transient(module: nn.Module) -> set[str]:
    """Names of the buffers that are not in a state dict."""
    return dict(module.named_buffers(remove_duplicate=False)).keys() - module.state_dict(keep_vars=True).keys()


def _tensors(module: nn.Module, reference: nn.Module) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors to store, each once, and the further names of shared tensors."""
    named, expected, transient = _named(module), _named(reference), _transient(reference)
    _refuse("tensors", named.keys() ^ expected.keys())
    first: dict[int, str] = {}
    stored: dict[str, Tensor] = {}
    tied: dict[str, str] = {}
    for name, tensor in named.items():
        there = expected[name]
        if name in transient and tensor.shape == there.shape and torch.equal(tensor.cpu(), there.cpu()):
            continue
        if first.setdefault(id(tensor), name) == name:
            stored[name] = tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        else:
            tied[name] = first[id(tensor)]
    return stored, tied


def _refuse(what: str, names: Iterable[str]) -> None:
    differing = sorted(names)
    if differing:
        msg = gettext(
            "cannot save this network: {count} {what} differ from a freshly built network in more than shapes and "
            "numbers: {differing}; a stage may prune layers or replace one by ReLU, ReLU6 or Identity, but not "
            "add or replace them otherwise",
            count=len(differing),
            what=what,
            differing=_list_first(differing),
        )
        raise ModelError(msg)


def _list_first(names: Sequence[str]) -> str:
    return ", ".join(names[:6]) + ", …" * (len(names) > 6)


def _opened(path: Path) -> safe_open:
    if not path.is_file():
        msg = gettext("no checkpoint {path}", path=path)
        raise ModelError(msg)
    try:
        return safe_open(path, framework="pt")
    except (SafetensorError, OSError) as error:
        msg = gettext("{path} is not a readable safetensors file ({error}); make it anew", path=path, error=error)
        raise ModelError(msg) from error


def _read(path: Path) -> tuple[Layout, dict[str, Tensor]]:
    with _opened(path) as file:
        text = (file.metadata() or {}).get(KEY)
        if text is None:
            msg = gettext(
                "{path} was not written by compress; as weights alone it can be used as source: 'file:{path}'", path=path
            )
            raise ModelError(msg)
        try:
            layout = Layout.model_validate_json(text)
        except ValidationError as error:
            msg = gettext(
                "{path} holds a damaged description of its structure ({msg}); make it anew",
                path=path,
                msg=error.errors()[0]["msg"],
            )
            raise ModelError(msg) from error
        # Cloned: a tensor inside the file's buffer lies at an odd address, where kernels round the last bit otherwise.
        return layout, {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118  # not a mapping


def _misfit(path: Path, what: str, names: Iterable[str]) -> str:
    differing = list(names)
    return gettext(
        "{name} was saved for another network: {count} {what} differ from the one built here: "
        "{differing}; build it with the same source, args and small_stem",
        name=path.name,
        count=len(differing),
        what=what,
        differing=_list_first(differing),
    )


def _set_numbers(path: Path, module: nn.Module, name: str, numbers: Mapping[str, Plain]) -> None:
    """Set the differing numbers of a submodule that exist and have the same type."""
    child = dict(module.named_modules()).get(name)
    own = {} if child is None else vars(child)
    for key, value in numbers.items():
        if child is None or key in _BASE or key not in own or not _same_kind(value, own[key]):
            raise ModelError(_misfit(path, "attributes", [f"{name}.{key}".lstrip(".")]))
        restored = tuple(value) if isinstance(value, list) and isinstance(own[key], tuple) else value
        if restored != own[key]:
            setattr(child, key, restored)


def _set_tensors(path: Path, module: nn.Module, tensors: Mapping[str, Tensor], tied: Mapping[str, str]) -> None:
    expected, transient = _named(module), _transient(module)
    other = (expected.keys() - transient) - (tensors.keys() | tied.keys()) | ((tensors.keys() | tied.keys()) - expected.keys())
    other |= {name for name, source in tied.items() if source not in tensors}
    if other:
        raise ModelError(_misfit(path, "tensors", sorted(other)))
    other = {name for name in expected.keys() & tensors.keys() if tensors[name].dtype != expected[name].dtype}
    if other:
        raise ModelError(_misfit(path, "tensors", sorted(other)))
    placed: dict[str, Tensor] = {}
    for name, before in expected.items():
        source = tied.get(name, name)
        if source not in tensors:
            continue
        if source not in placed:
            tensor = tensors[source]
            is_weight = isinstance(before, nn.Parameter)
            placed[source] = nn.Parameter(tensor, requires_grad=before.requires_grad) if is_weight else tensor
        owner, _, leaf = name.rpartition(".")
        setattr(module.get_submodule(owner), leaf, placed[source])
