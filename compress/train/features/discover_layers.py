"""Find the layers of a network that a feature loss can compare, by running the network once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod

import torch
from torch import Tensor, nn

from compress.backends.eval_mode import eval_mode
from compress.core.errors import ModelError, nearest
from compress.core.language import gettext
from compress.train.features.attention_layers import explains_output, projection_names
from compress.train.features.hooks import HookKind, HookSpec, capture, first_tensor, has_attention_map
from compress.train.loss_term import NETWORK_OUTPUT, FeatureKind

Shape = tuple[int, ...]
ATTENTION_KINDS: tuple[FeatureKind, ...] = ("attention", "scores", "relations")
DECODER_PROJECTIONS = (("q_proj", "k_proj", "v_proj", "o_proj"), ("c_attn", "c_proj"))
"""Child layers of the attention of decoders, of Llama's and of GPT-2's shape."""
EMBEDDING_PARTS = ("Embedding", "LayerNorm", "RMSNorm", "Dropout", "Identity", "Linear")
"""Endings of the names of layers in a layer that embeds words."""


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
        self._runs: list[str] = []
        self.layers = self._run()

    def layers_of_kind(self, kind: FeatureKind) -> tuple[LayerInfo, ...]:
        """The candidates of one kind, in order: what an index counts and `auto` selects from.

        maps         the last layer of each resolution; in a transformer, its blocks. Features of signals and volumes are
                     read as maps, see `hooks.as_map`
        attention    the attention layers; likewise `scores` and `relations`
        vector       the input of the classifier head
        embedding    the layer that embeds patches, or words with their positions
        hidden       the layer that embeds words, then the blocks: hidden states 0 to M

        A layer that runs several times, as those that ALBERT shares, is a candidate for each run.
        """
        if kind == "attention":
            return self._attention
        if kind in ("scores", "relations"):
            return self._scores if kind == "scores" else self._relations
        if kind == "hidden":
            return (*(layer for layer in self._embedding if len(layer.shape) == 2), *self._blocks) if self._blocks else ()
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
                names = ", ".join(candidate.hook.label for candidate in candidates) or "none"
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
        labelled = {candidate.hook.label: candidate for candidate in candidates}
        allowed = labelled if kind in ATTENTION_KINDS else {**self.layers, **labelled}
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
            self._runs.append(names[layer])
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
    def _decoder_attention_names(self) -> tuple[str, ...]:
        """Attention layers of decoders, whose maps are not read: their blocks are found alone."""
        return tuple(
            name
            for name, layer in self.module.named_modules()
            if any(all(hasattr(layer, child) for child in children) for children in DECODER_PROJECTIONS)
        )

    @cached_property
    def _projected_names(self) -> tuple[str, ...]:
        """Attention layers whose map can be computed from query and key."""
        layers = {name: self.module.get_submodule(name) for name in self._attention_names}
        with eval_mode(self.module), torch.no_grad():
            return tuple(
                name
                for name, layer in layers.items()
                if projection_names(layer) and explains_output(layer, lambda: self.module(*self._inputs))
            )

    @cached_property
    def _attention(self) -> tuple[LayerInfo, ...]:
        layers = {name: self.module.get_submodule(name) for name in self._attention_names}
        names = [name for name, layer in layers.items() if not projection_names(layer) or name in self._projected_names]
        return self._read(self._each_run(names, "attention"))

    @cached_property
    def _scores(self) -> tuple[LayerInfo, ...]:
        return self._read(self._each_run(self._projected_names, "scores"))

    @cached_property
    def _relations(self) -> tuple[LayerInfo, ...]:
        return self._read(self._each_run(self._projected_names, "relations"))

    def _each_run(self, names: Sequence[str], kind: HookKind) -> list[HookSpec]:
        """Hooks for layers in the order in which they finish, one for each run of a layer."""
        total = Counter(self._runs)
        before: Counter[str] = Counter()
        hooks = []
        for name in self._runs:
            if name in names:
                hooks.append(HookSpec(name, kind, call=before[name] if total[name] > 1 else None))
            before[name] += 1
        return hooks

    @cached_property
    def _blocks(self) -> tuple[LayerInfo, ...]:
        """The layer around each attention layer that returns tokens (L, D): a member of a list, else the innermost."""
        names: list[str] = []
        for attention in self._attention_names or self._decoder_attention_names:
            parts = attention.split(".")
            ancestors = (".".join(parts[:end]) for end in range(len(parts) - 1, 0, -1))
            around = [name for name in ancestors if name in self.layers and len(self.layers[name].shape) == 2]
            members = [name for name in around if self._is_list_member(name)]
            names += (members or around)[:1]
        runs = [(self.layers[run.name], run.call) for run in self._each_run(names, "output")]
        return tuple(replace(layer, hook=replace(layer.hook, call=call)) for layer, call in runs)

    def _is_list_member(self, name: str) -> bool:
        return isinstance(self.module.get_submodule(name.rpartition(".")[0]), nn.ModuleList | nn.Sequential)

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
            if isinstance(layer, nn.Embedding):
                return (self._around_embedding(name) or info,)
            if patches:
                return (info,)
        return ()

    def _around_embedding(self, name: str) -> LayerInfo | None:
        """The layer that adds words, positions and types and normalises them, if the network has one."""
        info = self.layers.get(name.rpartition(".")[0])
        if info is None or len(info.shape) != 2:
            return None
        parts = [part for part in self.module.get_submodule(info.hook.name).modules() if not list(part.children())]
        return info if all(type(part).__name__.endswith(EMBEDDING_PARTS) for part in parts) else None

    def _read(self, hooks: Sequence[HookSpec]) -> tuple[LayerInfo, ...]:
        """Run the network again to find the shapes of these tensors."""
        if not hooks:
            return ()
        with eval_mode(self.module), torch.no_grad(), capture(self.module, hooks) as activations:
            self.module(*self._inputs)
        return tuple(LayerInfo(hook, tuple(activations[hook].shape[1:])) for hook in hooks if hook in activations)


def _depth(layer: LayerInfo) -> int:
    return layer.hook.name.count(".")
