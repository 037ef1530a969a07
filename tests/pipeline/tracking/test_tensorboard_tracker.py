"""Event files, read back by TensorBoard's own reader."""

import sys
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from compress.core.errors import MissingPackageError
from compress.core.run_record import RunRecord
from compress.pipeline.tracking.tensorboard_tracker import TensorboardTracker
from compress.pipeline.tracking.values import final_values

pytestmark = pytest.mark.filterwarnings("ignore:.*:DeprecationWarning")


def read(folder: Path) -> EventAccumulator:
    events = EventAccumulator(str(folder))
    events.Reload()
    return events


def log(record: RunRecord, folder: Path) -> None:
    tracker = TensorboardTracker(folder)
    tracker.start(record.recipe)
    for stage in record.every_stage:
        tracker.log_stage(stage)
    tracker.finish(record)
    tracker.send_files(folder)
    tracker.stop("FAILED")


def test_curves_and_final_values_are_read_back(example: RunRecord, tmp_path: Path) -> None:
    log(example, tmp_path)
    log(example, tmp_path)  # a second run of the recipe writes the same again
    events = read(tmp_path / "tensorboard" / "01-distill")
    distill = example.stages[0]
    assert set(events.Tags()["scalars"]) == set(distill.curves)
    for name, curve in distill.curves.items():
        points = [(event.step, event.value) for event in events.Scalars(name)]
        assert [step for step, _ in points] == [int(x) for x in curve.x]
        assert [value for _, value in points] == pytest.approx(curve.y, rel=1e-6)  # event files are float32
    final = read(tmp_path / "tensorboard" / "final")
    values = final_values(example)
    assert {name: final.Scalars(name)[-1].value for name in final.Tags()["scalars"]} == pytest.approx(values, rel=1e-6)
    assert sorted(path.name for path in (tmp_path / "tensorboard").iterdir()) == [
        "00-teacher",
        "01-distill",
        "02-prune",
        "final",
    ]
    text = final.Tensors("recipe/text_summary")[0].tensor_proto.string_val[0].decode()
    assert "    name: resnet50_to_mobilenet\n" in text


def test_a_missing_package_gives_the_install_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(MissingPackageError, match=r"compress\[tensorboard\]"):
        TensorboardTracker(tmp_path)
