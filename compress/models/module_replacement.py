"""Replacement of parts of a network by parts of a closed list, in a form that a checkpoint can store.

A stage may replace a part by a simpler one: HardSwish by ReLU, a squeeze-excite gate by the identity. A place is the
name of a submodule, or of an attribute with an activation function (`activation` of torch's transformer layers). The
replacement is one of `PARTS`, a feed-forward network in place of a mixture of experts, or a rotated layer in place of a decoder
layer; or the last experts of a mixture are absent. A file cannot name others, and contains no code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal, get_args

from torch import Tensor, nn
from torch.nn import functional as F

from compress.core.language import gettext
from compress.models.text.experts import FeedForward, MixtureOfExperts, mixtures
from compress.models.text.rotated_layer import is_rotated, parts_of, rotated

ReplaceablePart = Literal["identity", "relu", "relu6", "feed_forward", "rotated_layer", "absent"]
PARTS: Mapping[ReplaceablePart, type[nn.Module]] = {"identity": nn.Identity, "relu": nn.ReLU, "relu6": nn.ReLU6}
FEED_FORWARD: ReplaceablePart = "feed_forward"
ROTATED: ReplaceablePart = "rotated_layer"
ABSENT: ReplaceablePart = "absent"
"""In place of an expert of a mixture that has fewer of them."""
FUNCTIONS: Mapping[ReplaceablePart, Callable[[Tensor], Tensor]] = {"relu": F.relu, "relu6": F.relu6}
REPLACEABLE: tuple[object, ...] = (F.hardswish, F.silu, F.gelu, *FUNCTIONS.values())
"""Functions that `FUNCTIONS` may replace in an attribute."""
_FUSED = "activation_relu_or_gelu"
"""Code of the activation for the fused kernel of torch's transformer layers: 1 ReLU, 2 GELU, 0 any other."""


def part_named(name: str) -> ReplaceablePart:
    """The part of this name.

    Raises:
        ValueError: There is none; the message lists them.
    """
    for part in PARTS:
        if part == name:
            return part
    msg = gettext("there is no part {name!r} to put in another's place; there are {parts}", name=name, parts=", ".join(PARTS))
    raise ValueError(msg)


def set_submodule(module: nn.Module, parts: Mapping[str, ReplaceablePart]) -> None:
    """Set parts at their places, in place. A module at several places is replaced by one module at all of them.

    Args:
        module: The network.
        parts: Parts by place.

    Raises:
        KeyError: The place does not exist, or cannot have the part.
    """
    _remove_experts(module, [name for name, part in parts.items() if part == ABSENT])
    replacements: dict[int, nn.Module] = {}
    for name, part in parts.items():
        if part == ABSENT:
            continue
        owner_name, _, leaf = name.rpartition(".")
        owner = _owner(module, owner_name, name)
        before = getattr(owner, leaf, None)
        if isinstance(before, nn.Module) and _can_replace(part, before):
            setattr(owner, leaf, replacements.setdefault(id(before), _new(part, before)))
        elif part in FUNCTIONS and _is_function(before):
            setattr(owner, leaf, FUNCTIONS[part])
        else:
            raise KeyError(name)
        if leaf == "activation" and hasattr(owner, _FUSED):
            setattr(owner, _FUSED, int(part == "relu"))


def _can_replace(part: ReplaceablePart, before: nn.Module) -> bool:
    if part == ROTATED:
        return parts_of(before) is not None
    return part != FEED_FORWARD or isinstance(before, MixtureOfExperts)


def find_replaceable(module: nn.Module, reference: nn.Module) -> dict[str, ReplaceablePart]:
    """The replacements in `module` by place; apart from them both networks have the same structure."""
    replaced = {name: part for name, part, before in _pairs(module, reference) if (part is not None and before != part)}
    # the inside of a replacement is not compared, except for that of a rotated layer, which has the parts of the old one
    closed = [name for name, part in replaced.items() if part != ROTATED]
    outer = {name: part for name, part in replaced.items() if not any(name.startswith(f"{other}.") for other in closed)}
    return outer | dict.fromkeys(_absent_experts(module, reference), ABSENT)


def _absent_experts(module: nn.Module, reference: nn.Module) -> Iterator[str]:
    """Places of the experts of the reference beyond the number of experts of a mixture."""
    before = mixtures(reference)
    for name, part in mixtures(module).items():
        count = len(before[name].experts) if name in before else 0
        yield from (f"{name}.experts.{index}" for index in range(len(part.experts), count))


def _remove_experts(module: nn.Module, names: Sequence[str]) -> None:
    """Remove the last experts of mixtures, in place.

    Raises:
        KeyError: A place is none of the last experts of a mixture.
    """
    remaining = set(names)
    for name, part in mixtures(module).items():
        while (last := f"{name}.experts.{len(part.experts) - 1}") in remaining:
            del part.experts[-1]
            remaining.remove(last)
    if remaining:
        raise KeyError(min(remaining))


def _pairs(module: nn.Module, reference: nn.Module) -> Iterator[tuple[str, ReplaceablePart | None, ReplaceablePart | None]]:
    """(name, current part, reference part) of every place that both have."""
    before = dict(reference.named_modules(remove_duplicate=False))
    for name, part in module.named_modules(remove_duplicate=False):
        other = before.get(name)
        if other is None:
            continue
        if name and type(part) is not type(other):
            yield name, _kind(part), _kind(other)
        for key, value in vars(other).items():
            own = vars(part).get(key)
            if _is_function(value) and own is not value:
                yield f"{name}.{key}".lstrip("."), _function(own), _function(value)


def _kind(part: nn.Module) -> ReplaceablePart | None:
    if type(part) is FeedForward:
        return FEED_FORWARD
    if is_rotated(part):
        return ROTATED
    return next((name for name, kind in PARTS.items() if type(part) is kind), None)


def _function(value: object) -> ReplaceablePart | None:
    return next((name for name, function in FUNCTIONS.items() if value is function), None)


def _is_function(value: object) -> bool:
    return any(value is function for function in REPLACEABLE)


def _new(part: ReplaceablePart, before: nn.Module) -> nn.Module:
    if isinstance(before, MixtureOfExperts) and part == FEED_FORWARD:
        return before.dense()
    if part == ROTATED:
        return rotated(before)
    replacement = PARTS[part]()
    replacement.training = before.training
    if part != "identity":
        replacement.inplace = bool(getattr(before, "inplace", False))  # type: ignore[assignment]
    return replacement


def _owner(module: nn.Module, owner: str, name: str) -> nn.Module:
    try:
        return module.get_submodule(owner)
    except AttributeError as error:
        raise KeyError(name) from error


assert set(get_args(ReplaceablePart)) == {*PARTS, FEED_FORWARD, ROTATED, ABSENT}  # noqa: S101  # one list, written twice for the type checker
