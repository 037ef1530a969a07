"""Find the layers of a network that a feature loss can compare, by running the network once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod

import torch
from torch import Tensor, nn

from compress.backends.eval_mode import eval_mode
from compress.core.errors import ModelError, nearest
from compress.core.language import gettext
from compress.train.features.hooks import HookSpec, capture, first_tensor, has_attention_map
from compress.train.loss_term import NETWORK_OUTPUT, FeatureKind

Shape = tuple[int, ...]


@dataclass(frozen=True)
class LayerInfo:
    """A layer that can be hooked.

    Attributes:
        hook: The tensor to read.
        shape: Shape of this tensor for one sample.
    """

    hook: HookSpec
    shape: Shape


class LayerCatalog:
    """The hookable layers of one network.

    Attributes:
        role: `student` or `teacher`, for error messages.
        layers: Every layer that returns a tensor, in the order in which they finish.
        output_shape: Shape of the output of the network for one sample.
    """

    output_shape: Shape = ()

    def __init__(self, module: nn.Module, inputs: Tensor | Sequence[Tensor], role: str) -> None:
        self.module, self.role = module, role
        self._inputs = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
        self.layers = self._run()

    def layers_of_kind(self, kind: FeatureKind) -> tuple[LayerInfo, ...]:
        """The candidates of one kind, in order: what an index counts and `auto` selects from.

        maps         the last layer of each resolution; in a transformer, its blocks. Features of signals and volumes are
                     read as maps, see `hooks.as_map`
        attention    the attention layers
        vector       the input of the classifier head
        embedding    the layer that embeds words or patches
        """
        if kind == "attention":
            return self._attention
        if kind == "vector":
            return self._head
        if kind == "embedding":
            return self._embedding
        return self._blocks or self._resolutions

    def find(self, layer: str | int, kind: FeatureKind) -> LayerInfo:
        """The layer with this name or index; `NETWORK_OUTPUT` is the network itself.

        Raises:
            ModelError: There is no such layer, or it has no feature of this kind.
        """
        candidates = self.layers_of_kind(kind)
        if isinstance(layer, int):
            if not -len(candidates) <= layer < len(candidates):
                names = ", ".join(candidate.hook.name for candidate in candidates) or "none"
                msg = gettext(
                    "the {role} has no layer with index {layer} for {kind}; it has {count}: {names}",
                    role=self.role,
                    layer=layer,
                    kind=kind,
                    count=len(candidates),
                    names=names,
                )
                raise ModelError(msg)
            return candidates[layer]
        allowed = {candidate.hook.name: candidate for candidate in candidates} if kind == "attention" else self.layers
        if layer == NETWORK_OUTPUT and layer not in allowed and kind == "maps":
            return LayerInfo(HookSpec(""), self.output_shape)
        if layer not in allowed:
            msg = gettext(
                "the {role} has no layer {layer!r} for {kind}: {hint}",
                role=self.role,
                layer=layer,
                kind=kind,
                hint=nearest(layer, allowed),
            )
            raise ModelError(msg)
        return self._read_as_map(allowed[layer]) if kind == "maps" else allowed[layer]

    def _run(self) -> dict[str, LayerInfo]:
        outputs: dict[str, tuple[Tensor, int]] = {}
        names = {layer: name for name, layer in self.module.named_modules() if name}

        def record(layer: nn.Module, _: object, output: object) -> None:
            tensor = first_tensor(output)
            if tensor is not None and tensor.ndim > 1 and len(tensor) == len(self._inputs[0]):
                outputs.pop(names[layer], None)  # the last call of a layer determines its position in the order
                outputs[names[layer]] = (tensor, tensor._version)

        handles = [layer.register_forward_hook(record) for layer in names]
        try:
            with eval_mode(self.module), torch.no_grad():
                output = first_tensor(self.module(*self._inputs))
                self.output_shape = () if output is None else tuple(output.shape[1:])
        finally:
            for handle in handles:
                handle.remove()
        return {
            name: LayerInfo(HookSpec(name, clone=tensor._version != version), tuple(tensor.shape[1:]))
            for name, (tensor, version) in outputs.items()
        }

    @cached_property
    def _places(self) -> Shape:
        """Height and width of an image; length of a signal, or sides of a volume, where the network convolves such."""
        images = [values for values in self._inputs if values.ndim == 4]
        if images:
            return tuple(images[0].shape[2:])
        for values in self._inputs:
            convolution = {3: nn.Conv1d, 5: nn.Conv3d}.get(values.ndim)
            if convolution is not None and any(isinstance(layer, convolution) for layer in self.module.modules()):
                return tuple(values.shape[2:])
        return ()

    def _read_as_map(self, layer: LayerInfo) -> LayerInfo:
        """Features of a signal or a volume as those of an image; others as they are."""
        rank = len(self._places)
        if rank not in (1, 3) or len(layer.shape) != rank + 1:
            return layer
        places = layer.shape[1:]
        return LayerInfo(replace(layer.hook, as_map=True), (layer.shape[0], prod(places[:-2]), prod(places[-2:])))

    @cached_property
    def _resolutions(self) -> tuple[LayerInfo, ...]:
        """The last of the outermost layers of each resolution: a block rather than a layer inside it."""
        sides = self._places
        outermost: dict[Shape, LayerInfo] = {}
        for layer in self.layers.values():
            places = layer.shape[1:]
            if len(places) != (len(sides) or 2) or prod(places) == 1:
                continue
            if sides and any(abs(a * sides[0] - b * places[0]) > max(sides[0], b) for a, b in zip(places, sides, strict=True)):
                continue  # channels are the last dimension, as inside ConvNeXt's blocks
            earlier = outermost.get(places)
            if earlier is None or _depth(layer) <= _depth(earlier):
                outermost[places] = layer
        return tuple(self._read_as_map(outermost[size]) for size in sorted(outermost, key=lambda size: -prod(size)))

    @cached_property
    def _attention_names(self) -> tuple[str, ...]:
        return tuple(name for name, layer in self.module.named_modules() if has_attention_map(layer))

    @cached_property
    def _attention(self) -> tuple[LayerInfo, ...]:
        return self._read([HookSpec(name, "attention") for name in self._attention_names])

    @cached_property
    def _blocks(self) -> tuple[LayerInfo, ...]:
        """The innermost layer around each attention layer that returns tokens (L, D)."""
        blocks: dict[str, LayerInfo] = {}
        for attention in self._attention_names:
            parts = attention.split(".")
            ancestors = (".".join(parts[:end]) for end in range(len(parts) - 1, 0, -1))
            for name in ancestors:
                if name in self.layers and len(self.layers[name].shape) == 2:
                    blocks[name] = self.layers[name]
                    break
        return tuple(blocks.values())

    @cached_property
    def _head(self) -> tuple[LayerInfo, ...]:
        """The input of the last fully connected layer."""
        linear = [name for name in self.layers if isinstance(self.module.get_submodule(name), nn.Linear)]
        return self._read([HookSpec(linear[-1], "input")] if linear else [])

    @cached_property
    def _embedding(self) -> tuple[LayerInfo, ...]:
        """The first embedding of words, or in a transformer the convolution that embeds patches."""
        for name, info in self.layers.items():
            layer = self.module.get_submodule(name)
            patches = isinstance(layer, nn.Conv2d) and layer.kernel_size == layer.stride and bool(self._attention_names)
            if isinstance(layer, nn.Embedding) or patches:
                return (info,)
        return ()

    def _read(self, hooks: Sequence[HookSpec]) -> tuple[LayerInfo, ...]:
        """Run the network again to find the shapes of these tensors."""
        if not hooks:
            return ()
        with eval_mode(self.module), torch.no_grad(), capture(self.module, hooks) as activations:
            self.module(*self._inputs)
        return tuple(LayerInfo(hook, tuple(activations[hook].shape[1:])) for hook in hooks if hook in activations)


def match_by_depth(students: Sequence[LayerInfo], teachers: Sequence[LayerInfo]) -> list[tuple[LayerInfo, LayerInfo]]:
    """Match layer i of n with the layer of the teacher at the same fraction of the depth, and the last with the last.

    If the student has more layers than the teacher, only its last layers are matched.
    """
    count = min(len(students), len(teachers))
    last_students = students[len(students) - count :]
    return [(student, teachers[-(-(i + 1) * len(teachers) // count) - 1]) for i, student in enumerate(last_students)]


def match_layers(student: LayerCatalog, teacher: LayerCatalog, kind: FeatureKind) -> list[tuple[LayerInfo, LayerInfo]]:
    """Match layers automatically: maps by resolution if the networks have a common resolution, other features by depth.

    Raises:
        ModelError: No layers of the two networks can be matched.
    """
    students, teachers = student.layers_of_kind(kind), teacher.layers_of_kind(kind)
    for catalog, candidates in ((student, students), (teacher, teachers)):
        if not candidates:
            raise ModelError(_no_candidate(catalog, kind))
    first_student, first_teacher = students[0], teachers[0]
    if kind == "maps" and len(first_student.shape) != len(first_teacher.shape):
        msg = gettext(
            "layers cannot be matched automatically: the student's {name} has shape {shape}, "
            "the teacher's {hook_name} {first_teacher_shape}; name layers of the same kind, or use rkd_distance",
            name=first_student.hook.name,
            shape=first_student.shape,
            hook_name=first_teacher.hook.name,
            first_teacher_shape=first_teacher.shape,
        )
        raise ModelError(msg)
    if kind == "maps" and len(first_student.shape) == 3:
        by_size = {layer.shape[1:]: layer for layer in teachers}
        same_size = [(layer, by_size[layer.shape[1:]]) for layer in students if layer.shape[1:] in by_size]
        if same_size:
            return same_size
    return match_by_depth(students, teachers)


def _no_candidate(catalog: LayerCatalog, kind: FeatureKind) -> str:
    reasons = {
        "maps": gettext("no layer that returns maps or tokens"),
        "attention": gettext("no attention layer with a readable map"),
        "vector": gettext("no fully connected head"),
        "embedding": gettext("no layer that embeds words or patches"),
    }
    return gettext(
        "the {role} has {reasons}; name layers with `layers:`, or use a loss on logits",
        role=catalog.role,
        reasons=reasons[kind],
    )


def _depth(layer: LayerInfo) -> int:
    return layer.hook.name.count(".")
