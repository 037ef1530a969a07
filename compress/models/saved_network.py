"""A network in a folder: weights, and a description from which its module is built.

    network.json         source of the architecture, and signature
    model.safetensors    weights and structure, see `compress.models.checkpoint`
    model.pt2            the same as a `torch.export` program, which needs no `compress`

`compress.load(folder)` builds the architecture, sets the recorded shapes and weights, and returns the module.
"""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import ValidationError

from compress import __version__
from compress.core.atomic_files import write_text, write_with
from compress.core.errors import ModelError
from compress.core.frozen_model import FrozenModel
from compress.core.language import gettext
from compress.core.network_spec import NetworkSpec
from compress.core.run_directory import SHIPPED_NETWORK
from compress.core.user_path import user_path
from compress.models.settings import CONFIG, ModelSettings, split_source
from compress.models.text.sentence_settings import MODULES, sentence_settings
from compress.tasks.choice import TaskChoice

if TYPE_CHECKING:
    from torch import nn

DESCRIPTION = "network.json"
WEIGHTS = "model.safetensors"
PROGRAM = "model.pt2"


class NetworkDescription(FrozenModel):
    """Description of a network besides the weights, for `load`.

    Attributes:
        version: Version of the format.
        compress: Version of the package that wrote it.
        class_name: Class of the network.
        architecture: The block of the recipe, without weights; None for a network built in Python.
        task: The task that it was built for, as a recipe writes it.
        spec: Signature, class names and preprocessing.
    """

    version: Literal[1] = 1
    compress: str = __version__
    class_name: str
    architecture: ModelSettings | None = None
    task: str | dict[str, object] = "classification"
    spec: NetworkSpec


def write_description(
    module: nn.Module, folder: Path, spec: NetworkSpec, *, architecture: ModelSettings | None, task: str | dict[str, object]
) -> None:
    """Write `network.json` beside the weights.

    Args:
        module: The network.
        folder: Folder of its weights.
        spec: Its signature.
        architecture: Its source; None for a network built in Python.
        task: The task that it was built for, as a recipe writes it.
    """
    kind = type(module)
    description = NetworkDescription(
        class_name=f"{kind.__module__}.{kind.__qualname__}", architecture=architecture, task=task, spec=spec
    )
    write_text(folder / DESCRIPTION, description.model_dump_json(indent=1))


def load(
    folder: str | Path, *, reference: nn.Module | None = None, base: str | Path = ".", trust_code: bool = False
) -> nn.Module:
    """Load a network of a run: of a torch stage (`02-prune`), of `artifacts/torch`, or of the whole run.

    Args:
        folder: Folder with `network.json` and `model.safetensors`, or a run directory whose export stage wrote them.
        reference: The network before compression, newly built, if the run began with a module built in Python.
        base: Folder for relative paths of `python:` and `hf:` sources.
        trust_code: Whether a `python:` source may run.

    Returns:
        The module in eval mode on the CPU.

    Raises:
        ModelError: The folder has no such network, its files are damaged, or `reference` is missing.
        TrustError: The architecture is user code, without `trust_code`.
    """
    from compress.models.checkpoint import load as load_checkpoint
    from compress.models.compressed_checkpoint import decompressed

    place = _place(Path(folder))
    description = read_description(place)
    if reference is None:
        reference = _build(description, place, Path(base), trust_code=trust_code)
    with decompressed(place / WEIGHTS) as path:
        return load_checkpoint(path, reference)


def read_description(folder: Path) -> NetworkDescription:
    """Read `network.json`.

    Raises:
        ModelError: The file is missing or damaged.
    """
    path = folder / DESCRIPTION
    try:
        return NetworkDescription.model_validate_json(path.read_bytes())
    except OSError as error:
        msg = gettext("cannot read {path}: {strerror}", path=path, strerror=error.strerror)
        raise ModelError(msg) from error
    except ValidationError as error:
        msg = gettext("{path} is no description of a network ({msg}); make it anew", path=path, msg=error.errors()[0]["msg"])
        raise ModelError(msg) from error


def copy_network(source: Path, target: Path) -> None:
    """Copy description, weights and program of a stage; compressed weights are decompressed."""
    from compress.models.compressed_checkpoint import decompressed

    target.mkdir(parents=True, exist_ok=True)
    for name in (DESCRIPTION, WEIGHTS, PROGRAM):
        with decompressed(source / name) as path:
            if path.is_file():
                write_with(target / name, partial(shutil.copyfile, path))


def portable_architecture(settings: ModelSettings, base: Path) -> ModelSettings:
    """The network without weights; with the configuration of an `hf:` folder in place of the folder, which may move."""
    settings = settings.without_weights()
    kind, name = split_source(settings.source)
    file = user_path(name, base) / "config.json"
    if kind != "hf" or not file.is_file():
        return settings
    pooling = (
        sentence_settings(name, settings.args, base).model_dump(exclude_none=True) if (file.parent / MODULES).is_file() else {}
    )
    return settings.model_copy(update={"args": {**settings.args, **pooling, CONFIG: json.loads(file.read_bytes())}})


def _place(folder: Path) -> Path:
    place = next((path for path in (folder, folder / SHIPPED_NETWORK) if (path / DESCRIPTION).is_file()), None)
    if place is None:
        msg = gettext(
            "{folder} holds no {description}; give the folder of a stage that leaves a torch network, such as 02-prune, or a "
            "run directory with an export stage",
            folder=folder,
            description=DESCRIPTION,
        )
        raise ModelError(msg)
    return place


def files_of_network(folder: str | Path) -> list[Path]:
    """The files that `load` reads: the description and the weights, which may be compressed.

    Raises:
        ModelError: The folder has no such network.
    """
    place = _place(Path(folder))
    return [place / DESCRIPTION, *sorted(place.glob(f"{WEIGHTS}*"))]


def _build(description: NetworkDescription, folder: Path, base: Path, *, trust_code: bool) -> nn.Module:
    from compress.models.factory import build_model

    if description.architecture is None:
        msg = gettext(
            "the network in {folder} was built in Python, as {class_name}: pass the network before compression as "
            "`reference`, or run {program} where there is one, which needs no code: torch.export.load(PATH).module()",
            folder=folder,
            class_name=description.class_name,
            program=PROGRAM,
        )
        raise ModelError(msg)
    architecture = description.architecture.without_weights()  # so that a description downloads nothing
    task = TaskChoice.read(description.task, base, trust_code=trust_code).make()
    built = build_model(architecture, description.spec, seed=0, base=base, task=task, trust_code=trust_code)
    return built.module
