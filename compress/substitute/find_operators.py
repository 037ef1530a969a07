"""Search for replaceable operators of a network, and the reasons why others stay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor, nn

from compress.core.fact import Fact
from compress.substitute import activations, depthwise, squeeze_excite, trace_calls
from compress.substitute.operator_kinds import DEPTHWISE, OPERATOR_KINDS, SQUEEZE_EXCITE
from compress.train.module_globs import match_modules

if TYPE_CHECKING:
    from compress.substitute.stage import Substitute


@dataclass(frozen=True, eq=False)
class ReplaceableOperators:
    """Operators by kind.

    Attributes:
        places: Names of modules, or of attributes that hold a function, for each kind that the network has.
        absorb_targets: The layer that absorbs the mean of each gate.
        skipped: Operators that stay although the stage replaces their kind, with the reason.
    """

    places: dict[str, tuple[str, ...]]
    absorb_targets: dict[str, squeeze_excite.AbsorbTarget]
    skipped: tuple[Fact, ...]


def find_replaceable(stage: Substitute, network: nn.Module, inputs: Tensor) -> ReplaceableOperators:
    """Find all operators that the stage may replace.

    Args:
        stage: Settings.
        network: In eval mode; not changed.
        inputs: Two images.

    Raises:
        ModelError: The network cannot be traced, or a glob of `protect` matches nothing.
    """
    protected = match_modules(network, stage.protect)
    trace = trace_calls.trace(network, inputs)
    attribute_kinds, irreplaceable = activations.activation_functions(network, trace)
    kinds = activations.activation_modules(network) | attribute_kinds
    kinds |= dict.fromkeys(squeeze_excite.find_gates(network, trace), SQUEEZE_EXCITE)
    large = depthwise.find_large(network, trace)
    reasons = {name: reason for name, reason in large.items() if reason}
    kinds |= dict.fromkeys((name for name in large if name not in reasons), DEPTHWISE)
    reasons |= {name: Fact.of("substitute.protected", name) for name in kinds if _is_in(name, protected)}
    replaced_kinds = {kind for kind in OPERATOR_KINDS if stage.successor(kind)}
    skipped = [reason for name, reason in reasons.items() if kinds.get(name, DEPTHWISE) in replaced_kinds]
    skipped += [reason for (_, kind), reason in irreplaceable.items() if kind in replaced_kinds]
    places = _group_by_kind({name: kind for name, kind in kinds.items() if name not in reasons})
    absorb_targets = {name: squeeze_excite.find_absorb_target(network, trace, name) for name in places.get(SQUEEZE_EXCITE, ())}
    return ReplaceableOperators(places, absorb_targets, tuple(skipped))


def _is_in(name: str, modules: frozenset[str]) -> bool:
    return name in modules or name.rpartition(".")[0] in modules


def _group_by_kind(kinds: dict[str, str]) -> dict[str, tuple[str, ...]]:
    groups = {kind: tuple(name for name, other in kinds.items() if other == kind) for kind in OPERATOR_KINDS}
    return {kind: names for kind, names in groups.items() if names}


def outside(names: Sequence[str], modules: Sequence[str]) -> tuple[str, ...]:
    """Names that are not inside one of these modules."""
    return tuple(name for name in names if not any(name.startswith(f"{module}.") for module in modules))
