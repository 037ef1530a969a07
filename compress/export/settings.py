"""The parameters of export that have parts of their own. Light: a recipe is read without numpy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from pydantic import Field

from compress.core.frozen_model import FrozenModel
from compress.core.registry import entries

if TYPE_CHECKING:
    from compress.tasks.base import Capability


class ExportTarget(NamedTuple):
    """A device, as far as export must know it; `runtime` and `release` as in a profile."""

    name: str
    runtime: str
    release: str | None = None

    @property
    def family(self) -> str:
        """The runtime without its execution provider."""
        return self.runtime.partition(":")[0]

    @property
    def format(self) -> str | None:
        """Format of the file that the runtime runs; None where the registry names none."""
        rows = {row.name: row for row in entries("runner")}
        return rows[self.family].options.get("format") if self.family in rows else None


class Tolerance(FrozenModel):
    """How far outputs may be off. Export fails beyond it, naming the first node.

    Attributes:
        relative: Of a float export against torch, max |a − b| ≤ absolute + relative · max |a|.
        absolute: Likewise, in units of the outputs.
        fused: Of ONNX Runtime's int8 kernels against the operators as the file has them, max |a − b| ≤ fused · max |a|.
        top1: Least fraction of samples whose top class int8 keeps; 0 leaves that to the budget.
    """

    relative: float = Field(default=1e-3, ge=0.0)
    absolute: float = Field(default=1e-4, ge=0.0)
    fused: float = Field(default=0.25, ge=0.0)
    top1: float = Field(default=0.0, ge=0.0, le=1.0)

    @property
    def requirements(self) -> Mapping[str, tuple[Capability, ...]]:
        """The top class is that of logits."""
        return {"top1": ("class_rows",)} if self.top1 else {}
