"""Train the weights of some modules alone; the others are frozen, and compute as in evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Self

from torch import nn

from compress.core.errors import TrainingError
from compress.core.language import gettext
from compress.train.module_globs import match_modules


class TrainedParts:
    """Freezes all modules but those that globs name, inside a `with` block; afterwards each weight is as free as before.

    Args:
        module: The network.
        globs: Of the names of the modules that are trained; None freezes nothing.

    Raises:
        ModelError: A glob matches no module.
        TrainingError: The modules have no weights that can be trained.
    """

    def __init__(self, module: nn.Module, globs: Sequence[str] | None) -> None:
        self._frozen: list[nn.Module] = []
        self._free = [parameter for parameter in module.parameters() if parameter.requires_grad]
        self._trained = {id(parameter) for parameter in self._free}
        if globs is None:
            return
        names = match_modules(module, globs, "parts")
        chosen = [part for name, part in module.named_modules() if name in names]
        self._trained = {id(parameter) for part in chosen for parameter in part.parameters() if parameter.requires_grad}
        if not self._trained:
            msg = gettext("parts: {globs} have no weights that can be trained; name others", globs=", ".join(globs))
            raise TrainingError(msg)
        self._frozen = [part for name, part in module.named_modules() if name not in names and not self._trains(part)]

    def __enter__(self) -> Self:
        for parameter in self._free:
            parameter.requires_grad_(id(parameter) in self._trained)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for parameter in self._free:
            parameter.requires_grad_()

    def set_modes(self) -> None:
        """Put the frozen modules of a network in training mode back into evaluation mode, as batch norm and dropout need."""
        for part in self._frozen:
            part.training = False

    def _trains(self, part: nn.Module) -> bool:
        return any(id(parameter) in self._trained for parameter in part.parameters())
