import threading
import time
from pathlib import Path

import pytest

from compress.core.record import StageRecord
from compress.core.run_directory import RunDirectory
from compress.search.shared_stages import SharedStages

KEY = "k" * 64


def stage(key: str = KEY, name: str = "prune") -> StageRecord:
    return StageRecord(
        index=2, name=name, key=key, parent_key="", form="torch", parameters={}, before={}, after={}, seed=0, versions={},
        started="", wall_time_s=1.5,
    )  # fmt: skip


def compute(stages: RunDirectory, key: str = KEY) -> None:
    folder = stages.work_dir(2, "prune", key)
    (folder / "weights").write_text(key)
    stages.commit(stage(key))


def test_a_stage_is_computed_by_one_trial_and_found_by_all(tmp_path):
    one = SharedStages(tmp_path, "toy", "search-a")
    assert one.find(2, "prune", KEY) is None
    compute(one)
    assert one.computed_s == {"prune": 1.5}
    two = SharedStages(tmp_path, "toy", "search-b")
    assert two.find(2, "prune", KEY).key == KEY
    assert two.folder(2, "prune") == one.folder(2, "prune")
    assert not two.computed_s


def test_the_times_of_two_stages_of_one_name_are_added(tmp_path):
    stages = SharedStages(tmp_path, "toy", "search-a")
    for key in (KEY, "j" * 64):
        stages.find(2, "prune", key)
        compute(stages, key)
    assert stages.computed_s == {"prune": 3.0}


def test_a_pipeline_finds_the_stage_and_a_search_that_of_a_pipeline(tmp_path):
    shared = SharedStages(tmp_path, "toy", "search-a")
    shared.find(2, "prune", KEY)
    compute(shared)
    run = RunDirectory(tmp_path, "toy", "digest")
    assert run.find(2, "prune", KEY).key == KEY
    other = "j" * 64
    assert run.find(2, "prune", other) is None
    compute(run, other)
    assert shared.find(2, "prune", other).key == other
    assert (shared.folder(2, "prune") / "weights").read_text() == other
    assert SharedStages(tmp_path, "another", "search-c").find(2, "prune", other) is not None


def test_a_second_worker_waits_for_the_first(tmp_path):
    first, second = (SharedStages(tmp_path, "toy", "search-a") for _ in range(2))
    assert first.find(2, "prune", KEY) is None
    found: list[StageRecord | None] = []
    thread = threading.Thread(target=lambda: found.append(second.find(2, "prune", KEY)))
    thread.start()
    time.sleep(0.2)
    assert not found
    compute(first)
    thread.join(10)
    assert found[0] is not None


def test_a_stage_that_fails_is_released(tmp_path):
    first, second = (SharedStages(tmp_path, "toy", "search-a") for _ in range(2))
    first.find(2, "prune", KEY)
    first.close()
    assert second.find(2, "prune", KEY) is None
    second.close()


def test_a_damaged_stage_is_computed_again(tmp_path):
    stages = SharedStages(tmp_path, "toy", "search-a")
    stages.find(2, "prune", KEY)
    compute(stages)
    Path(stages.folder(2, "prune") / "weights").write_text("changed")
    assert stages.find(2, "prune", KEY) is None
    assert "damaged" in stages.damage["prune"]
    compute(stages)
    with pytest.raises(KeyError):
        stages.folder(3, "prune")
