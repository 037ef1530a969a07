"""What of a network can be replaced, and what cannot, with reasons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor, nn

from compress.core.record import Fact
from compress.models.module_globs import match_modules
from compress.substitute import activations, depthwise, squeeze_excite, trace_calls
from compress.substitute.operator_kinds import DEPTHWISE, OPERATOR_KINDS, SQUEEZE_EXCITE

if TYPE_CHECKING:
    from compress.substitute.stage import Substitute


@dataclass(frozen=True, eq=False)
class ReplaceableOperators:
    """Places by kind.

    Attributes:
        places: Names of modules, or of attributes that hold a function, for each kind that the network has.
        absorb_targets: Where the mean of each gate goes.
        skipped: Places of kinds that the stage replaces and that stay, with the reason.
    """

    places: dict[str, tuple[str, ...]]
    absorb_targets: dict[str, squeeze_excite.AbsorbTarget]
    skipped: tuple[Fact, ...]


def find_replaceable(stage: Substitute, network: nn.Module, inputs: Tensor) -> ReplaceableOperators:
    """Find everything that the stage may replace.

    Args:
        stage: Its settings.
        network: In eval mode; left as it was.
        inputs: Two images.

    Raises:
        ModelError: The network cannot be followed, or a glob of `protect` matches nothing.
    """
    kept = match_modules(network, stage.protect)
    trace = trace_calls.trace(network, inputs)
    held, written = activations.activation_functions(network, trace)
    by_place = activations.activation_modules(network) | held
    by_place |= dict.fromkeys(squeeze_excite.find_gates(network, trace), SQUEEZE_EXCITE)
    large = depthwise.find_large(network, trace)
    reasons = {name: reason for name, reason in large.items() if reason}
    by_place |= dict.fromkeys((name for name in large if name not in reasons), DEPTHWISE)
    reasons |= {name: Fact.of("substitute.protected", name) for name in by_place if _is_in(name, kept)}
    asked = {kind for kind in OPERATOR_KINDS if stage.asked(kind)}
    skipped = [reason for name, reason in reasons.items() if by_place.get(name, DEPTHWISE) in asked]
    skipped += [reason for (_, kind), reason in written.items() if kind in asked]
    left = {name: kind for name, kind in by_place.items() if name not in reasons}
    places = _grouped(left)
    absorb_targets = {name: squeeze_excite.find_absorb_target(network, trace, name) for name in places.get(SQUEEZE_EXCITE, ())}
    return ReplaceableOperators(places, absorb_targets, tuple(skipped))


def _is_in(name: str, kept: frozenset[str]) -> bool:
    return name in kept or name.rpartition(".")[0] in kept


def _grouped(by_place: dict[str, str]) -> dict[str, tuple[str, ...]]:
    found = {kind: tuple(name for name, one in by_place.items() if one == kind) for kind in OPERATOR_KINDS}
    return {kind: names for kind, names in found.items() if names}


def outside(names: Sequence[str], gone: Sequence[str]) -> tuple[str, ...]:
    """Names that are not inside one of those gone."""
    return tuple(name for name in names if not any(name.startswith(f"{other}.") for other in gone))
