"""`model:` block of a recipe → a network that fits the data. torch is imported by `build_model`.

source ──► network ──► small stem? ──► channels ──► classes ──► check (`take_network`) ──► BuiltModel
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from compress.core.atomic_files import sha256
from compress.core.errors import ModelError, nearest
from compress.core.fact import Fact
from compress.core.language import gettext
from compress.core.network_spec import NetworkSpec
from compress.core.registry import lookup, names
from compress.core.trusted_code import code_hash
from compress.core.user_path import user_path
from compress.models.settings import ModelSettings, split_source
from compress.tasks.classification import Classification

if TYPE_CHECKING:
    from torch import nn

    from compress.tasks.base import Task


@dataclass(frozen=True, eq=False)
class UnfittedModel:
    """A network from its source, before it is fitted to the data.

    Attributes:
        module: The network.
        classes: Its number of classes; 0 for a network whose head must not be replaced.
        notes: Points for review.
    """

    module: nn.Module
    classes: int
    notes: tuple[Fact, ...] = ()


@dataclass(frozen=True, eq=False)
class BuiltModel:
    """A network with the inputs of the data and the outputs of the task.

    Attributes:
        module: The network in eval mode on the CPU.
        notes: Notes on the changes.
    """

    module: nn.Module
    notes: tuple[Fact, ...] = ()


def build_model(
    settings: ModelSettings,
    spec: NetworkSpec,
    *,
    seed: int,
    base: Path,
    task: Task | None = None,
    trust_code: bool = False,
) -> BuiltModel:
    """Build a network.

    Args:
        settings: The block of the recipe.
        spec: Required input shape and classes.
        seed: Seed of new weights; the global random state is not changed.
        base: Folder for relative paths.
        task: Its task; None for classification.
        trust_code: Whether `python:` sources may run.

    Raises:
        ModelError: Unknown network, weights that do not fit, images too small for it, outputs that are not (N, K).
        TrustError: `python:` without `trust_code`.
        MissingPackageError: `timm:` without timm, `hf:` without transformers.
    """
    import torch

    from compress.models import fit_to_data as head
    from compress.models.check_network import IN_FILE, IN_RECIPE, take_network

    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        draft = construct_model(settings, spec, task=task or Classification(), base=base, trust_code=trust_code)
        notes = list(draft.notes)
        if spec.image_channels is not None:
            notes += head.fit_channels(draft.module, spec.image_channels)
        if spec.head_size is not None and draft.classes:
            notes += head.fit_classes(draft.module, draft.classes, spec.head_size)
    module, changes = take_network(draft.module, spec, settings.source, IN_FILE if settings.form == "onnx" else IN_RECIPE)
    return BuiltModel(module, (*notes, *changes))


def construct_model(settings: ModelSettings, spec: NetworkSpec, *, task: Task, base: Path, trust_code: bool) -> UnfittedModel:
    """The network with its stem, before head and channels are fitted; uses the global random state."""
    from compress.models import small_image_stem as stem
    from compress.models.check_network import unwrap_network
    from compress.models.text.reduce_text import reduce_text

    kind, rest = split_source(settings.source)
    if kind not in names("model"):
        msg = gettext(
            "unknown model source {source!r}: {hint}, each followed by `:` and a name",
            source=settings.source,
            hint=nearest(kind, names("model")),
        )
        raise ModelError(msg)
    whole = settings.model_copy(update={"keep_layers": None, "factorize_embeddings": None})
    plain = spec.without_kept()
    draft: UnfittedModel = lookup("model", kind).load()(rest, whole, plain, task=task, base=base, trust_code=trust_code)
    module, unwrapped = unwrap_network(draft.module)
    module, reduced = reduce_text(module, settings, spec, settings.source)
    draft = UnfittedModel(module, draft.classes, (*draft.notes, *unwrapped, *reduced))
    if settings.small_stem and kind != "file":  # the architecture of a file has its stem before its weights are loaded
        return UnfittedModel(draft.module, draft.classes, (*draft.notes, *stem.use_small_stem(draft.module)))
    return draft


def model_fingerprint(settings: ModelSettings, base: Path) -> dict[str, object]:
    """Inputs of the network besides the settings, as JSON; computed without torch.

    Raises:
        ModelError: The weights file or Python file is missing.
    """
    kind, rest = split_source(settings.source)
    parts: dict[str, object] = {"torch": _version("torch")}
    if kind == "onnx":
        return {"file": onnx_hash(user_path(rest, base))}
    if kind == "file":
        parts["weights"] = _hash(rest, base)
        if settings.architecture is not None:
            parts |= model_fingerprint(settings.model_copy(update={"source": settings.architecture}), base)
    elif kind == "python":
        parts["code"] = code_hash(rest, base)
    elif kind == "hf":
        parts["transformers"] = _version("transformers")
        folder = user_path(rest, base)
        parts["files"] = {path.name: sha256(path) for path in sorted(folder.glob("*.*")) if path.is_file()}
    else:
        package = lookup("model", kind).options.get("package", kind) if kind in names("model") else kind
        parts[package] = _version(package)  # the code of the package, and the meaning of `DEFAULT`
    if (reference := settings.reference) is not None:
        parts["reference"] = model_fingerprint(reference, base)
    if towers := settings.towers:
        parts["towers"] = {name: model_fingerprint(tower, base) for name, tower in towers.items()}
    return parts


def onnx_hash(path: Path) -> str:
    """Hash of an ONNX file and its external weight files.

    Raises:
        ModelError: A file cannot be read.
    """
    try:
        beside = [sha256(file) for file in sorted(path.parent.glob(f"{path.name}*data")) if file.is_file()]
        return "+".join([sha256(path), *beside])
    except OSError as error:
        msg = gettext("cannot read {path}: {strerror}; give the path of an ONNX file", path=path, strerror=error.strerror)
        raise ModelError(msg) from error


def _hash(name: str, base: Path) -> str:
    path = user_path(name, base)
    if not path.is_file():
        msg = gettext("no file {path}; relative paths in a recipe start from {base}", path=path, base=base)
        raise ModelError(msg)
    try:
        return sha256(path)
    except OSError as error:
        msg = gettext("cannot read {path}: {strerror}", path=path, strerror=error.strerror)
        raise ModelError(msg) from error


def _version(package: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
