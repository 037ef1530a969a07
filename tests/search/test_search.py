"""A whole search: its trials share stages, and the recipe of a trial finds them all finished."""

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from compress import Data, Pipeline, Profile, Prune, Search, SearchSettings, Train
from compress.config.search_settings import SearchSpace
from compress.core.errors import RecipeError, SearchError, StoreError
from compress.search.search import run_workers
from compress.search.shared_stages import SharedStages
from tests.search.small_search import RECIPE, write_recipe


class Lines:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def line(self, text: str) -> None:
        self.lines.append(text)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("search")
    search = Search(write_recipe(folder), trust_code=True)
    return search, search.run(out=folder / "reports", device="cpu"), folder


def test_all_trials_finish_and_train_once(finished):
    _, result, folder = finished
    assert result.rows[0].parameters == {"stages.prune": True, "stages.prune.target.macs": 0.7}  # as written
    assert [row.state for row in result.rows] == ["finished"] * 3
    computed = [name for row in result.rows for name in row.result.computed_s]
    assert computed.count("train") == computed.count("start") == 1
    assert len(list(folder.glob("reports/small.stages/*/01-train"))) == 1
    pruned = sum(row.parameters["stages.prune"] for row in result.rows)
    assert computed.count("prune") == pruned
    assert {"accuracy", "macs"} == set(result.rows[0].result.objectives)


def test_the_choice_is_measured_on_validation_and_shown_on_test(finished):
    _, result, _ = finished
    best = result.selection.best
    assert best is not None
    assert best.result.objectives["accuracy"].detail != best.result.test.detail
    assert "validation" in best.result.objectives["accuracy"].detail
    assert best.result.distances["size_bytes"] < 0


def test_the_recipe_of_every_trial_computes_nothing(finished, monkeypatch):
    search, result, folder = finished
    assert result.best_recipe == search.recipe_of(result.selection.best)
    for row in result.rows:
        path = folder / f"trial{row.number}.yaml"
        path.write_text(search.recipe_of(row))
        lines = Lines()
        run = Pipeline.load(path, trust_code=True).run(out=folder / "reports", device="cpu", reporter=lines)
        stages = [line for line in lines.lines if not line.startswith("   !")]
        assert len(stages) == len(run.record.stages) + 1
        assert all("(reused)" in line for line in stages)
        assert run.folder.name == row.result.digest
        assert run.record.stages[-1].after["accuracy_validation"] == row.result.objectives["accuracy"]


def test_the_same_command_again_runs_nothing(finished, monkeypatch):
    search, result, folder = finished
    monkeypatch.setattr(SharedStages, "find", None)
    again = search.run(out=folder / "reports", device="cpu")
    assert [row.parameters for row in again.rows] == [row.parameters for row in result.rows]


def test_a_recipe_without_search_is_refused(tmp_path):
    with pytest.raises(RecipeError, match="the recipe has no search"):
        Search(write_recipe(tmp_path, RECIPE.partition("search:")[0]), trust_code=True)


def test_a_budget_that_nothing_meets_has_a_nearest_miss(finished):
    _, _, folder = finished
    text = RECIPE.replace("size_mb: 1}", "size_mb: 0.0001}").replace("trials: 3", "trials: 1")
    impossible = Search(write_recipe(folder, text), trust_code=True)
    result = impossible.run(out=folder / "reports", device="cpu")
    assert result.selection.best is None
    assert result.best_recipe == ""
    assert result.selection.nearest.number == 0
    assert result.selection.nearest.result.distances["size_bytes"] > 1


def test_stages_of_a_pipeline_from_python_are_searched(tmp_path):
    torch.manual_seed(0)
    samples = TensorDataset(torch.rand(32, 3, 8, 8), torch.arange(32) % 2)
    data = Data.from_loaders(*(DataLoader(samples, batch_size=16) for _ in range(3)), classes=["a", "b"])
    net = nn.Sequential(nn.Conv2d(3, 32, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 2))
    stages = [Train(epochs=1), Prune(target={"macs": 0.7}), Profile(devices=("host",), seconds=0.1)]
    pipeline = Pipeline("mine", model=net, data=data, stages=stages)
    with pytest.raises(SearchError, match="settings="):
        Search(pipeline)
    space = {"stages.prune.target.macs": {"low": 0.3, "high": 0.8}}
    settings = SearchSettings(space=space, objectives=["accuracy", {"latency_ms": "host"}], trials=2, engine="random")
    result = Search(pipeline, settings=settings).run(out=tmp_path, device="cpu")
    assert [(row.state, row.reason) for row in result.rows] == [("finished", "")] * 2
    wide = {"stages.prune.target.macs": SearchSpace(low=0.3, high=1.5)}
    wrong = settings.model_copy(update={"space": wide})
    with pytest.raises(RecipeError, match=r"macs = 1\.5"):
        Search(pipeline, settings=wrong)


def test_a_study_that_is_not_there_is_not_created(tmp_path):
    search = Search(write_recipe(tmp_path), trust_code=True)
    for storage in (None, f"sqlite:///{tmp_path}/study.db"):
        with pytest.raises(StoreError, match="there is no study 'small' yet"):
            search.open(tmp_path / "reports", storage=storage, create=False)
    assert not list(tmp_path.glob("reports/*/*"))


def test_workers_that_cannot_work_end_the_search():
    with pytest.raises(StoreError, match="exit code 2"):
        run_workers(["search", "no-such-recipe"], 2, lambda: True)
