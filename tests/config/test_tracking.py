import importlib.util

import pytest

from compress.config.recipe import digest, loads
from compress.config.tracking import Mlflow, Tracking
from compress.core.errors import RecipeError
from tests.config.small_recipe import SMALL

SECRET = "pa55word"  # noqa: S105  # for the tests


@pytest.mark.parametrize(
    "uri",
    [
        f"http://me:{SECRET}@tracker:5000",
        f"https://{SECRET}@tracker",
        f"postgresql://me:{SECRET}@db/runs",
        f"http://tracker?access_token={SECRET}",
        f"mysql://db/runs?user=me&password={SECRET}",
    ],
)
def test_credentials_in_a_recipe_are_refused_and_not_repeated(uri: str) -> None:
    with pytest.raises(RecipeError, match="MLFLOW_TRACKING_PASSWORD") as refusal:
        loads(f'{SMALL}\ntracking: {{mlflow: {{uri: "{uri}"}}}}\n')
    assert SECRET not in str(refusal.value)
    assert [issue.path for issue in refusal.value.issues] == ["tracking.mlflow.uri"]


@pytest.mark.parametrize(
    "uri", ["http://127.0.0.1:5000", "https://tracker/a@b", "sqlite:///runs.db", "file:runs", "databricks"]
)
def test_other_addresses_are_taken(uri: str) -> None:
    assert Mlflow(uri=uri).uri == uri


def test_the_digest_of_a_recipe_does_not_depend_on_its_trackers() -> None:
    tracked = loads(f"{SMALL}\ntracking: {{tensorboard: true, mlflow: {{}}}}\n")
    assert tracked.tracking == Tracking(mlflow=Mlflow(), tensorboard=True)
    assert digest(tracked) == digest(loads(SMALL))


def test_a_tracker_whose_package_is_missing_is_an_issue(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    absent = ("mlflow", "tensorboard")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, package=None: None if name in absent else find(name, package))
    assert Tracking().packages == ()
    with pytest.raises(RecipeError) as refusal:
        loads(f"{SMALL}\ntracking: {{tensorboard: true, mlflow: {{}}}}\n")
    found = {issue.path: issue.message for issue in refusal.value.issues}
    assert set(found) == {"tracking.mlflow", "tracking.tensorboard"}
    assert "compress[mlflow]" in found["tracking.mlflow"]


def test_a_wrong_key_is_refused() -> None:
    with pytest.raises(RecipeError, match="tensorbord"):
        loads(f"{SMALL}\ntracking: {{tensorbord: true}}\n")
