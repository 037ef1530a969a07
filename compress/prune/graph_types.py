"""The parts of torch-pruning's dependency graph that pruning uses, as protocols: torch-pruning itself has no types."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

from torch import Tensor, nn

PruningFunction = Callable[..., nn.Module]
"""Removes channels of a layer, on its input or its output side."""


class InputMetadata(Protocol):
    """What autograd knows of an operation's output."""

    shape: Sequence[int]


class GradFunction(Protocol):
    """Autograd's node of an operation."""

    _input_metadata: Sequence[InputMetadata]


class Node(Protocol):
    """A layer, a parameter or an operation of the graph.

    Attributes:
        name: Name of the layer, with its class in brackets.
        module: The layer; a parameter of the network's own, or a stand-in of torch-pruning for an operation.
        type: One of `tp.ops.OPTYPE`.
        inputs: Nodes whose output it reads.
        outputs: Nodes that read its output.
        dependencies: Edges to the nodes that lose channels with it.
        pruning_dim: Of a parameter, the dimension that its channels lie along.
        grad_fn: Autograd's node.
    """

    name: str
    module: nn.Module
    type: object
    inputs: Sequence[Node]
    outputs: Sequence[Node]
    dependencies: list[Dependency]
    pruning_dim: int
    grad_fn: GradFunction


class Dependency(Protocol):
    """An edge: where the source loses channels, `handler` removes those of the target.

    Attributes:
        target: Node that loses channels.
        source: Node that causes it.
        handler: Removes them.
        index_mapping: From the source's indices to the target's, one after the other; None changes nothing.
    """

    target: Node
    source: Node
    handler: PruningFunction
    index_mapping: list[Callable[[Sequence[HybridIndex]], Sequence[HybridIndex]] | None]

    def is_triggered_by(self, pruning_fn: PruningFunction, /) -> bool:
        """Whether channels that this function removes cause it."""


class HybridIndex(Protocol):
    """Index of a channel in a layer, and in the group's root."""

    @property
    def idx(self) -> int:
        """In the layer."""

    @property
    def root_idx(self) -> int | None:
        """In the root; None where the channel is not one of the root's."""


class Member(Protocol):
    """One layer of a group."""

    @property
    def dep(self) -> Dependency:
        """The edge that leads to it."""

    @property
    def idxs(self) -> Sequence[int]:
        """Its channels."""

    @property
    def root_idxs(self) -> Sequence[int | None]:
        """The channel of the root for each of them."""


class Group(Protocol):
    """Layers that lose channels together; the first is the root."""

    def __getitem__(self, index: int, /) -> Member: ...

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Member]: ...

    def prune(self, *, record_history: bool) -> None:
        """Remove the channels from every layer."""


class Graph(Protocol):
    """A network's dependency graph."""

    @property
    def model(self) -> nn.Module:
        """The network."""

    @property
    def module2node(self) -> Mapping[nn.Module, Node]:
        """Nodes by layer."""

    def get_out_channels(self, layer: nn.Module | Node, /) -> int:
        """Output channels."""

    def get_in_channels(self, layer: nn.Module | Node, /) -> int:
        """Input channels."""

    def is_out_channel_pruning_fn(self, function: PruningFunction, /) -> bool:
        """Whether it removes channels on the output side."""

    def get_pruner_of_module(self, layer: nn.Module, /) -> LayerPruner:
        """What removes channels of a layer."""

    def get_pruning_group(self, module: nn.Module, pruning_fn: PruningFunction, idxs: Sequence[int]) -> Group:
        """The layers that lose channels when one layer loses these."""

    def check_pruning_group(self, group: Group, /) -> bool:
        """Whether every layer keeps a channel."""


class LayerPruner(Protocol):
    """Removes channels of one kind of layer."""

    prune_out_channels: PruningFunction
    prune_in_channels: PruningFunction


ChannelScores = Callable[[str, Group], "Tensor | None"]
"""(Name of the root layer, its group over all channels) → scores (C,); None where there are none."""
