import pytest

from compress.core.errors import ModelError
from compress.models.factory import build_model
from compress.models.settings import ModelSettings
from tests.models.sources.segmentation_spec import SPEC, TASK


def build(source, **args):
    return build_model(ModelSettings(source=source, args=args), SPEC, task=TASK, seed=0, base=None)


def test_it_fits_the_data():
    network = build("segmenter:small", width=4, depth=2).module
    assert network.head.out_channels == len(SPEC.classes)


def test_what_it_cannot_build_is_refused():
    with pytest.raises(ModelError, match="there is no segmenter 'smal': did you mean 'small'"):
        build("segmenter:smal")
    with pytest.raises(ModelError, match=r"cannot be built with .*wide.*; see model.args"):
        build("segmenter:small", wide=3)
