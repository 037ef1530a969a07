"""Plans of networks: what identifies one, and what builds it, from a recipe's settings or from a module of the caller's own."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from compress.config.start_form import first_torch_stage
from compress.core.environment import run_token
from compress.core.errors import ModelError
from compress.core.fact import Fact
from compress.core.language import gettext
from compress.core.network_spec import NetworkSpec
from compress.core.registry_field import name_of
from compress.core.stage import Stage
from compress.core.user_path import user_path
from compress.models.settings import TEACHER
from compress.models.text.layer_choice import LayerChoice, count_kept
from compress.train.settings import Training

if TYPE_CHECKING:
    from torch import nn

    from compress.models.settings import ModelSettings
    from compress.tasks.base import Task

BuildNetwork = Callable[[NetworkSpec], "tuple[nn.Module, tuple[Fact, ...]]"]
BuildFromTeacher = Callable[["nn.Module", NetworkSpec], "tuple[nn.Module, tuple[Fact, ...]]"]


@dataclass(frozen=True)
class NetworkPlan:
    """One network.

    Attributes:
        key: Identifies it.
        build: Builds the network with its initial weights; with notes on how it was adapted to the data.
        build_architecture: Builds the same network with any weights: the reference that checkpoints are read against.
        trained: Whether its initial weights are trained, so that they are worth measuring.
        training: How to train it before use (teachers).
        architecture: Where it is from, without weights; None for a network that was built in Python.
        file: The ONNX file that the chain starts from, in place of a torch network.
        converted: The ONNX file that the torch network is converted from.
        tokenizer: Folder or file of a tokenizer of its own, for a teacher; None for that of the data.
        from_teacher: For a network that is made of the run's first trained teacher: makes it, from the teacher's module.
    """

    key: Mapping[str, object]
    build: BuildNetwork
    build_architecture: BuildNetwork
    trained: bool
    training: Training | None = None
    architecture: ModelSettings | None = None
    file: Path | None = None
    converted: Path | None = None
    tokenizer: str | None = None
    from_teacher: BuildFromTeacher | None = None

    @property
    def file_sha256(self) -> str:
        """SHA-256 of the ONNX file, with its external weights; empty for a network that is of none."""
        parts = self.key.get("source")
        return str(parts.get("file", "")) if isinstance(parts, Mapping) else ""


def given_file(source: str, base: Path) -> Path | None:
    """The ONNX file that a chain starts from; None for a torch network."""
    kind, _, name = source.partition(":")
    return user_path(name, base).absolute() if kind == "onnx" else None


def needs_torch(stages: Sequence[Stage]) -> str:
    """Name of the first stage that needs a torch network; empty where none does."""
    return first_torch_stage((name_of("stage", stage), type(stage), stage) for stage in stages)


def as_converted(network: NetworkPlan, stage: str) -> NetworkPlan:
    """The network of an ONNX file as a torch network, where a stage needs one.

    Args:
        network: Any.
        stage: Of `needs_torch`.
    """
    if network.file is None or not stage:
        return network
    return replace(network, key={**network.key, "converted": True}, file=None, converted=network.file)


def plan_network(
    settings: ModelSettings, task: Task, seed: int, base: Path, trust_code: bool, training: Training | None = None
) -> NetworkPlan:
    """A network by its settings in a recipe.

    Args:
        settings: Its settings.
        task: That it is built for.
        seed: Of fresh weights.
        base: Folder that relative paths start from.
        trust_code: Whether `python:` sources may run.
        training: How to train it before use.
    """
    from compress.models import factory as sources
    from compress.models.saved_network import portable_architecture

    def builder(model: ModelSettings) -> BuildNetwork:
        def build(spec: NetworkSpec) -> tuple[nn.Module, tuple[Fact, ...]]:
            network = sources.build_model(model, spec, seed=seed, base=base, task=task, trust_code=trust_code)
            return network.module, network.notes

        return build

    return NetworkPlan(
        key={"settings": settings.model_dump(mode="json"), "source": sources.model_fingerprint(settings, base)},
        build=builder(settings),
        build_architecture=builder(settings.without_weights()),
        trained=settings.trained,
        training=training,
        architecture=portable_architecture(settings, base),
        file=given_file(settings.source, base),
    )


def network_from_teacher(settings: ModelSettings, network: NetworkPlan, teachers: Sequence[NetworkPlan]) -> NetworkPlan:
    """A network that is made of the first trained teacher: a copy of it, or a student that starts from its embeddings.

    Args:
        settings: Its block of the recipe.
        network: Its plan without the teacher.
        teachers: Plans of the teachers.

    Raises:
        ModelError: There is no teacher.
    """
    if not teachers:
        raise ModelError(
            gettext("{source} starts from the teacher of the run, and there is none; add one", source=settings.source)
        )
    if settings.source == TEACHER:
        return _copy_of_teacher(settings, teachers[0])

    def build(teacher: nn.Module, spec: NetworkSpec) -> tuple[nn.Module, tuple[Fact, ...]]:
        from compress.models.sources.text_student import fill_from_teacher
        from compress.models.sources.visual_language import fill_vision_from_teacher

        student, notes = network.build(spec)
        fill = fill_vision_from_teacher if settings.source.startswith("visual_language:") else fill_from_teacher
        return student, (*notes, *fill(student, teacher, settings.source))

    return replace(network, from_teacher=build)


def _copy_of_teacher(settings: ModelSettings, teacher: NetworkPlan) -> NetworkPlan:
    def build(trained: nn.Module, spec: NetworkSpec) -> tuple[nn.Module, tuple[Fact, ...]]:
        from compress.models.sources.teacher import copy_teacher

        return copy_teacher(trained, settings, spec)

    def build_architecture(spec: NetworkSpec) -> tuple[nn.Module, tuple[Fact, ...]]:
        return build(teacher.build_architecture(spec)[0], spec)

    architecture, layers = teacher.architecture, settings.keep_layers
    if architecture is not None and layers is not None:  # layers differ by their weights alone, so their number is enough
        architecture = architecture.model_copy(update={"keep_layers": LayerChoice(count=count_kept(layers), choose="first")})
    if architecture is not None:
        own: dict[str, object] = {"whole_vocabulary": settings.whole_vocabulary}
        if settings.factorize_embeddings is not None:
            own["factorize_embeddings"] = settings.factorize_embeddings
        architecture = architecture.model_copy(update=own)
    return NetworkPlan(
        key={"settings": settings.model_dump(mode="json"), "teacher": teacher.key},
        build=build_architecture,
        build_architecture=build_architecture,
        trained=teacher.trained or teacher.training is not None,
        architecture=architecture,
        from_teacher=build,
    )


def network_of_source(source: str, task: Task, seed: int, torch_stage: str) -> NetworkPlan:
    """A network by its source string, such as `onnx:model.onnx`; `torch_stage` is the first that needs a torch network."""
    from compress.models.settings import ModelSettings

    return as_converted(plan_network(ModelSettings(source=source), task, seed, Path.cwd(), trust_code=False), torch_stage)


def network_of_module(module: nn.Module, spec: NetworkSpec) -> NetworkPlan:
    """The caller's own network, checked and copied: later changes of it change nothing.

    Raises:
        ModelError: It cannot be used; see `compress.models.check_network`.
    """
    from compress.models.check_network import IN_PYTHON, take_network

    name = type(module).__name__
    return copies_of(*take_network(module, spec, gettext("the network {name}", name=name), IN_PYTHON))


def copies_of(network: nn.Module, notes: tuple[Fact, ...]) -> NetworkPlan:
    """The plan of a network that exists: the user's code has run once, and the run takes copies of its result."""
    key, unread = _fingerprint_key(network)
    notes = (*notes, *unread)

    def build(spec: NetworkSpec) -> tuple[nn.Module, tuple[Fact, ...]]:  # noqa: ARG001
        return copy.deepcopy(network), notes

    return NetworkPlan(key=key, build=build, build_architecture=build, trained=True)


def _fingerprint_key(network: nn.Module) -> tuple[dict[str, str], tuple[Fact, ...]]:
    """A network's part of a key; with a note where it cannot be recognised in a later run."""
    from compress.core.object_fingerprint import fingerprint_object

    fingerprint = fingerprint_object(network)
    key = {"class": f"{type(network).__module__}.{type(network).__qualname__}", "sha256": fingerprint.sha256}
    if not fingerprint.unread:
        return key, ()
    note = Fact.of("pipeline.network_not_readable", type(network).__name__, attributes=", ".join(fingerprint.unread))
    return key | {"unread": run_token()}, (note,)
