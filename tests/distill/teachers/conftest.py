import pytest

from compress.core.stage import Candidate, Context
from compress.tasks.classification import Classification
from tests.train.toy_training import conv_net, toy_data


@pytest.fixture
def context(tmp_path):
    data = toy_data()
    teachers = tuple(Candidate(data.spec, conv_net(seed, width=8)) for seed in (7, 8))
    return Context(
        data=data,
        task=Classification(),
        folder=tmp_path / "stage",
        cache=tmp_path / "cache",
        teachers=teachers,
        device="cpu",
        base=tmp_path,
    )
