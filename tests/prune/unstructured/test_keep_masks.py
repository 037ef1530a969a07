import pytest
import torch

from compress.prune.unstructured.keep_masks import keep_masks, layer_counts


@pytest.mark.parametrize("shape", [(4, 10), (4, 5, 2, 1)])
def test_a_row_ranking_removes_the_same_number_of_each_output(shape):
    scores = {"a": torch.rand(shape), "b": torch.rand(shape) + 10}
    masks = keep_masks(scores, 40, ranking="row", max_ratio=1.0)
    for name, mask in masks.items():
        assert mask.shape == shape
        assert mask.flatten(1).sum(1).tolist() == [5] * 4
        removed = scores[name].flatten(1).masked_fill(mask.flatten(1), -1).amax(1)
        assert (removed <= scores[name].flatten(1).masked_fill(~mask.flatten(1), 99).amin(1)).all()


def test_layers_share_the_removals_by_size_below_their_ceilings():
    shapes = {"a": (4, 10), "b": (4, 20)}
    sizes = {"a": 40, "b": 80}
    assert layer_counts(shapes, sizes, sizes, 60, "local") == {"a": 20, "b": 40}
    assert layer_counts(shapes, sizes, {"a": 10, "b": 80}, 60, "row") == {"a": 10, "b": 40}
