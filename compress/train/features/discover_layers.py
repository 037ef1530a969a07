"""Which layers of a network a loss may look at, found by running it once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from compress.backends.eval_mode import eval_mode
from compress.core.errors import ModelError, nearest
from compress.train.features.hooks import Tap, attends, tapped, tensor_of
from compress.train.loss_term import Sight

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Spot:
    """A place to tap.

    Attributes:
        tap: How to read it.
        shape: What it gives for one sample.
    """

    tap: Tap
    shape: Shape


class Survey:
    """One network, looked over.

    Attributes:
        who: `student` or `teacher`, for errors.
        layers: Every layer that gives a tensor, in the order in which they finish.
        answer: Shape of the network's own output for one sample.
    """

    answer: Shape = ()

    def __init__(self, module: nn.Module, inputs: Tensor, who: str) -> None:
        self.module, self.who, self._inputs = module, who, inputs
        self.layers = self._run()

    def listed(self, sight: Sight) -> tuple[Spot, ...]:
        """The places of one kind, in order: what numbers count and what `auto` chooses from.

        maps         the last layer of each resolution; in a transformer, its blocks
        attention    the attention layers
        vector       what the head is given
        embedding    the layer that embeds words or patches
        """
        if sight == "attention":
            return self._attention
        if sight == "vector":
            return self._head
        if sight == "embedding":
            return self._embedding
        return self._blocks or self._resolutions

    def find(self, which: str | int, sight: Sight) -> Spot:
        """The place that a recipe names.

        Raises:
            ModelError: There is no such layer, or it gives nothing to look at.
        """
        listed = self.listed(sight)
        if isinstance(which, int):
            if not -len(listed) <= which < len(listed):
                names = ", ".join(spot.tap.name for spot in listed) or "none"
                msg = f"the {self.who} has no layer number {which} to look at for {sight}; it has {len(listed)}: {names}"
                raise ModelError(msg)
            return listed[which]
        allowed = {spot.tap.name: spot for spot in listed} if sight == "attention" else self.layers
        if which not in allowed:
            msg = f"the {self.who} has no layer {which!r} to look at for {sight}: {nearest(which, allowed)}"
            raise ModelError(msg)
        return allowed[which]

    def _run(self) -> dict[str, Spot]:
        given: dict[str, tuple[Tensor, int]] = {}
        names = {layer: name for name, layer in self.module.named_modules() if name}

        def note(layer: nn.Module, _: Any, output: Any) -> None:
            tensor = tensor_of(output)
            if tensor is not None and tensor.ndim > 1 and len(tensor) == len(self._inputs):
                given.pop(names[layer], None)
                given[names[layer]] = (tensor, tensor._version)

        handles = [layer.register_forward_hook(note) for layer in names]
        try:
            with eval_mode(self.module), torch.no_grad():
                self.answer = tuple(self.module(self._inputs).shape[1:])
        finally:
            for handle in handles:
                handle.remove()
        return {
            name: Spot(Tap(name, copied=tensor._version != version), tuple(tensor.shape[1:]))
            for name, (tensor, version) in given.items()
        }

    @cached_property
    def _resolutions(self) -> tuple[Spot, ...]:
        """Of each resolution the outermost layer, of these the last: blocks rather than what is inside them."""
        height, width = self._inputs.shape[-2:] if self._inputs.ndim == 4 else (0, 0)
        best: dict[Shape, Spot] = {}
        for spot in self.layers.values():
            if len(spot.shape) != 3 or spot.shape[1:] == (1, 1):
                continue
            _, h, w = spot.shape
            if abs(h * width - w * height) > max(height, width):
                continue  # channels stand last, as inside ConvNeXt's blocks
            rival = best.get((h, w))
            if rival is None or _depth(spot) <= _depth(rival):
                best[h, w] = spot
        return tuple(best[size] for size in sorted(best, key=lambda size: -size[0] * size[1]))

    @cached_property
    def _attending(self) -> tuple[str, ...]:
        return tuple(name for name, layer in self.module.named_modules() if attends(layer))

    @cached_property
    def _attention(self) -> tuple[Spot, ...]:
        taps = [Tap(name, "attention") for name in self._attending]
        if not taps:
            return ()
        with eval_mode(self.module), torch.no_grad(), tapped(self.module, taps) as seen:
            self.module(self._inputs)
        return tuple(Spot(tap, tuple(seen[tap].shape[1:])) for tap in taps if tap in seen)

    @cached_property
    def _blocks(self) -> tuple[Spot, ...]:
        """The innermost layer around each attention layer that gives tokens (L, D)."""
        found: dict[str, Spot] = {}
        for name in self._attending:
            parts = name.split(".")
            around = (".".join(parts[:end]) for end in range(len(parts) - 1, 0, -1))
            block = next(
                (self.layers[each] for each in around if each in self.layers and len(self.layers[each].shape) == 2), None
            )
            if block is not None:
                found[block.tap.name] = block
        return tuple(found.values())

    @cached_property
    def _head(self) -> tuple[Spot, ...]:
        """What the last fully connected layer is given."""
        linear = [name for name in self.layers if isinstance(self.module.get_submodule(name), nn.Linear)]
        if not linear:
            return ()
        tap = Tap(linear[-1], "input")
        with eval_mode(self.module), torch.no_grad(), tapped(self.module, [tap]) as seen:
            self.module(self._inputs)
        return (Spot(tap, tuple(seen[tap].shape[1:])),)

    @cached_property
    def _embedding(self) -> tuple[Spot, ...]:
        """The first embedding of words, or in a transformer the convolution that cuts patches."""
        for name, spot in self.layers.items():
            layer = self.module.get_submodule(name)
            patches = isinstance(layer, nn.Conv2d) and layer.kernel_size == layer.stride and bool(self._attending)
            if isinstance(layer, nn.Embedding) or patches:
                return (spot,)
        return ()


def spread(students: Sequence[Spot], teachers: Sequence[Spot]) -> list[tuple[Spot, Spot]]:
    """Pairs by depth: place i of n learns from the one that ends at the same fraction of the teacher, the last from the last.

    Of a student with more places than the teacher the last ones take part.
    """
    count = min(len(students), len(teachers))
    chosen = students[len(students) - count :]
    return [(spot, teachers[-(-(i + 1) * len(teachers) // count) - 1]) for i, spot in enumerate(chosen)]


def matched(student: Survey, teacher: Survey, sight: Sight) -> list[tuple[Spot, Spot]]:
    """Pairs found without being told: maps by resolution where both share some, all else by depth.

    Raises:
        ModelError: Nothing in the two networks goes together.
    """
    own, theirs = student.listed(sight), teacher.listed(sight)
    for survey, spots in ((student, own), (teacher, theirs)):
        if not spots:
            raise ModelError(_nothing(survey, sight))
    if len(own[0].shape) != len(theirs[0].shape) and sight == "maps":
        found = f"the student's {own[0].tap.name} gives {own[0].shape}, the teacher's {theirs[0].tap.name} {theirs[0].shape}"
        msg = f"layers cannot be matched by themselves: {found}; name layers that fit, or use rkd_distance, which needs none"
        raise ModelError(msg)
    if sight == "maps" and len(own[0].shape) == 3:
        sizes = {spot.shape[1:]: spot for spot in theirs}
        shared = [(spot, sizes[spot.shape[1:]]) for spot in own if spot.shape[1:] in sizes]
        if shared:
            return shared
    return spread(own, theirs)


def _nothing(survey: Survey, sight: Sight) -> str:
    reasons = {
        "maps": "no layer that gives maps or tokens",
        "attention": "no attention layer with a map to read",
        "vector": "no fully connected head",
        "embedding": "no layer that embeds words or patches",
    }
    return f"the {survey.who} has {reasons[sight]}; name layers with `layers:`, or use a loss on its answers"


def _depth(spot: Spot) -> int:
    return spot.tap.name.count(".")
