from __future__ import annotations

import onnx_ir as ir
import pytest
import torch

from compress.backends import onnx_files
from compress.backends import onnx_graph as graphs
from compress.backends.export_onnx import export_onnx
from tests.export.tiny import SPEC
from tests.quantize.ptq.chain import Chain


@pytest.fixture(scope="module")
def chain_network() -> Chain:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Chain().eval()


@pytest.fixture(scope="module")
def chain(chain_network: Chain, tmp_path_factory: pytest.TempPathFactory) -> ir.Model:
    path = tmp_path_factory.mktemp("chain") / "model.onnx"
    export_onnx(chain_network, SPEC, path)
    return graphs.to_ir(onnx_files.load(path))


@pytest.fixture(scope="module")
def skewed_chain(chain_network: Chain, tmp_path_factory: pytest.TempPathFactory) -> ir.Model:
    """The same function with channels between layers rescaled by 1/100 to 100."""
    import copy

    net = copy.deepcopy(chain_network)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for first, second in ((net.stem, net.depth), (net.depth, net.grouped), (net.point, None), (net.hidden, net.head)):
            if second is None:
                continue
            s = 100 ** (2 * torch.rand(len(first.weight), generator=generator) - 1)
            first.weight /= s.view(-1, *[1] * (first.weight.ndim - 1))
            first.bias /= s
            if second is net.depth:
                second.weight *= s.view(-1, 1, 1, 1)
            elif second is net.grouped:
                second.weight[:6] *= s[:4].view(1, -1, 1, 1)
                second.weight[6:] *= s[4:].view(1, -1, 1, 1)
            else:
                second.weight *= s
    path = tmp_path_factory.mktemp("skewed") / "model.onnx"
    export_onnx(net, SPEC, path)
    return graphs.to_ir(onnx_files.load(path))
