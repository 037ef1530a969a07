"""Projectors join widths and resolutions."""

import pytest
import torch
from torch import nn

from compress.core.errors import ModelError
from compress.distill.losses.projectors import build_projectors, check_equal_widths, match_resolution
from compress.train.loss_term import MatchedLayers


def layers(student, teacher):
    return MatchedLayers("a", student, "b", teacher, 0)


def test_a_projector_is_learned_only_where_widths_differ():
    maps, tokens, equal = build_projectors([layers((4, 8, 8), (6, 4, 4)), layers((9, 4), (9, 6)), layers((5, 2, 2), (5, 2, 2))])
    assert maps(torch.zeros(2, 4, 8, 8)).shape == (2, 6, 8, 8)
    assert tokens(torch.zeros(2, 9, 4)).shape == (2, 9, 6)
    assert isinstance(equal, nn.Identity)


def test_maps_are_averaged_to_the_smaller_resolution():
    f_s, f_t = torch.arange(16.0).view(1, 1, 4, 4), torch.ones(1, 1, 2, 2)
    small, same = match_resolution(f_s, f_t)
    assert small.flatten().tolist() == [2.5, 4.5, 10.5, 12.5]
    assert torch.equal(same, f_t)


@pytest.mark.parametrize(
    ("student", "teacher", "message"),
    [((4, 8, 8), (6,), "maps and a vector"), ((9, 4), (8, 4), "9 and 8 tokens")],
)
def test_layers_that_no_projector_joins_are_refused(student, teacher, message):
    with pytest.raises(ModelError, match=message):
        build_projectors([layers(student, teacher)])


def test_a_direct_loss_refuses_other_widths():
    check_equal_widths([layers((4, 8, 8), (4, 4, 4))])
    with pytest.raises(ModelError, match="differ in width; use `hint`"):
        check_equal_widths([layers((4, 8, 8), (6, 8, 8))])
