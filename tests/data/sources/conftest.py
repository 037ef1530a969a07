import pytest

from compress.data.sources.distilled_set import write
from tests.data.sources.toy_distilled import a_set


@pytest.fixture
def written(tmp_path):
    given = a_set()
    write(tmp_path / "set" / "distilled.safetensors", given)
    return given
