import pytest
import torch
from torch import nn

from compress.core.errors import ModelError
from compress.prune.criteria import ScoringData, sparsegpt
from compress.prune.unstructured.solvers import solve_sparsegpt
from compress.tasks.classification import Classification


def test_it_keeps_the_data_for_the_layers_and_has_no_scores():
    importance, data = sparsegpt(), ScoringData((), Classification())
    assert importance.layerwise is not None
    assert (importance.layerwise.solve, importance.layerwise.reconstructs) == (solve_sparsegpt, True)
    importance.collect(nn.Linear(2, 2), data)
    assert importance.layerwise.data is data
    with pytest.raises(ModelError, match="layer by layer and has no scores"):
        importance.weights("a.weight", torch.ones(2, 2))
