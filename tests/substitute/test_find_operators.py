import pytest

from compress.core.errors import ModelError
from tests.substitute.runs import run


def test_protected_layers_stay_and_are_reported(candidate, context):
    result = run(candidate, context, protect=("block*",))
    assert [row["layer"] for row in result.tables["replacements"]] == ["stem.2"]
    assert {skip.subject for skip in result.skipped if skip.code == "substitute.protected"} == {
        "block.body.2", "block.body.3", "block.body.5", "block.body.6",
    }  # fmt: skip
    with pytest.raises(ModelError, match=r"protect 'blok\*' matches no module"):
        run(candidate, context, protect=("blok*",))
