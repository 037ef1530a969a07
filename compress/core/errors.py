"""What can go wrong, as one tree.

    CompressError                 the caller's input or surroundings are at fault; shown without a traceback
    ├── RecipeError               the recipe; carries every fault found, each with its line
    ├── DataError                 a data set: missing, unreadable, empty class, wrong size
    ├── ModelError                a network or checkpoint: unknown, does not fit, cannot be traced
    ├── TrainingError             training cannot go on: not-a-number loss, nothing to train on
    ├── ConversionError           export, quantization or parity failed on this network
    ├── DeviceError               a device profile or a runtime: unknown, missing figure, out of reach
    ├── StoreError                the run directory: unwritable, full, damaged
    │   └── BusyError             another run holds it
    ├── TrustError                the input wants to run code and was not allowed to
    └── MissingPackageError       an optional package is not installed; the message holds the install line

Every message says what was given, what is allowed and what to do. Anything that is not a `CompressError` is our own bug
and keeps its traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass


class CompressError(Exception):
    """The base of all errors that a user can cause and mend."""


@dataclass(frozen=True)
class Fault:
    """One thing wrong with a recipe.

    Attributes:
        message: What was given, what is allowed, what to do.
        path: Key path inside the file, such as `stages[1].prune.target`.
        line: Line number, counted from 1; None when the fault has no place in the file.
    """

    message: str
    path: str = ""
    line: int | None = None

    def __str__(self) -> str:
        place = f"line {self.line}: " if self.line is not None else ""
        return f"{place}{self.path}: {self.message}" if self.path else f"{place}{self.message}"


class RecipeError(CompressError):
    """A recipe cannot be used. All its faults are reported at once.

    Args:
        origin: The file, or what stands for it.
        faults: Every fault found, in file order.
    """

    def __init__(self, origin: str, faults: Iterable[Fault]) -> None:
        self.origin = origin
        self.faults = tuple(faults)
        lines = "\n".join(f"  {fault}" for fault in self.faults)
        super().__init__(f"{origin}: {len(self.faults)} fault{'s' * (len(self.faults) != 1)}\n{lines}")


class DataError(CompressError):
    """A data set is missing, unreadable or unfit."""


class ModelError(CompressError):
    """A network or checkpoint is unknown, does not fit or cannot be traced."""


class TrainingError(CompressError):
    """Training cannot go on."""


class ConversionError(CompressError):
    """Export, quantization or the comparison after it failed."""


class DeviceError(CompressError):
    """A device profile or runtime is unknown, incomplete or out of reach."""


class StoreError(CompressError):
    """A run directory is unwritable, full or damaged."""


class BusyError(StoreError):
    """Another run holds the run directory."""


class TrustError(CompressError):
    """The input asks to run code of its own and `--trust-code` was not given."""


class MissingPackageError(CompressError):
    """An optional package is needed.

    Args:
        package: The package that could not be imported.
        extra: The extra of `compress` that brings it.
        purpose: What it is needed for.
    """

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(f"{purpose} needs the package {package!r}: pip install 'compress[{extra}]'")


def nearest(name: str, allowed: Iterable[str]) -> str:
    """Say what is allowed in place of `name`, the nearest name first: a sentence to end an error with."""
    names = sorted(allowed)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    hint = f"did you mean {close[0]!r}? " if close else ""
    listed = ", ".join(names) if len(names) <= 20 else f"{', '.join(names[:20])}, … ({len(names)} in all)"
    return f"{hint}allowed: {listed or 'nothing'}"
