"""Rows of the registry, and their look-up by family and name."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from compress.core.errors import CompressError, nearest
from compress.core.language import gettext
from compress.core.trusted_code import load_function, load_module

GROUP = "compress.methods"
"""Entry point group in which other packages declare their methods."""
USER_CODE = "python:"
"""Prefix of a method in the user's code: `python:FILE.py:NAME`."""

FAMILIES: Mapping[str, str] = {
    "stage": "a step of the pipeline",
    "task": "loss and metrics of a modality",
    "data": "a source of data",
    "model": "a source of networks",
    "loss": "a term of a training loss",
    "teacher": "a source of target logits for a student",
    "text_writer": "who writes texts to prompts",
    "text_reward": "a reward of texts that a student writes",
    "text_filter": "a rule by which written texts are kept",
    "synthesis": "a method of dataset distillation",
    "text_augmentation": "a method that makes changed copies of training texts",
    "granularity": "what pruning removes",
    "importance": "a pruning criterion",
    "schedule": "a schedule of the removed fraction",
    "block_score": "the order in which blocks and layers are dropped",
    "expert_score": "the order in which experts are removed",
    "penalty": "a regularizer before the first pruning step",
    "merge": "a way to merge networks of one architecture",
    "expert_merge": "a way to merge the experts of a layer",
    "kernel": "initial weights of a shrunk depthwise convolution",
    "range": "an estimator of activation ranges",
    "rounding": "a rounding of weights to integers",
    "block_rounding": "a rounding of weights in blocks, with float activations",
    "bias_correction": "a bias correction for the rounding of weights",
    "format": "a file format of exported networks",
    "runner": "a runtime",
    "converter": "a conversion of ONNX files for a runtime that reads another format",
    "ptq_pass": "a pass of post-training quantization before Q/DQ nodes are placed",
    "power_sensor": "a source of power readings",
    "report_front": "a part of the first page of the report, in its order",
    "report_section": "a section of the report, in its order",
}
"""The families, with a description of their methods."""


@dataclass(frozen=True)
class Entry:
    """A row of the registry.

    Attributes:
        family: The kind of method, one of `FAMILIES`.
        name: Name in a recipe.
        target: `module:attribute`, imported on use.
        source: Paper, specification or library.
        options: Properties that validation needs without importing the method; a missing key is the default.
            All: capabilities of the task that it `requires`, where its class does not declare them.
            granularity: `measures` of a target that fit, largest `max_ratio`, `structured` if the network gets smaller, the
            field that it is `ranked_by` where this is not the importance;
            importance: `scores` (`channels`, `weights`; both by default), `loss_change`, `magnitude`;
            schedule: `parameters` of its own with defaults, `curve` it follows, `granularities` it needs, `single_step`,
            `exchanges` connections, `trains`; penalty: `structured`, `acts_on` (`weights` by default), `grows`, `picks`;
            rounding: `iterative`, `blockwise`; data: `argument` that follows the name, `kind` of the samples (`image` by
            default, `text`, `any`), `fields` of the `data:` block that it takes beside those of its kind;
            range: what the estimator `observes` (`histogram` by default, `extremes`, `normalized histogram`);
            runner: `format` of the file that it runs, `own_profile` if a device profile may have it as `runtime` and not only
            among its `runtimes`, `providers` if `:` and an execution provider may follow its name;
            converter (named like its runner): `ending` of the file that it writes, Python `package` that it needs, and the
            `extra` of `compress` that installs converter and runner.
    """

    family: str
    name: str
    target: str
    source: str
    options: Mapping[str, Any] = field(default_factory=dict, compare=False)

    def load(self) -> Any:
        """Import the target.

        Raises:
            CompressError: The row is from another package, and its target cannot be imported.
        """
        module, _, attribute = self.target.partition(":")
        try:
            return getattr(importlib.import_module(module), attribute)
        except Exception as error:
            if module.partition(".")[0] == "compress":
                raise
            msg = gettext(
                "{family} {name!r} of {source} cannot be loaded from {target}: {error}",
                family=self.family,
                name=self.name,
                source=self.source,
                target=self.target,
                error=error,
            )
            raise CompressError(msg) from error


