"""Networks to merge, by their sources."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from compress.core.atomic_files import sha256
from compress.core.errors import ModelError
from compress.core.language import gettext
from compress.core.stage import Context
from compress.core.user_path import user_path

if TYPE_CHECKING:
    from torch import Tensor, nn


def files_of(source: str, base: Path) -> dict[str, str]:
    """SHA-256 of the files from which a network is read, by name; computed without torch.

    Args:
        source: `file:PATH`, `hf:FOLDER` or `run:FOLDER`.
        base: Folder for relative paths.

    Raises:
        ModelError: There is no such file or folder, or the folder of a run has no torch network.
    """
    kind, _, rest = source.partition(":")
    path = user_path(rest, base)
    if not (path.is_file() if kind == "file" else path.is_dir()):
        what = gettext("no file {path}", path=path) if kind == "file" else gettext("no folder {path}", path=path)
        msg = gettext("{source}: {what}; relative paths start from {base}", source=source, what=what, base=base)
        raise ModelError(msg)
    if kind == "run":
        from compress.models.saved_network import files_of_network

        files = files_of_network(path)
    else:
        files = [path] if path.is_file() else [file for file in sorted(path.glob("*.safetensors*")) if file.is_file()]
    return {file.name if path.is_file() else file.relative_to(path).as_posix(): sha256(file) for file in files}


def load_network(source: str, like: nn.Module, context: Context) -> nn.Module:
    """A copy of a network with the weights of another one.

    Args:
        source: See `files_of`; or `teacher`, the first one of the recipe.
        like: The network, which is not changed.
        context: Data, task, teachers, folder for relative paths.

    Raises:
        ModelError: The other one is missing, unreadable, or of another architecture.
    """
    state, expected = _state_of(source, like, context), like.state_dict()
    differing = sorted(
        name for name in state.keys() | expected.keys()
        if name not in state or name not in expected or state[name].shape != expected[name].shape
    )  # fmt: skip
    if differing:
        name = differing[0]
        own, wanted = (_shape(each, name) for each in (state, expected))
        msg = gettext(
            "{source} has another architecture: {count} of its tensors differ, such as {name}: {own} against {expected}; only "
            "networks with the same layers and widths can be merged",
            source=source,
            count=len(differing),
            name=name,
            own=own,
            expected=wanted,
        )
        raise ModelError(msg)
    network = copy.deepcopy(like)
    network.load_state_dict(state)
    return network.eval()


def float_tensors(network: nn.Module) -> dict[str, Tensor]:
    """The floating-point tensors of a network in float32, by name."""
    return {name: tensor.detach().float() for name, tensor in network.state_dict().items() if tensor.is_floating_point()}


def _state_of(source: str, like: nn.Module, context: Context) -> dict[str, Tensor]:
    """The state dict of a network."""
    kind, _, rest = source.partition(":")
    if kind == "teacher":
        if not context.teachers:
            raise ModelError(gettext("merge names the teacher, and the recipe has none; add `teacher: {source: …}`"))
        return context.teachers[0].network().state_dict()
    files_of(source, context.base)
    path = user_path(rest, context.base)
    if kind == "run":
        from compress.models.saved_network import load

        return load(path, base=context.base, trust_code=context.trust_code).state_dict()
    if kind == "hf":
        from compress.models.factory import build_model
        from compress.models.settings import ModelSettings

        spec, task, settings = context.data.spec, context.task, ModelSettings(source=source)
        built = build_model(settings, spec, seed=0, base=context.base, task=task, trust_code=context.trust_code)
        return built.module.state_dict()
    return _state_of_file(path, like)


def _state_of_file(path: Path, like: nn.Module) -> dict[str, Tensor]:
    from compress.models import checkpoint
    from compress.models.read_weights import find_state_dict, own_entries, read_file, to_float32

    if path.suffix == ".safetensors" and checkpoint.is_checkpoint(path):
        return checkpoint.load(path, like).state_dict()
    expected = like.state_dict()
    state, _ = own_entries(find_state_dict(read_file(path), None, path)[0], list(expected), path)
    return to_float32(state, expected, path)[0]


def _shape(state: Mapping[str, Tensor], name: str) -> str:
    return " × ".join(map(str, state[name].shape)) or "1" if name in state else gettext("none")
