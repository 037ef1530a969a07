from pathlib import Path

import pytest

from compress.core.errors import StoreError
from compress.core.progress import NullReporter
from compress.core.record import StageRecord
from compress.core.run_directory import RunDirectory, key_of
from compress.core.run_record import RunRecord
from compress.pipeline.check_run import check_run
from compress.pipeline.publish import publish, rerender_report
from compress.pipeline.stage_output import StageOutput
from tests.pipeline.report.conftest import record

__all__ = ["record"]

KEY = key_of({"stage": "export"})


class Lines(NullReporter):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def line(self, text: str) -> None:
        self.lines.append(text)


class PublishedRun:
    """One finished stage with an artifact, published with the record of the report's tests."""

    def __init__(self, out: Path, record: RunRecord) -> None:
        self.record = record.model_copy(update={"stages": record.stages[:1]})
        self.directory = RunDirectory(out, "mine", "abc")
        self.folder = self.directory.path
        self.reporter = Lines()
        artifact = self.directory.work_dir(1, "export", KEY) / "artifacts" / "host" / "model.onnx"
        artifact.parent.mkdir(parents=True)
        artifact.write_bytes(b"network")
        stage = StageRecord(
            index=1, name="export", key=KEY, parent_key="", form="onnx", parameters={}, before={}, after={}, seed=0,
            versions={}, started="x", wall_time_s=0.0,
        )  # fmt: skip
        self.stage = self.directory.commit(stage)

    def publish(self) -> tuple[Path, ...]:
        output = StageOutput(self.stage, self.directory.folder(1, "export"), build_reference=NotImplemented)
        return publish(self.record, self.folder, [output], self.reporter)

    def contents(self) -> dict[str, bytes]:
        return {
            path.relative_to(self.folder).as_posix(): path.read_bytes() for path in self.folder.rglob("*") if path.is_file()
        }


@pytest.fixture
def run(tmp_path: Path, record: RunRecord) -> PublishedRun:
    run = PublishedRun(tmp_path, record)
    run.publish()
    return run


def test_a_published_run_is_whole_and_publishing_again_writes_nothing(run: PublishedRun) -> None:
    assert check_run(run.folder).whole
    assert check_run(run.folder / "01-export").whole
    before = {path: path.stat().st_mtime_ns for path in run.folder.rglob("*")}
    assert [path.name for path in run.publish()[:2]] == ["report.md", "report.html"]
    assert {path: path.stat().st_mtime_ns for path in run.folder.rglob("*")} == before
    assert run.reporter.lines == []


def test_every_file_that_was_changed_or_deleted_is_named_and_written_again(run: PublishedRun) -> None:
    before = run.contents()
    figure = next(name for name in before if name.startswith("figures/"))
    first, second = ("artifacts/host/model.onnx", "recipe.yaml", "report.html"), (figure, "record.json", "report.md")
    for deleted, changed in ((first, second), (second, first)):
        for name in (*deleted, *changed):
            (run.folder / name).unlink()  # it may share its bytes with the stage's file
        for name in changed:
            (run.folder / name).write_bytes(b"?" + before[name][1:])
        check = check_run(run.folder)
        assert (check.missing, check.changed, check.whole) == (tuple(sorted(deleted)), tuple(sorted(changed)), False)
        run.publish()
        assert check_run(run.folder).whole
        assert run.contents() == before
    assert all(name in line for line in run.reporter.lines for name in (*first, *second))


@pytest.mark.parametrize("contents", [b"", b"\xff"])
def test_a_damaged_list_is_named_and_written_again(run: PublishedRun, contents: bytes) -> None:
    before = run.contents()
    (run.folder / "SHA256SUMS").write_bytes(contents)
    assert check_run(run.folder).changed == ("SHA256SUMS",)
    run.publish()
    assert run.contents() == before


def test_a_file_that_nobody_wrote_is_named_and_does_not_ship(run: PublishedRun) -> None:
    (run.folder / "artifacts" / "host" / ".model.onnx.ab12").write_bytes(b"half")
    assert check_run(run.folder).unlisted == ("artifacts/host/.model.onnx.ab12",)
    (run.folder / "record.json").unlink()
    run.publish()
    assert check_run(run.folder).unlisted == ()


def test_trackers_and_cards_are_no_results(run: PublishedRun) -> None:
    for name in (".mlflow.json", "tensorboard/final/events", "card/README.md"):
        (run.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (run.folder / name).write_text("x")
    assert check_run(run.folder).unlisted == ()
    (run.folder / "cards").write_text("x")
    assert check_run(run.folder).unlisted == ("cards",)


def test_an_interrupted_stage_is_unfinished(run: PublishedRun) -> None:
    (run.directory.work_dir(2, "profile", KEY) / "half").write_bytes(b"")
    check = check_run(run.folder)
    assert (check.unfinished, check.whole, check.unlisted) == (("02-profile.partial",), False, ())


def test_a_lost_list_of_a_stage_is_missing(run: PublishedRun) -> None:
    (run.folder / "01-export" / "SHA256SUMS").unlink()
    assert check_run(run.folder).missing == ("01-export/SHA256SUMS",)


def test_a_folder_without_checksums_is_refused(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "gone"):
        with pytest.raises(StoreError, match="SHA256SUMS"):
            check_run(folder)


def test_a_report_is_not_drawn_from_a_record_that_was_changed(run: PublishedRun, tmp_path: Path) -> None:
    path = run.folder / "record.json"
    text = path.read_bytes()
    rerender_report(run.folder, None)
    assert check_run(run.folder).whole
    for changed in (text.replace(b"0.9", b"1.0"), text[:200] + b"\xff" + text[201:]):
        path.write_bytes(changed)
        with pytest.raises(StoreError, match=r"record\.json"):
            rerender_report(run.folder, tmp_path / "elsewhere")
    assert not (tmp_path / "elsewhere").exists()


def test_a_file_that_ships_shares_no_bytes_with_its_stage(run: PublishedRun) -> None:
    (run.folder / "artifacts" / "host" / "model.onnx").write_bytes(b"edited in place")
    assert (run.folder / "01-export" / "artifacts" / "host" / "model.onnx").read_bytes() == b"network"
    assert check_run(run.folder).changed == ("artifacts/host/model.onnx",)
