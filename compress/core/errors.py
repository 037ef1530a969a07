"""Errors, as one tree.

    CompressError                 an error of the input or the environment; shown without a traceback
    ├── RecipeError               a recipe, with all its faults and their lines
    ├── DataError                 a data set: missing, unreadable, empty class, wrong size
    ├── ModelError                a network or checkpoint: unknown, does not fit, cannot be traced
    │   └── SignatureError        named inputs and outputs: unknown axis, no size, several inputs where one is needed
    ├── TrainingError             training cannot continue: loss not finite, no training samples
    ├── ConversionError           export, quantization or comparison failed for this network
    │   └── MissingOperatorError  a converter or runtime lacks operators of it
    ├── DeviceError               a device profile or a runtime: unknown, incomplete, unreachable
    ├── OutOfMemoryError          an allocation failed in a stage or command
    ├── SearchError               a search: no trial within the budget, an objective that nothing measured
    ├── StoreError                the run directory: unwritable, full, damaged
    │   └── BusyError             another run has locked it
    ├── TrustError                the input would run code, which is not allowed
    └── MissingPackageError       an optional package is not installed; the message has the install command

Every message says what was given, what is allowed and what to do. Any other exception is a bug in `compress`
and keeps its traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

from compress.core.language import gettext, ngettext

LONGEST_MESSAGE = 20_000
"""Largest length of a message, in characters; it may quote names or values of any length."""


class CompressError(Exception):
    """Base of all errors that a user can cause and correct.

    Args:
        message: What was given, what is allowed, what to do; the middle of a very long message is omitted.
    """

    def __init__(self, message: str = "") -> None:
        half = LONGEST_MESSAGE // 2
        super().__init__(message if len(message) <= LONGEST_MESSAGE else f"{message[:half]} … {message[-half:]}")


@dataclass(frozen=True)
class ValidationIssue:
    """A fault of a recipe.

    Attributes:
        message: What was given, what is allowed, what to do.
        path: Key path inside the file, such as `stages[1].prune.target`.
        line: Line number, counted from 1; None if the fault has no line.
    """

    message: str
    path: str = ""
    line: int | None = None

    def __str__(self) -> str:
        place = gettext("line {line}: ", line=self.line) if self.line is not None else ""
        return f"{place}{self.path}: {self.message}" if self.path else f"{place}{self.message}"


class RecipeError(CompressError):
    """A recipe cannot be used; all its faults are reported.

    Args:
        origin: The file, or a name for the recipe.
        issues: All issues, in file order.
    """

    def __init__(self, origin: str, issues: Iterable[ValidationIssue]) -> None:
        self.origin = origin
        self.issues = tuple(issues)
        lines = "\n".join(f"  {issue}" for issue in self.issues)
        count = ngettext("{number} fault", "{number} faults", len(self.issues))
        super().__init__(f"{origin}: {count}\n{lines}")


class DataError(CompressError):
    """A data set is missing, unreadable or unsuitable."""


class ModelError(CompressError):
    """A network or checkpoint is unknown, does not fit or cannot be traced."""


class SignatureError(ModelError):
    """Inputs or outputs of a network do not fit what is done with it."""


class TrainingError(CompressError):
    """Training cannot continue."""


class ConversionError(CompressError):
    """Export, quantization or the comparison after it failed."""


class MissingOperatorError(ConversionError):
    """A converter or runtime lacks operators of a network.

    Args:
        message: What was not converted or run, and why.
        operators: Names of the operators.
    """

    def __init__(self, message: str, operators: Iterable[str]) -> None:
        super().__init__(message)
        self.operators = tuple(operators)


class DeviceError(CompressError):
    """A device profile or runtime is unknown, incomplete or unreachable."""


class OutOfMemoryError(CompressError):
    """An allocation failed, on the CPU or the GPU."""


class SearchError(CompressError):
    """A search has no answer, or a trial has none."""


class StoreError(CompressError):
    """A run directory is unwritable, full or damaged."""


class BusyError(StoreError):
    """Another run has locked the run directory."""


class TrustError(CompressError):
    """The input would run its own code, and `--trust-code` is not set."""


class MissingPackageError(CompressError):
    """An optional package is needed.

    Args:
        package: The package that cannot be imported.
        extra: The extra of `compress` that installs it.
        purpose: The setting or function that needs it.
    """

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            gettext(
                "{purpose} needs the package {package!r}: pip install 'compress[{extra}]'",
                purpose=purpose,
                package=package,
                extra=extra,
            )
        )


def nearest(name: str, allowed: Iterable[str]) -> str:
    """End of an error message: the name nearest to `name`, and the allowed names."""
    names = sorted(allowed)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    hint = gettext("did you mean {name!r}? ", name=close[0]) if close else ""
    listed = (
        ", ".join(names)
        if len(names) <= 20
        else gettext("{names}, … ({count} in all)", names=", ".join(names[:20]), count=len(names))
    )
    return gettext("{hint}allowed: {listed}", hint=hint, listed=listed or gettext("nothing"))


def message_line(error: BaseException) -> str:
    """First line of the message of an error; the name of its type without a message."""
    message = str(error).strip()
    return message.splitlines()[0] if message else type(error).__name__
