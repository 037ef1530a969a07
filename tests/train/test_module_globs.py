import pytest
from torch import nn

from compress.core.errors import ModelError
from compress.train.module_globs import check_globs, match_modules

NETWORK = nn.ModuleDict(
    {"stem": nn.Conv2d(3, 4, 1), "block1": nn.Sequential(nn.Conv2d(4, 4, 1), nn.ReLU()), "block10": nn.Sequential(nn.ReLU())}
)


@pytest.mark.parametrize(
    ("globs", "expected"),
    [
        ([], set()),
        (["stem"], {"stem"}),
        (["block1"], {"block1", "block1.0", "block1.1"}),
        (["block*"], {"block1", "block1.0", "block1.1", "block10", "block10.0"}),
        (["*.0", "stem"], {"stem", "block1.0", "block10.0"}),
    ],
)
def test_a_glob_matches_modules_with_everything_inside_them(globs, expected):
    assert match_modules(NETWORK, globs) == expected


def test_names_are_matched_with_their_case_and_a_misspelt_one_offers_the_nearest():
    with pytest.raises(ModelError, match=r"protect 'Stem' matches no module .*'stem'"):
        match_modules(NETWORK, ["block1", "Stem"])
    check_globs(["block1.?", "stem"], NETWORK)
    with pytest.raises(ModelError, match=r"max_ratio 'block2' matches no module .* did you mean 'block1'"):
        check_globs(["stem", "block2"], NETWORK)
