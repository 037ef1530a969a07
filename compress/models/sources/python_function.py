"""`python:FILE.py:FUNCTION`: a network that the user's own function builds. Runs only with --trust-code."""

from __future__ import annotations

import inspect
from pathlib import Path

from torch import nn

from compress.core.entries import integer
from compress.core.errors import ModelError
from compress.core.language import gettext
from compress.core.network_spec import NetworkSpec
from compress.core.trusted_code import load_function
from compress.models.factory import UnfittedModel
from compress.models.settings import ModelSettings
from compress.tasks.base import Task


def build(name: str, settings: ModelSettings, spec: NetworkSpec, *, task: Task, base: Path, trust_code: bool) -> UnfittedModel:
    """Call the function with `args`, and with `num_classes`, `in_channels`, `spec` and `task` where it takes them.

    Raises:
        TrustError: Not trusted.
        ModelError: `args` do not fit the function, or it does not return an `nn.Module`.
    """
    function = load_function(name, base, trust_code)
    outputs = spec.head_size or len(spec.classes)
    arguments: dict[str, object] = {"num_classes": outputs, "in_channels": spec.image_channels, "spec": spec, "task": task}
    named = inspect.signature(function).parameters
    arguments = {key: value for key, value in arguments.items() if key in named} | settings.args
    try:
        inspect.signature(function).bind(**arguments)
    except TypeError as error:
        msg = gettext(
            "python:{name}{signature} cannot be called with {arguments}: {error}; see args",
            name=name,
            signature=inspect.signature(function),
            arguments=sorted(arguments),
            error=error,
        )
        raise ModelError(msg) from error
    module = function(**arguments)
    if not isinstance(module, nn.Module):
        msg = gettext("python:{name} must return a torch.nn.Module, it returned {kind}", name=name, kind=type(module).__name__)
        raise ModelError(msg)
    return UnfittedModel(module, integer({"num_classes": outputs, **settings.args}, "num_classes"))
