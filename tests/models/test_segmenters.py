import pytest
import torch
from torchvision.models import segmentation

from compress.models.segmenters import MapsToLogits, SmallSegmenter


@pytest.mark.parametrize("size", [(16, 16), (24, 40), (17, 31)])
@pytest.mark.parametrize("depth", [1, 3])
def test_the_logits_have_the_size_of_the_image(size, depth):
    network = SmallSegmenter(5, width=4, depth=depth).eval()
    assert network(torch.zeros(2, 3, *size)).shape == (2, 5, *size)


def test_every_weight_is_trained():
    network = SmallSegmenter(3, width=4, depth=3)
    network(torch.randn(2, 3, 16, 16)).square().mean().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in network.parameters())


@pytest.mark.parametrize("arguments", [{"width": 0}, {"depth": 7}])
def test_impossible_sizes_are_refused(arguments):
    with pytest.raises(ValueError, match="use width above 0 and depth from 1 to 6"):
        SmallSegmenter(3, **arguments)


@pytest.mark.parametrize("name", ["lraspp_mobilenet_v3_large", "deeplabv3_mobilenet_v3_large"])
def test_torchvisions_networks_give_what_torchvision_gives_without_its_dictionary(name):
    torch.manual_seed(0)
    network = getattr(segmentation, name)(weights=None, weights_backbone=None, num_classes=4).eval()
    plain = MapsToLogits(network).eval()
    images = torch.randn(1, 3, 32, 48)
    with torch.no_grad():
        torch.testing.assert_close(plain(images), network(images)["out"])
    assert set(plain.state_dict()) == set(network.state_dict())
