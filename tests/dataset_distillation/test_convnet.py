import pytest
import torch

from compress.core.network_spec import image_spec
from compress.dataset_distillation.convnet import ConvNet, max_depth


def test_features_do_not_depend_on_the_other_images_of_a_batch():
    network, x = ConvNet(3, 4, (16, 12), width=8, depth=2), torch.randn(5, 3, 16, 12)
    torch.testing.assert_close(network.features(x)[:2], network.features(x[:2]))
    torch.testing.assert_close(network.head(network.features(x)), network(x))


@pytest.mark.parametrize(("side", "depth"), [(8, 3), (9, 3), (16, 4), (2, 1)])
def test_the_largest_depth_leaves_one_pixel(side: int, depth: int):
    spec = image_spec(channels=1, height=side, width=2 * side, mean=(0.0,), std=(1.0,), classes=("a", "b"))
    assert max_depth(spec) == depth
    x = torch.randn(1, 1, side, 2 * side)
    assert ConvNet(1, 2, (side, 2 * side), width=4, depth=depth)(x).shape == (1, 2)
    assert side >> (depth + 1) == 0
