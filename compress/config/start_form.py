"""What a chain that starts from an ONNX file takes it as: the file, or the torch network that it is converted to.

Stages that train or cut need a torch network. A chain with one of them converts the file at its start.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from compress.core.stage import Form, Stage


def first_torch_stage(stages: Iterable[tuple[str, type[Stage], Stage | None]]) -> str:
    """Name of the first stage that needs a torch network before any stage gives an ONNX file; empty where none does.

    Args:
        stages: Name, class and settings of each; None for settings that are faulty.
    """
    for name, kind, stage in stages:
        if "onnx" not in kind.accepts and not kind.takes_given_file:
            return name
        if kind.takes_given_file and getattr(stage, "recover", None) is not None:
            return f"{name}.recover"
        if kind.produces == "onnx":
            return ""
    return ""


def start_form(form: Form, torch_stage: str) -> Form:
    """What the chain starts from.

    Args:
        form: Of the model's source.
        torch_stage: Of `first_torch_stage`.
    """
    return "torch" if torch_stage else form


def why_not_trainable(path: Path, torch_stage: str) -> str | None:
    """Why the file cannot be converted for a stage; None where nothing speaks against it, or the file cannot be read."""
    from compress.backends.trainable_operators import untrainable_sentence

    operators = _without_torch_function(path)
    return untrainable_sentence(operators, torch_stage) if operators else None


def why_no_teacher(path: Path) -> str | None:
    """Why the file cannot be converted for a teacher; None where nothing speaks against it, or the file cannot be read."""
    from compress.backends.trainable_operators import untaught_sentence

    operators = _without_torch_function(path)
    return untaught_sentence(operators) if operators else None


def _without_torch_function(path: Path) -> dict[str, str]:
    """Operators without torch function, each with its first node; none where the file cannot be read."""
    from compress.backends.read_graph import read_graph
    from compress.backends.trainable_operators import nodes_of, untrainable
    from compress.core.errors import ConversionError

    try:
        model = read_graph(path)
    except ConversionError:
        return {}  # a finding of another check
    return untrainable(nodes_of(model))
