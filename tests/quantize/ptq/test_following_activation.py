"""The activation behind a layer is the one that the graph computes, and nothing is taken for one that is not."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from compress.backends import onnx_graph as graphs
from compress.backends import onnx_session
from compress.backends.onnx_session import create_session
from compress.quantize.ptq.following_activation import activation_after
from tests.quantize.bent import BENT, STRAIGHT, built


@pytest.mark.parametrize("name", BENT)
def test_it_is_what_the_runtime_computes(name: str) -> None:
    model = built(BENT[name])
    bend = activation_after(graphs.find_value(graphs.to_ir(model), "y"))
    assert bend is not None
    x = np.linspace(-8, 8, 64, dtype=np.float32).reshape(-1, 4)
    np.testing.assert_allclose(bend(torch.from_numpy(x)).numpy(), onnx_session.run(create_session(model), x), atol=1e-5)


@pytest.mark.parametrize("name", STRAIGHT)
def test_anything_else_is_none(name: str) -> None:
    model = built(STRAIGHT[name])
    assert activation_after(graphs.find_value(graphs.to_ir(model), "y")) is None
