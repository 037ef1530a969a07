"""torch-pruning's objects have what the protocols say."""

from typing import get_type_hints

import torch_pruning as tp
from torch import nn

from compress.prune import graph_types
from compress.prune.structured.dependency_graph import channels_of
from compress.prune.structured.tolerant_graph import build_graph


def _members(protocol: type) -> set[str]:
    own = {name for name in vars(protocol) if not name.startswith("_") or name in ("__getitem__", "__len__")}
    return own | get_type_hints(protocol).keys()


def test_graphs_groups_members_edges_and_nodes_have_what_is_used(spec):
    net = nn.Sequential(nn.Conv2d(spec.shape[0], 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3)).eval()
    graph = build_graph(net, spec)
    group = channels_of(graph, net[0], range(4))
    member = next(iter(group))
    objects = {
        graph_types.Graph: graph,
        graph_types.Group: group,
        graph_types.Member: member,
        graph_types.Dependency: member.dep,
        graph_types.LayerPruner: graph.get_pruner_of_module(net[0]),
    }
    for protocol, value in objects.items():
        assert {name for name in _members(protocol) if not hasattr(value, name)} == set(), protocol.__name__
    operation = next(node for node in member.dep.target.outputs if not isinstance(node.module, nn.Conv2d))
    optional = {"pruning_dim"}  # of parameters alone
    assert {name for name in _members(graph_types.Node) - optional if not hasattr(operation, name)} == set()


def test_the_first_member_of_a_group_is_its_root(spec):
    net = nn.Sequential(nn.Conv2d(spec.shape[0], 4, 3), nn.Conv2d(4, 2, 3)).eval()
    graph = build_graph(net, spec)
    group = channels_of(graph, net[0], [1, 3])
    assert group[0].dep.target.module is net[0]
    assert list(group[0].idxs) == list(group[0].root_idxs) == [1, 3]
    assert group[0].dep.handler == tp.prune_conv_out_channels
