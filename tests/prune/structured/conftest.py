import pytest

from compress.core.network_spec import NetworkSpec
from tests.prune.structured.networks import SIZE


@pytest.fixture
def large(spec: NetworkSpec) -> NetworkSpec:
    return spec.with_size(SIZE, SIZE)
