"""Choice of the kinds of operators to replace: those that the recipe names, and those that `auto` selects by speed-up.

`auto` replaces a kind where the whole network without it is faster by `worth` or more. If the target is this machine, the
network is timed with each kind replaced, interleaved, and the lower end of the speed-up's interval must exceed 1. For other
targets the cost model estimates the speed-up. The decision is stored, so that a resumed stage decides alike.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError
from torch import nn

from compress.config.devices import Device, host
from compress.core.atomic_files import write_text
from compress.core.entries import Row, number_or_none, text
from compress.core.environment import is_main, world_size
from compress.core.errors import DeviceError
from compress.core.fact import Value
from compress.core.frozen_model import FrozenModel
from compress.core.language import gettext
from compress.core.network_spec import NetworkSpec
from compress.profile import compare_networks as stopwatch
from compress.profile.latency.timing import speedup
from compress.substitute import apply as replace
from compress.substitute.operator_kinds import AUTO, OPERATOR_KINDS
from compress.train.checkpoints import network_hash
from compress.train.distributed import accelerated, run_on_main

if TYPE_CHECKING:
    from compress.core.stage import Context
    from compress.substitute.find_operators import ReplaceableOperators
    from compress.substitute.stage import Substitute

FILE = "substitute-choices.json"
DECIDING_SECONDS = 0.5
"""Shortest timing on which a decision is based."""
BEFORE = "before"
_SHORTEST = 0.05
Rows = tuple[Row, ...]


class Decision(FrozenModel):
    """Decision about one kind.

    Attributes:
        kind: One of `OPERATOR_KINDS`.
        to: The new operator; empty if the kind stays.
        worth: Smallest fraction of the latency that `auto` replaces for; None if the recipe names the new operator.
        targets: Names of the devices that `auto` considered.
        speedups: Speed-up of the network without this kind, by target; None if unknown.
        details: Provenance of each speed-up, or the reason why it is unknown.
    """

    kind: str
    to: str
    worth: float | None = None
    targets: tuple[str, ...] = ()
    speedups: tuple[float | None, ...] = ()
    details: tuple[str, ...] = ()

    @property
    def gains(self) -> dict[str, Value]:
        """Values for a fact about a decision of `auto`; empty for a decision of the recipe."""
        if self.worth is None:
            return {}
        return {"worth": self.worth, "targets": self.targets, "speedups": self.speedups, "details": self.details}


class Decisions(FrozenModel):
    """All decisions of a stage.

    Attributes:
        key: Key of the stage's inputs.
        choices: One for each kind that the network has and the stage may replace, in the order of `OPERATOR_KINDS`.
        rows: Timings and estimates for `auto`: one row for each kind and target.
    """

    key: str
    choices: tuple[Decision, ...]
    rows: tuple[Row, ...] = ()


def decide(
    stage: Substitute, operators: ReplaceableOperators, network: nn.Module, spec: NetworkSpec, context: Context
) -> Decisions:
    """Decide for each kind that the network has."""
    key = _key(stage, network, context)
    known = _read(context.folder / FILE, key)
    if known is not None:
        return known
    successors = {kind: to for kind in OPERATOR_KINDS if kind in operators.places and (to := stage.successor(kind))}
    automatic = [kind for kind, to in successors.items() if to == "auto"]
    rows = (
        _from_first(context, lambda: tuple(_speedups(stage, operators, network, spec, context, automatic))) if automatic else ()
    )
    choices = tuple(
        _decide_by_speedup(kind, rows, stage.worth) if to == "auto" else Decision(kind=kind, to=to)
        for kind, to in successors.items()
    )
    decisions = Decisions(key=key, choices=choices, rows=rows)
    if is_main():
        write_text(context.folder / FILE, decisions.model_dump_json(indent=1))
    return decisions


def _from_first(context: Context, compute: Callable[[], Rows]) -> Rows:
    """Measure on the first process of a launch and send the rows to the others."""
    if world_size() == 1:
        return compute()
    with accelerated(context.device, "no") as accelerator:
        return run_on_main(accelerator, compute)


def _speedups(
    stage: Substitute,
    operators: ReplaceableOperators,
    network: nn.Module,
    spec: NetworkSpec,
    context: Context,
    kinds: Sequence[str],
) -> Iterator[dict[str, object]]:
    """A row for each kind and target."""
    variants = {kind: _variant(network, kind, operators) for kind in kinds}
    seconds = _SHORTEST if context.smoke else max(stage.timing_seconds, DECIDING_SECONDS)
    with stopwatch.exported({BEFORE: network, **variants}, spec) as files:
        for device in context.targets or (host(),):
            here = device.connection == "local"
            rows = _measure(files, spec, seconds) if here else _estimate(files, device)
            yield from ({"kind": kind, "target": device.name, **row} for kind, row in rows.items())


def _variant(network: nn.Module, kind: str, operators: ReplaceableOperators) -> nn.Module:
    """A copy for timing in which one kind is replaced."""
    module = copy.deepcopy(network)
    replace.replace_without_fit(module, kind, AUTO[kind], operators.places[kind])
    return module


def _measure(files: Mapping[str, Path], spec: NetworkSpec, seconds: float) -> dict[str, dict[str, object]]:
    timings = stopwatch.measure_interleaved(files, spec.signature, seconds=seconds)
    gains = {kind: speedup(timings[BEFORE], timing) for kind, timing in timings.items() if kind != BEFORE}
    return {
        kind: {"how": gain.how, "speedup": gain.value, "low": gain.low, "high": gain.high, "note": gain.detail}
        for kind, gain in gains.items()
    }


def _estimate(files: Mapping[str, Path], device: Device) -> dict[str, dict[str, object]]:
    kinds = [kind for kind in files if kind != BEFORE]
    row: dict[str, object] = {
        "how": "estimated",
        "speedup": None,
        "low": None,
        "high": None,
        "note": gettext("cost model, with and without"),
    }
    try:
        times = {name: stopwatch.estimated_file_ms(path, device) for name, path in files.items()}
    except DeviceError as error:
        note = gettext("neither this machine nor one that can be estimated: {error}", error=error)
        return {kind: row | {"how": "not measured", "note": note} for kind in kinds}
    return {kind: row | {"speedup": times[BEFORE] / times[kind]} for kind in kinds}


def _decide_by_speedup(kind: str, rows: Rows, worth: float) -> Decision:
    """Decision of `auto`: replace if at least one target gains."""
    own = [row for row in rows if row["kind"] == kind]
    speedups = [number_or_none(row, "speedup") or None for row in own]
    gains = any(
        speedup and (number_or_none(row, "low") or speedup) > 1 and 1 - 1 / speedup >= worth
        for row, speedup in zip(own, speedups, strict=True)
    )
    return Decision(
        kind=kind,
        to=AUTO[kind] if gains else "",
        worth=worth,
        targets=tuple(text(row, "target") for row in own),
        speedups=tuple(speedups),
        details=tuple(text(row, "how" if row["speedup"] else "note") for row in own),
    )


def _key(stage: Substitute, network: nn.Module, context: Context) -> str:
    text = [stage.model_dump_json(), str(context.seed), network_hash(network), *(device.name for device in context.targets)]
    return hashlib.sha256("\n".join(text).encode()).hexdigest()


def _read(path: Path, key: str) -> Decisions | None:
    try:
        decisions = Decisions.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValidationError):
        return None
    return decisions if decisions.key == key else None
