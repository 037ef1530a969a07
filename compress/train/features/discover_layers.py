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
from compress.train.features.hooks import HookSpec, capture, first_tensor, has_attention_map
from compress.train.loss_term import FeatureKind

Shape = tuple[int, ...]


@dataclass(frozen=True)
class LayerInfo:
    """A place to tap.

    Attributes:
        tap: How to read it.
        shape: What it gives for one sample.
    """

    hook: HookSpec
    shape: Shape


class LayerCatalog:
    """One network, looked over.

    Attributes:
        who: `student` or `teacher`, for errors.
        layers: Every layer that gives a tensor, in the order in which they finish.
        answer: Shape of the network's own output for one sample.
    """

    output_shape: Shape = ()

    def __init__(self, module: nn.Module, inputs: Tensor, who: str) -> None:
        self.module, self.role, self._inputs = module, who, inputs
        self.layers = self._run()

    def layers_of_kind(self, kind: FeatureKind) -> tuple[LayerInfo, ...]:
        """The places of one kind, in order: what numbers count and what `auto` chooses from.

        maps         the last layer of each resolution; in a transformer, its blocks
        attention    the attention layers
        vector       what the head is given
        embedding    the layer that embeds words or patches
        """
        if kind == "attention":
            return self._attention
        if kind == "vector":
            return self._head
        if kind == "embedding":
            return self._embedding
        return self._blocks or self._resolutions

    def find(self, which: str | int, kind: FeatureKind) -> LayerInfo:
        """The place that a recipe names.

        Raises:
            ModelError: There is no such layer, or it gives nothing to look at.
        """
        listed = self.layers_of_kind(kind)
        if isinstance(which, int):
            if not -len(listed) <= which < len(listed):
                names = ", ".join(spot.hook.name for spot in listed) or "none"
                msg = f"the {self.role} has no layer number {which} to look at for {kind}; it has {len(listed)}: {names}"
                raise ModelError(msg)
            return listed[which]
        allowed = {spot.hook.name: spot for spot in listed} if kind == "attention" else self.layers
        if which not in allowed:
            msg = f"the {self.role} has no layer {which!r} to look at for {kind}: {nearest(which, allowed)}"
            raise ModelError(msg)
        return allowed[which]

    def _run(self) -> dict[str, LayerInfo]:
        given: dict[str, tuple[Tensor, int]] = {}
        names = {layer: name for name, layer in self.module.named_modules() if name}

        def note(layer: nn.Module, _: Any, output: Any) -> None:
            tensor = first_tensor(output)
            if tensor is not None and tensor.ndim > 1 and len(tensor) == len(self._inputs):
                given.pop(names[layer], None)
                given[names[layer]] = (tensor, tensor._version)

        handles = [layer.register_forward_hook(note) for layer in names]
        try:
            with eval_mode(self.module), torch.no_grad():
                self.output_shape = tuple(self.module(self._inputs).shape[1:])
        finally:
            for handle in handles:
                handle.remove()
        return {
            name: LayerInfo(HookSpec(name, clone=tensor._version != version), tuple(tensor.shape[1:]))
            for name, (tensor, version) in given.items()
        }

    @cached_property
    def _resolutions(self) -> tuple[LayerInfo, ...]:
        """Of each resolution the outermost layer, of these the last: blocks rather than what is inside them."""
        height, width = self._inputs.shape[-2:] if self._inputs.ndim == 4 else (0, 0)
        best: dict[Shape, LayerInfo] = {}
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
        return tuple(name for name, layer in self.module.named_modules() if has_attention_map(layer))

    @cached_property
    def _attention(self) -> tuple[LayerInfo, ...]:
        taps = [HookSpec(name, "attention") for name in self._attending]
        if not taps:
            return ()
        with eval_mode(self.module), torch.no_grad(), capture(self.module, taps) as seen:
            self.module(self._inputs)
        return tuple(LayerInfo(tap, tuple(seen[tap].shape[1:])) for tap in taps if tap in seen)

    @cached_property
    def _blocks(self) -> tuple[LayerInfo, ...]:
        """The innermost layer around each attention layer that gives tokens (L, D)."""
        found: dict[str, LayerInfo] = {}
        for name in self._attending:
            parts = name.split(".")
            around = (".".join(parts[:end]) for end in range(len(parts) - 1, 0, -1))
            block = next(
                (self.layers[each] for each in around if each in self.layers and len(self.layers[each].shape) == 2), None
            )
            if block is not None:
                found[block.hook.name] = block
        return tuple(found.values())

    @cached_property
    def _head(self) -> tuple[LayerInfo, ...]:
        """What the last fully connected layer is given."""
        linear = [name for name in self.layers if isinstance(self.module.get_submodule(name), nn.Linear)]
        if not linear:
            return ()
        tap = HookSpec(linear[-1], "input")
        with eval_mode(self.module), torch.no_grad(), capture(self.module, [tap]) as seen:
            self.module(self._inputs)
        return (LayerInfo(tap, tuple(seen[tap].shape[1:])),)

    @cached_property
    def _embedding(self) -> tuple[LayerInfo, ...]:
        """The first embedding of words, or in a transformer the convolution that cuts patches."""
        for name, spot in self.layers.items():
            layer = self.module.get_submodule(name)
            patches = isinstance(layer, nn.Conv2d) and layer.kernel_size == layer.stride and bool(self._attending)
            if isinstance(layer, nn.Embedding) or patches:
                return (spot,)
        return ()


def match_by_depth(students: Sequence[LayerInfo], teachers: Sequence[LayerInfo]) -> list[tuple[LayerInfo, LayerInfo]]:
    """Pairs by depth: place i of n learns from the one that ends at the same fraction of the teacher, the last from the last.

    Of a student with more places than the teacher the last ones take part.
    """
    count = min(len(students), len(teachers))
    chosen = students[len(students) - count :]
    return [(spot, teachers[-(-(i + 1) * len(teachers) // count) - 1]) for i, spot in enumerate(chosen)]


def match_layers(student: LayerCatalog, teacher: LayerCatalog, kind: FeatureKind) -> list[tuple[LayerInfo, LayerInfo]]:
    """Pairs found without being told: maps by resolution where both share some, all else by depth.

    Raises:
        ModelError: Nothing in the two networks goes together.
    """
    own, theirs = student.layers_of_kind(kind), teacher.layers_of_kind(kind)
    for survey, spots in ((student, own), (teacher, theirs)):
        if not spots:
            raise ModelError(_nothing(survey, kind))
    if len(own[0].shape) != len(theirs[0].shape) and kind == "maps":
        found = f"the student's {own[0].hook.name} gives {own[0].shape}, the teacher's {theirs[0].hook.name} {theirs[0].shape}"
        msg = f"layers cannot be matched by themselves: {found}; name layers that fit, or use rkd_distance, which needs none"
        raise ModelError(msg)
    if kind == "maps" and len(own[0].shape) == 3:
        sizes = {spot.shape[1:]: spot for spot in theirs}
        shared = [(spot, sizes[spot.shape[1:]]) for spot in own if spot.shape[1:] in sizes]
        if shared:
            return shared
    return match_by_depth(own, theirs)


def _nothing(survey: LayerCatalog, kind: FeatureKind) -> str:
    reasons = {
        "maps": "no layer that gives maps or tokens",
        "attention": "no attention layer with a map to read",
        "vector": "no fully connected head",
        "embedding": "no layer that embeds words or patches",
    }
    return f"the {survey.role} has {reasons[kind]}; name layers with `layers:`, or use a loss on its answers"


def _depth(spot: LayerInfo) -> int:
    return spot.hook.name.count(".")
