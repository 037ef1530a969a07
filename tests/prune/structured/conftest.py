import pytest

from compress.core.record import InputSpec
from tests.prune.structured.networks import SIZE


@pytest.fixture
def large(spec: InputSpec) -> InputSpec:
    return spec.model_copy(update={"height": SIZE, "width": SIZE})
