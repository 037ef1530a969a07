"""Weights files of training scripts: safetensors or torch, with nested entries and prefixes of wrappers.

    file ──► content ──► state dict (`find_state_dict`) ──► entries of one network (`own_entries`) ──► float32 (`to_float32`)

A torch file is a pickle, which may run code. It is read with `weights_only=True`, which refuses code.
"""

from __future__ import annotations

import argparse
import pathlib
import pickle
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import product
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from compress.core.errors import ModelError, message_line, nearest
from compress.core.fact import Fact
from compress.core.language import gettext

WRAPPERS = (
    "state_dict",
    "model_state_dict",
    "model",
    "net",
    "network",
    "module",
    "weights",
    "params",
    "state_dict_ema",
    "model_ema",
    "ema",
    "params_ema",
)
"""Entries with the state dict in files of training scripts; the first that exists is used."""
PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "network.", "backbone.")
"""Prefixes of tensor names by DataParallel, `torch.compile`, Lightning and other wrappers."""
_PLAIN_TYPES: tuple[Callable[..., object], ...] = (
    argparse.Namespace,
    pathlib.PosixPath,
    pathlib.PurePosixPath,
    np.dtype,
    np._core.multiarray.scalar,  # type: ignore[attr-defined]  # how numpy pickles a number
    *(type(np.dtype(name)) for name in ("bool", "int32", "int64", "float32", "float64")),
)
"""Types of data besides the weights that torch does not allow by default: command-line options, paths, numbers of numpy."""
_DENSENET = re.compile(r"^(.*denselayer\d+\.(?:norm|relu|conv))\.([12]\..*)$")
"""Names in the files that torchvision publishes for DenseNet: `denselayer1.norm.1.weight` is `denselayer1.norm1.weight`."""
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_SHOWN = 4


