import pytest
import torch

from tests.prune.criteria.smooth_network import Small


@pytest.fixture
def small() -> Small:
    torch.manual_seed(0)
    return Small().eval()
