"""The best compromises of a run and earlier runs."""

from pathlib import Path

from compress.core.record import Quantity
from compress.core.run_record import RunRecord
from compress.pipeline.report.charts.scatter import ChartPoint
from compress.pipeline.report.figures.pareto import RUNS, best_compromises, earlier_runs, pareto


def save(record: RunRecord, run: Path, **changes: object) -> None:
    run.mkdir(parents=True)
    record.model_copy(update=changes).save(run / "record.json")


def test_comparable_earlier_runs_beside_a_run_are_drawn(record: RunRecord, tmp_path: Path) -> None:
    runs = tmp_path / record.name
    save(record, runs / "this")
    save(record, runs / "later", started="2026-01-01T00:00:00Z")
    save(record, runs / "toy", started="2025-01-01T00:00:00Z", smoke=True)
    save(record, runs / "other_data", started="2025-01-02T00:00:00Z", data={"source": "letters"})
    save(record, runs / "other_machine", started="2025-01-02T00:00:00Z", environment={"processor": "another"})
    (runs / "damaged").mkdir()
    (runs / "damaged" / "record.json").write_text("{")
    assert pareto(record, runs / "this") is None
    save(record, runs / "earlier", started="2025-01-03T00:00:00Z")
    assert [other.started for other in earlier_runs(record, runs / "this")] == ["2025-01-03T00:00:00Z"]
    picture = pareto(record, runs / "this")
    assert picture is not None
    assert picture.svg.count('class="hollow c3"') == 1
    assert "run of 2025-01-03 00:00: 96.85 %" in picture.alternative
    assert "(1, small hollow points)" in picture.caption


def test_the_number_of_runs_is_bounded(record: RunRecord, tmp_path: Path) -> None:
    for index in range(RUNS + 3):
        save(record, tmp_path / f"run{index}", started=f"2025-01-01T00:00:{index:02d}Z")
    started = [other.started for other in earlier_runs(record, tmp_path / "this")]
    assert started[0] == f"2025-01-01T00:00:{RUNS + 2:02d}Z"
    assert len(started) == RUNS


def test_a_compromise_is_beaten_by_none() -> None:
    places = [(1.0, 0.5), (2.0, 0.9), (3.0, 0.8), (2.0, 0.7), (4.0, 0.95), (5.0, 0.95)]
    points = [
        ChartPoint(str(place), Quantity.measured(place[0], "ms"), Quantity.measured(place[1], "1"), "c0", "")
        for place in places
    ]
    assert [point.name for point in best_compromises(points, higher_is_better=True)] == [
        str(place) for place in ((1.0, 0.5), (2.0, 0.9), (4.0, 0.95))
    ]
    assert [point.name for point in best_compromises(points, higher_is_better=False)] == [str((1.0, 0.5))]
    assert best_compromises([], higher_is_better=True) == []