def read_file(path: Path) -> object:
    """Content of a weights file.

    Raises:
        ModelError: The file is damaged, has no weights, or is a pickle with more than data.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with torch.serialization.safe_globals(list(_PLAIN_TYPES)):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelError(_refusal(path, str(error))) from error
    except Exception as error:  # a damaged pickle may raise any error
        reason = message_line(error)
        if "TorchScript archives" in str(error):
            reason = gettext(
                "it is a TorchScript archive; save the weights: torch.save(torch.jit.load(PATH).state_dict(), NEW_PATH)"
            )
        msg = gettext(
            "{path} is not a readable weights file ({reason}); allowed: .safetensors, or .pt/.pth from torch.save(state_dict)",
            path=path,
            reason=reason,
        )
        raise ModelError(msg) from error


def _refusal(path: Path, reason: str) -> str:
    """Why a pickle is refused, and what to save in its place."""
    kind = match[1] if (match := re.search(r"GLOBAL (\S+)", reason)) else ""
    held = gettext("a pickled {kind}", kind=kind) if kind else gettext("more than tensors")
    if kind.startswith(("ultralytics.", "models.yolo", "models.common")):
        remedy = gettext(
            "with its own package: torch.save(YOLO(PATH).model.float().state_dict(), NEW_PATH), or export ONNX there"
        )
    else:
        remedy = gettext("convert it once: torch.save(torch.load(PATH, weights_only=False).state_dict(), NEW_PATH)")
    return gettext(
        "{path} is refused: it holds {held}, and loading it could run code; if you trust its source, {remedy}",
        path=path,
        held=held,
        remedy=remedy,
    )


def find_state_dict(content: object, entry: str | None, path: Path) -> tuple[dict[str, Tensor], list[Fact]]:
    """The state dict in the file of a training script; and notes on averaged weights in the file.

    Args:
        content: Content of the file.
        entry: The entry or prefix that the settings name; None for the one that comes first in `WRAPPERS`.
        path: Names the file in messages.

    Raises:
        ModelError: There is none, or none under that entry.
    """
    if entry is not None:
        content = _entry(content, entry, path)
    notes: list[Fact] = []
    while isinstance(content, Mapping):
        inner = [key for key in WRAPPERS if _holds_tensors(content.get(key))]
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
        msg = gettext(
            "{name} holds no state dict (found {kind}); allowed: a state dict, bare or under one of {wrappers}",
            name=path.name,
            kind=kind,
            wrappers=WRAPPERS,
        )
        raise ModelError(msg)
    return state, notes


def _holds_tensors(value: object) -> bool:
    """Whether an entry is a state dict, or holds one."""
    return isinstance(value, Mapping) and any(isinstance(member, Tensor) or _holds_tensors(member) for member in value.values())


def _entry(content: object, entry: str, path: Path) -> object:
    """The content of an entry, or of a prefix of the tensor names."""
    if isinstance(content, Mapping):
        if isinstance(content.get(entry), Mapping):
            return content[entry]
        state = find_state_dict(content, None, path)[0]
        prefix = f"{entry.rstrip('.')}."
        if own := {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}:
            return own
    entries = [str(key) for key in content if isinstance(content[key], Mapping)] if isinstance(content, Mapping) else []
    msg = gettext("{name} has no state dict under {entry!r}: {hint}", name=path.name, entry=entry, hint=nearest(entry, entries))
    raise ModelError(msg)


def own_entries(state: Mapping[str, Tensor], expected: Sequence[str], path: Path) -> tuple[dict[str, Tensor], list[Fact]]:
    """The entries of one network, without the prefix of wrappers; a note on the others.

    Args:
        state: Of the file.
        expected: Names of the network's tensors.
        path: Names the file in messages.

    Raises:
        ModelError: Several networks in the file have these names, and none is the obvious one.
    """
    state = {_DENSENET.sub(r"\1\2", key): value for key, value in state.items()}
    prefix = _prefix(state, expected, path)
    own = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
    outside = [key for key in state if not key.startswith(prefix)]
    notes = [Fact.of("models.weights_unused", path.name, count=len(outside), prefix=prefix, first=first_few(outside))]
    return own, notes if outside else []


def _prefix(state: Mapping[str, Tensor], expected: Sequence[str], path: Path) -> str:
    """The prefix with most of the expected names; among equal ones a known prefix, then the shortest."""
    names, counts = frozenset(expected), Counter[str]()
    for key in state:
        parts = key.split(".")
        endings = (".".join(parts[start:]) for start in range(len(parts)))
        counts.update(key.removesuffix(ending) for ending in endings if ending in names)
    most = max(counts.values(), default=0)
    best = sorted((prefix for prefix in counts if counts[prefix] == most), key=len)
    known = ["", *PREFIXES, *map("".join, product(PREFIXES, repeat=2))]
    usual = [prefix for prefix in known if prefix in best]
    if not usual and len(best) > 1:
        listed = ", ".join(prefix.rstrip(".") for prefix in best)
        msg = gettext(
            "{name} holds several networks with these names: {listed}; set weights to one of them",
            name=path.name,
            listed=listed,
        )
        raise ModelError(msg)
    return next(iter((*usual, *best)), "")


def to_float32(state: Mapping[str, Tensor], expected: Mapping[str, Tensor], path: Path) -> tuple[dict[str, Tensor], list[Fact]]:
    """Weights of other precisions as float32, with a note for each precision.

    Args:
        state: Of the file.
        expected: Tensors of the network.
        path: Names the file.

    Raises:
        ModelError: Weights are integers, complex or of a scaled type where the network has real numbers.
    """
    floats = [key for key in state if key in expected and expected[key].is_floating_point()]
    if other := [
        f"{key} ({str(state[key].dtype).removeprefix('torch.')})" for key in floats if state[key].dtype not in _FLOATS
    ]:
        msg = gettext(
            "{name} holds {count} weights that are no plain floats ({other}); give the float network",
            name=path.name,
            count=len(other),
            other=first_few(other),
        )
        raise ModelError(msg)
    kinds = [state[key].dtype for key in floats]
    notes = [
        Fact.of("models.converted_to_float32", path.name, count=kinds.count(kind), dtype=str(kind).removeprefix("torch."))
        for kind in _FLOATS
        if kind != torch.float32 and kind in kinds
    ]
    return {**state, **{key: state[key].float() for key in floats}}, notes


def first_few(names: Iterable[str]) -> str:
    """The first few names, and the number of further names."""
    listed = list(names)
    more = gettext(" and {count} more", count=len(listed) - _SHOWN) if len(listed) > _SHOWN else ""
    return ", ".join(listed[:_SHOWN]) + more
