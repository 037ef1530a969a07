"""`VerificationSamples`: inputs for the verification, and where they come from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from compress.backends.runner_protocol import Array
from compress.core.language import gettext
from compress.data.batch import Tensors

if TYPE_CHECKING:
    from compress.tasks.base import Task


class VerificationSamples(NamedTuple):
    """Inputs and their origin.

    Attributes:
        values: Preprocessed inputs: float32 (N, …) of a network with one input, or arrays (N, …) by name of the input.
        origin: Description of the origin; empty for inputs of the caller.
        task: Task of the recipe; None without a recipe.
        targets: Targets by name, (N, …); None if unknown.
    """

    values: Array | Mapping[str, Array]
    origin: str = ""
    task: Task | None = None
    targets: Tensors | None = None

    @property
    def described(self) -> str:
        """Description of the origin."""
        return self.origin or gettext("inputs of the caller")

    @property
    def size(self) -> int:
        """N."""
        return len(next(iter(self.values.values()))) if isinstance(self.values, Mapping) else len(self.values)
