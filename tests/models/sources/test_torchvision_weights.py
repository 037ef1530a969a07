from types import SimpleNamespace

import pytest

from compress.core.errors import ModelError
from compress.models.sources.torchvision_weights import download_weights, normalisation_facts
from tests.models.sources.segmentation_spec import SPEC


def test_without_a_network_it_says_where_the_weights_are():
    def fail(**_):
        raise OSError("no route")

    entry = SimpleNamespace(get_state_dict=fail, url="https://example.org/w.pth", meta={"categories": ["a"] * 21})
    with pytest.raises(ModelError, match=r"no route.*fetch https://example.org/w.pth.*num_classes: 21"):
        download_weights("fcn_resnet50", entry)


def test_another_normalisation_is_told_and_the_same_one_is_not():
    def entry(mean):
        return SimpleNamespace(transforms=lambda: SimpleNamespace(mean=mean, std=[0.2] * 3))

    assert normalisation_facts(entry([0.5] * 3), SPEC) == ()
    assert [fact.code for fact in normalisation_facts(entry([0.4] * 3), SPEC)] == ["models.normalised_otherwise"]
