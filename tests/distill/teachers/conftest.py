import pytest

from compress.core.stage import Candidate
from tests.train.toy_training import conv_net, toy_data


@pytest.fixture
def context(make_context, tmp_path):
    data = toy_data()
    teachers = tuple(Candidate(data.spec, conv_net(seed, width=8)) for seed in (7, 8))
    return make_context(data, teachers=teachers, base=tmp_path)
