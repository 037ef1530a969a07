"""Mixed precision in the stage: which of the two searches, on what it is measured, and what the record says of it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from compress.backends import onnx_graph as graphs
from compress.backends.open import open_runner
from compress.core.errors import ConversionError
from compress.core.record import InputSpec
from compress.core.stage import Context
from compress.profile.compare_networks import median_ms
from compress.profile.latency.timing import time_runners
from compress.quantize.mixed_precision import fewest_float_layers as mixed
from compress.quantize.mixed_precision import under_budget as within
from compress.quantize.mixed_precision.trial import FAMILY, TrialBuilder
from compress.quantize.settings import MixedPrecisionSettings
from compress.quantize.static_int8 import StaticInt8Plan
from compress.quantize.target_requirements import MODEL_FILES, here, latency_unavailable

if TYPE_CHECKING:
    from compress.profile.latency.timing import Timing

Keep = Callable[[tuple[str, ...]], None]
TURN_S, LONG_S = 0.1, 0.5
"""Counted time of a network while searching, and of the one that is kept."""


@dataclass(frozen=True)
class MixedPrecisionResult:
    """What the search gives the stage.

    Attributes:
        floats: Layers that stay in float.
        note: The outcome in a sentence.
        rows: One a layer, for the record.
        holds: Whether the budget does.
    """

    floats: tuple[str, ...]
    note: str
    rows: tuple[dict[str, Any], ...]
    holds: bool


def search_mixed_precision(
    settings: MixedPrecisionSettings, static: StaticInt8Plan, excluded: tuple[str, ...], spec: InputSpec, context: Context
) -> MixedPrecisionResult:
    """Search; the best network so far is always in the stage's folder.

    Args:
        settings: The budget.
        static: What networks are made from.
        excluded: Names that stay in float in any case.
        spec: For the file's description.
        context: Data, task, folder, targets.

    Raises:
        ConversionError: A latency is asked for and no target is this machine.
    """
    attempts = TrialBuilder(static, excluded, spec, context)
    best = context.folder / MODEL_FILES["onnxruntime"]

    def keep(floats: tuple[str, ...]) -> None:
        graphs.save(attempts.build(floats), best)

    if settings.drop is not None:
        return _fewest(settings, settings.drop, attempts, keep, context)
    if settings.max_bytes is not None:
        asked = f"the budget of {settings.max_bytes:,.0f} bytes"
        found = within.search(
            attempts.layers, attempts.attempt, attempts.size_bytes, budget=settings.max_bytes, seconds=settings.seconds,
            keep=keep, reporter=context.reporter,
        )  # fmt: skip
        return _most(found, attempts, settings, "bytes", f"{found.cost:,.0f} bytes, {asked}")
    with TemporaryDirectory() as folder:
        return _within_time(settings, attempts, keep, LatencyTrial(attempts, context, Path(folder)), context)


def _within_time(
    settings: MixedPrecisionSettings, attempts: TrialBuilder, keep: Keep, clock: LatencyTrial, context: Context
) -> MixedPrecisionResult:
    """The search under a latency; what it ends with is timed again for longer, and gives layers up until that holds as well."""
    budget = settings.latency_ms
    assert budget is not None  # noqa: S101  # one of the three is given
    found = within.search(
        attempts.layers, attempts.attempt, clock.latency_ms, budget=budget, seconds=settings.seconds,
        keep=keep, reporter=context.reporter,
    )  # fmt: skip
    took = clock.again(found.floats)
    ranked = [one.layer for one in found.worths]
    while found.holds and found.floats and took > budget:
        least = max(found.floats, key=ranked.index)
        floats = tuple(name for name in found.floats if name != least)
        keep(floats)
        took = clock.again(floats)
        found = replace(found, floats=floats, drop=attempts.attempt(floats)[0], cost=took)
    found = replace(found, holds=found.holds and took <= budget)
    return _most(found, attempts, settings, "ms", f"{took:.3g} ms measured at the end, the budget of {budget:g} ms")


def _fewest(
    settings: MixedPrecisionSettings, drop: float, attempts: TrialBuilder, keep: Keep, context: Context
) -> MixedPrecisionResult:
    found = mixed.search(
        attempts.layers, attempts.attempt, budget=drop, seconds=settings.seconds, keep=keep, reporter=context.reporter
    )  # fmt: skip
    rows = tuple({"layer": one.layer, "drop": one.drop, "sqnr_db": one.sqnr_db} for one in found.sensitivities)
    kept = f"drop {found.drop:.4f}, the budget of {drop:g}"
    return MixedPrecisionResult(found.floats, _note(found, attempts, settings, kept), rows, found.holds)


def _most(
    found: within.BudgetResult, attempts: TrialBuilder, settings: MixedPrecisionSettings, unit: str, kept: str
) -> MixedPrecisionResult:
    rows = tuple(
        {"layer": one.layer, "drop_saved": one.drop, "noise_saved": one.noise, f"{unit}_more": one.cost}
        for one in found.worths
    )  # fmt: skip
    return MixedPrecisionResult(
        found.floats, _note(found, attempts, settings, f"drop {found.drop:.4f}, {kept}"), rows, found.holds
    )


def _note(
    found: mixed.FewestFloatResult | within.BudgetResult, attempts: TrialBuilder, settings: MixedPrecisionSettings, kept: str
) -> str:
    held = "holds" if found.holds else "does not hold, this is the best found"
    cut = "" if found.complete else f"; the search ended after {settings.seconds:g} s"
    names = ", ".join(found.floats) or "none"
    return (
        f"mixed precision: {len(found.floats)} of {len(attempts.layers)} layers in float ({names}), {kept} {held}; "
        f"{found.tried} networks tried{cut}"
    )


class LatencyTrial:
    """Times networks in ONNX Runtime on this machine, each in turns with the one that has nothing in float.

    A machine's speed drifts by more than a layer costs, so what counts is the ratio to that network, times what it took at the
    start.

    Args:
        attempts: Makes them.
        context: Data and targets.
        folder: For their files.

    Raises:
        ConversionError: No target is this machine.
    """

    def __init__(self, attempts: TrialBuilder, context: Context, folder: Path) -> None:
        device = here(context.targets)
        if device is None:
            raise ConversionError(latency_unavailable(context.targets))
        self.attempts, self.device, self.folder = attempts, device, folder
        self.files: dict[str, tuple[str, ...]] = {}
        self.inputs = next(iter(context.data.validation.ordered(device.contract.batch))).inputs.numpy()
        self.base: float | None = None

    def latency_ms(self, floats: tuple[str, ...]) -> float:
        """Median latency, drift taken out."""
        if self.base is None:
            self.base = median_ms(self.timed({"base": ()}, LONG_S)["base"])
        if not floats:
            return self.base
        both = self.timed({"this": floats, "base": ()}, TURN_S)
        return self.base * median_ms(both["this"]) / median_ms(both["base"])

    def again(self, floats: tuple[str, ...]) -> float:
        """Median latency as it is now, measured for longer."""
        return median_ms(self.timed({"this": floats}, LONG_S)["this"])

    def timed(self, networks: dict[str, tuple[str, ...]], seconds: float) -> dict[str, Timing]:
        """Networks by name, in turns."""
        with ExitStack() as stack:
            files = {name: self._file(name, floats) for name, floats in networks.items()}
            opened = {name: open_runner(FAMILY, path, threads=self.device.threads) for name, path in files.items()}
            runners = {name: stack.enter_context(runner) for name, runner in opened.items()}
            feeds = {name: {graphs.INPUT: self.inputs} for name in runners}
            return time_runners(
                runners, feeds, batch=len(self.inputs), seconds=seconds, warmup_seconds=seconds / 5, min_runs=10
            )

    def _file(self, name: str, floats: tuple[str, ...]) -> Path:
        """Where a network stands; written where it is another than before."""
        path = self.folder / f"{name}.onnx"
        if self.files.get(name) != floats:
            graphs.save(self.attempts.build(floats), path)
            self.files[name] = floats
        return path
