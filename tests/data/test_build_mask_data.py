import pytest

from compress.core.errors import DataError
from compress.data.build_mask_data import build_mask_data
from compress.data.settings import DataSettings
from compress.tasks.segmentation import Segmentation
from tests.data.test_mask_split import arrays

MOMENTS = {"mean": (0.5,) * 3, "std": (0.2,) * 3}
SETTINGS = DataSettings(source="shapes_masks", image_size=16)


def build(readers=None, classes=("a", "b", "c", "d"), settings=SETTINGS):
    return build_mask_data(readers or [arrays(seed=seed) for seed in range(3)], classes=classes, settings=settings, **MOMENTS)


def test_the_specification_is_that_of_a_network_with_logits_of_each_pixel():
    data = build()
    assert data.spec.signature.outputs == Segmentation().outputs(data.spec.signature.inputs, data.spec.classes)
    assert data.spec.signature.outputs[0].shape == ("batch", 4, 16, 16)
    assert (data.train.views, data.validation.views, data.test.views) == (4, 1, 1)


def test_equal_samples_in_two_splits_are_warned_of():
    assert "data.duplicates_between_splits" in {fact.code for fact in build([arrays(), arrays(seed=1), arrays()]).warnings}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"classes": ("a",)}, "has 1 classes; masks have 2 to 255"),
        ({"settings": SETTINGS.model_copy(update={"augment": "randaugment"})}, "moves an image without its mask"),
        ({"readers": [arrays(1), arrays(), arrays()]}, "1 training images, at least 2 needed"),
    ],
)
def test_data_that_cannot_be_used_is_refused(arguments, message):
    with pytest.raises(DataError, match=message):
        build(**arguments)
