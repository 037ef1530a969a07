from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from compress.backends import onnx_files
from compress.backends import onnx_graph as graphs
from compress.backends.onnx_session import create_session, run
from compress.core.errors import ConversionError
from tests.backends.test_onnx_graph import W, small

X = np.array([[1, -2, 3], [0, 5, -1]], np.float32)


@pytest.mark.parametrize("optimised", [True, False])
def test_file_and_network_in_memory_give_the_same_first_output(tmp_path: Path, optimised: bool) -> None:
    path = tmp_path / "model.onnx"
    onnx_files.save(small(), path)
    for source in (path, small(), graphs.to_ir(small())):
        np.testing.assert_allclose(run(create_session(source, optimised=optimised), X), np.maximum(X @ W, 0))


def test_threads_and_optimisation_level_reach_the_session() -> None:
    options = create_session(small(), threads=3, optimised=False).get_session_options()
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (3, 1)
    assert options.graph_optimization_level.name == "ORT_DISABLE_ALL"
    assert create_session(small()).get_session_options().graph_optimization_level.name == "ORT_ENABLE_ALL"


def test_network_in_memory_above_the_size_limit_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_files, "MAX_PROTOBUF_BYTES", 1)
    np.testing.assert_allclose(run(create_session(small()), X), np.maximum(X @ W, 0))


def test_graph_that_the_runtime_rejects_is_a_conversion_error() -> None:
    model = small()
    model.graph.node[0].op_type = "NoSuchOperator"
    with pytest.raises(ConversionError, match="rejects the graph"):
        create_session(model)