class Registry:
    """Rows by family and name: built-in ones, those of installed packages, and those added later.

    Args:
        built_in: Built-in rows; other rows must have other names.
    """

    def __init__(self, built_in: tuple[Entry, ...]) -> None:
        self._rows: dict[tuple[str, str], Entry] = {}
        for entry in built_in:
            _check_family(entry.family)
            self._rows[entry.family, entry.name] = entry
        self._undescribed: set[tuple[str, str]] = set()
        self._packages_read = False

    def entries(self, family: str | None = None) -> tuple[Entry, ...]:
        """The rows of one family, or of all, in table order.

        Raises:
            CompressError: No such family.
        """
        if family is not None:
            _check_family(family)
        rows = self._all().values()
        return tuple(entry for name in FAMILIES if family in (None, name) for entry in rows if entry.family == name)

    def names(self, family: str) -> tuple[str, ...]:
        """The names of one family, in table order."""
        return tuple(entry.name for entry in self.entries(family))

    def lookup(self, family: str, name: str) -> Entry:
        """Find one row.

        Raises:
            CompressError: The name is unknown (the message has the nearest name), or the package of the row cannot be loaded.
        """
        entry = self._all().get((family, name))
        if entry is None:
            msg = gettext("unknown {family} {name!r}: {hint}", family=family, name=name, hint=nearest(name, self.names(family)))
            raise CompressError(msg)
        if (family, name) in self._undescribed:
            described = entry.load()
            if isinstance(described, Entry):
                entry = self._rows[family, name] = described
            self._undescribed.discard((family, name))
        return entry

    def named(self, name: str) -> tuple[Entry, ...]:
        """The rows of a family, else the rows of every family with this name.

        Raises:
            CompressError: There is neither; the message has the nearest name.
        """
        if name in FAMILIES:
            return self.entries(name)
        found = tuple(row for row in self.entries() if row.name == name)
        if not found:
            known = dict.fromkeys((*FAMILIES, *(row.name for row in self.entries())))
            msg = gettext("there is no family or method {name!r}: {hint}", name=name, hint=nearest(name, known))
            raise CompressError(msg)
        return found

    def add(self, entry: Entry) -> None:
        """Add one row.

        Raises:
            CompressError: No such family, or the name is taken.
        """
        _check_family(entry.family)
        if (entry.family, entry.name) in self._all():
            msg = gettext("{family} {name!r} already exists; choose another name", family=entry.family, name=entry.name)
            raise CompressError(msg)
        self._rows[entry.family, entry.name] = entry

    def add_user_code(self, family: str, name: str, base: Path, *, trust_code: bool) -> None:
        """Add the method `python:FILE.py:NAME`. An existing row of this name is replaced, since the file may have changed.

        Args:
            family: Family of the method.
            name: Name in the recipe.
            base: Folder for a relative FILE.
            trust_code: Whether the code may run.

        Raises:
            CompressError: The code may not run, or cannot be imported; see `load_function`.
        """
        reference = name.removeprefix(USER_CODE)
        load_function(reference, base, trust_code)
        target = f"{load_module(reference, base, trust_code).__name__}:{reference.rpartition(':')[2]}"
        self._all()
        self._rows[family, name] = Entry(family, name, target, "the user's own code")

    @contextmanager
    def temporary(self, *entries: Entry) -> Iterator[None]:
        """Add rows while the block runs."""
        before = dict(self._all())
        try:
            for entry in entries:
                self.add(entry)
            yield
        finally:
            self._rows = before

    def _all(self) -> Mapping[tuple[str, str], Entry]:
        if not self._packages_read:
            self._packages_read = True
            for point in entry_points(group=GROUP):
                self._add_package(point)
        return self._rows

    def _add_package(self, point: EntryPoint) -> None:
        family, _, name = point.name.partition(".")
        package = f"{point.dist.name} {point.dist.version}" if point.dist else point.value
        try:
            self.add(Entry(family, name, point.value, f"package {package}"))
        except CompressError as error:
            ignored = gettext(
                "entry point {name!r} of {package} is ignored: {error}", name=point.name, package=package, error=error
            )
            warnings.warn(ignored, stacklevel=2)
        else:
            self._undescribed.add((family, name))


def _check_family(family: str) -> None:
    if family not in FAMILIES:
        msg = gettext("unknown family {family!r}: {hint}", family=family, hint=nearest(family, FAMILIES))
        raise CompressError(msg)
