import pytest
from pydantic import ValidationError

from compress.prune.stage import Prune

HALF = {"granularity": "weight", "target": {"sparsity": 0.5}}


@pytest.mark.parametrize(
    ("fields", "importance", "ranking"),
    [
        (HALF, "magnitude", "global"),
        ({**HALF, "importance": "wanda"}, "wanda", "row"),
        ({**HALF, "importance": "sparsegpt"}, "sparsegpt", "local"),
        ({**HALF, "importance": "wanda", "ranking": "global"}, "wanda", "global"),
        ({"granularity": "weight", "importance": "wanda", "target": {"bytes": 0.5}}, "wanda", "global"),
        ({"target": {"macs": 0.5}}, "fisher", "global"),
        ({"granularity": "n:m", "importance": "sparsegpt", "target": {"sparsity": 0.5}}, "sparsegpt", "global"),
    ],
)
def test_defaults_fit_the_importance(fields, importance, ranking):
    stage = Prune(**fields)
    assert (stage.importance, stage.ranking) == (importance, ranking)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({**HALF, "importance": "sparsegpt", "ranking": "global"}, "use ranking: local or erk"),
        ({**HALF, "importance": "sparsegpt", "ranking": "row"}, "use ranking: local or erk"),
        ({"target": {"macs": 0.5}, "ranking": "row"}, "compares the weights of one output"),
        ({"target": {"macs": 0.5}, "ranking": "erk"}, "is for weights or blocks"),
        ({"granularity": "weight", "importance": "sparsegpt", "target": {"bytes": 0.5}}, "no target of bytes"),
        ({**HALF, "granularity": "block", "importance": "sparsegpt"}, "use 'weight' or 'n:m'"),
        ({**HALF, "importance": "sparsegpt", "schedule": {"kind": "rigl"}}, "changes the weights that stay"),
        ({**HALF, "importance": "sparsegpt", "schedule": {"kind": "lottery"}}, "changes the weights that stay"),
        ({"target": {"macs": 0.5}, "importance": "sparsegpt"}, "does not score channels"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_fix(fields, message):
    with pytest.raises(ValidationError, match=message):
        Prune(**fields)
