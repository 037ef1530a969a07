"""Nested settings of the export stage; imports no numpy, so that a recipe is read fast."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, NamedTuple

from pydantic import Field

from compress.core.frozen_model import FrozenModel
from compress.core.language import gettext
from compress.core.registry import entries

if TYPE_CHECKING:
    from compress.tasks.capability import Capability

Placement = Literal["outside", "graph", "both"]
"""Where the post-processing of a shipped network is: beside the file, part of it, or there is a file of each kind."""


class ExportTarget(NamedTuple):
    """A device to export for: name, runtime and release of the runtime, as in its profile."""

    name: str
    runtime: str
    release: str | None = None

    @property
    def family(self) -> str:
        """Runtime without execution provider."""
        return self.runtime.partition(":")[0]

    @property
    def format(self) -> str | None:
        """File format of the runtime; None if the registry has none."""
        rows = {row.name: row for row in entries("runner")}
        return rows[self.family].options.get("format") if self.family in rows else None


class DecoderExport(FrozenModel):
    """The file of a network that continues texts, or the decoder of one that writes responses.

    Attributes:
        cache: The file has past keys and values, so that a further token costs one token; without, each further token costs the
            whole text again. A runtime or network for which this is not known gets the file without.
        logits: `last` computes the logits of the last token alone, which shortens reading a prompt; `all` of all tokens. The
            decoder of an encoder-decoder, which reads no prompt, always computes those of all tokens that it is given.
        key_value: Numbers of the kept keys and values: `int8` takes a quarter and `int4` an eighth of the bytes of `float32`.
            Their scales are those of training texts. The record has the bytes, the agreement of the logits, and the time of a
            token in both.
    """

    cache: bool = True
    logits: Literal["last", "all"] = "last"
    key_value: Literal["float32", "int8", "int4"] = "float32"

    @property
    def cache_bits(self) -> Literal[4, 8] | None:
        """Bits of integer keys and values; None for float32."""
        return {"int8": 8, "int4": 4}.get(self.key_value)  # type: ignore[return-value]  # a dictionary of both


class Tolerance(FrozenModel):
    """Largest differences of outputs; export fails beyond them, and names the first node.

    Attributes:
        relative: For a float export b and torch a: max |a − b| ≤ absolute + relative · max |a|.
        absolute: See `relative`; in units of the outputs.
        fused: For fused (b) and unfused (a) int8 kernels of ONNX Runtime: max |a − b| ≤ fused · max |a|. For outputs with
            positions, such as maps: √Σ (a − b)² ≤ fused · √Σ a², because one rounding step moves an edge by a pixel.
        top1: Smallest fraction of samples with the same top class in int8 and float; 0 for no limit besides the budget.
    """

    relative: float = Field(default=1e-3, ge=0.0)
    absolute: float = Field(default=1e-4, ge=0.0)
    fused: float = Field(default=0.25, ge=0.0)
    top1: float = Field(default=0.0, ge=0.0, le=1.0)

    @property
    def limit(self) -> str:
        """The limit of float files, for the table of comparisons."""
        return gettext("{absolute:g} + {relative:g} × largest output", absolute=self.absolute, relative=self.relative)

    def limit_of_parts(self, *, is_float: bool) -> str:
        """The limit of the parts of a file against the whole one."""
        return self.limit if is_float else gettext("none: fused integer operators may round differently")

    @property
    def requirements(self) -> Mapping[str, tuple[Capability, ...]]:
        """Capabilities of the task that a limit needs: `top1` compares classes."""
        return {"top1": ("class_rows",)} if self.top1 else {}
