import json
import subprocess
import sys
from pathlib import Path

import pytest

from compress.core.errors import BusyError, StoreError
from compress.core.record import StageRecord
from compress.core.run_directory import RunDirectory, key_of, validate_stage

KEY = key_of({"what": "a stage"})


def record(key: str = KEY, index: int = 1, name: str = "prune") -> StageRecord:
    return StageRecord(
        index=index, name=name, key=key, parent_key="", form="torch", parameters={}, before={}, after={},
        seed=0, versions={}, started="2026-01-01T00:00:00+00:00", wall_time_s=1.0,
    )  # fmt: skip


def finish(store: RunDirectory, key: str = KEY, contents: bytes = b"weights") -> Path:
    (store.work_dir(1, "prune", key) / "model.bin").write_bytes(contents)
    store.commit(record(key))
    return store.folder(1, "prune")


def test_a_key_changes_with_every_part_and_not_with_their_order():
    assert key_of({"a": 1, "b": 2}) == key_of({"b": 2, "a": 1})
    assert len({key_of({"a": 1}), key_of({"a": 2}), key_of({"a": "1"}), key_of({"b": 1})}) == 4


def test_a_committed_stage_is_found_again_whole(tmp_path):
    store = RunDirectory(tmp_path, "mine", "abc")
    folder = finish(store)
    found = store.find(1, "prune", KEY)
    assert found is not None
    assert set(found.files) == {"model.bin"}
    assert {path.name for path in folder.iterdir()} == {"model.bin", "record.json", "SHA256SUMS"}


def test_nothing_is_found_before_a_stage_is_committed(tmp_path):
    store = RunDirectory(tmp_path, "mine", "abc")
    (store.work_dir(1, "prune", KEY) / "model.bin").write_bytes(b"half")
    assert store.find(1, "prune", KEY) is None


def test_an_interrupted_attempt_is_continued_only_under_the_same_key(tmp_path):
    store = RunDirectory(tmp_path, "mine", "abc")
    (store.work_dir(1, "prune", KEY) / "step").write_text("one")
    assert (store.work_dir(1, "prune", KEY) / "step").read_text() == "one"
    assert not (store.work_dir(1, "prune", key_of({"other": 1})) / "step").exists()


def test_a_changed_byte_is_found_and_named(tmp_path):
    store = RunDirectory(tmp_path, "mine", "abc")
    folder = finish(store)
    (folder / "model.bin").write_bytes(b"weighty")
    assert "model.bin" in str(validate_stage(folder, KEY))
    assert store.find(1, "prune", KEY) is None
    assert "model.bin changed" in store.damage["prune"]


def test_a_record_that_is_not_json_counts_as_damaged(tmp_path):
    store = RunDirectory(tmp_path, "mine", "abc")
    folder = finish(store)
    (folder / "record.json").write_text(json.dumps({"key": KEY}))
    assert store.find(1, "prune", KEY) is None


def test_a_stage_is_taken_over_from_another_run_and_survives_its_removal(tmp_path):
    old = finish(RunDirectory(tmp_path, "mine", "old"))
    store = RunDirectory(tmp_path, "mine", "new")
    found = store.find(3, "prune", KEY)
    assert found is not None
    assert found.index == 3
    (old / "model.bin").unlink()
    assert (store.folder(3, "prune") / "model.bin").read_bytes() == b"weights"


def test_an_edit_in_one_run_does_not_change_the_run_it_was_taken_from(tmp_path):
    old = finish(RunDirectory(tmp_path, "mine", "old"))
    store = RunDirectory(tmp_path, "mine", "new")
    assert store.find(1, "prune", KEY) is not None
    with (store.folder(1, "prune") / "model.bin").open("r+b") as file:
        file.write(b"W")
    assert (old / "model.bin").read_bytes() == b"weights"
    assert RunDirectory(tmp_path, "mine", "old").own(1, "prune", KEY) is not None


def test_a_stage_is_not_mistaken_for_its_child(tmp_path):
    store = RunDirectory(tmp_path, "mine", "abc")
    child = key_of({"parent": KEY})
    store.work_dir(2, "quantize", child)
    store.commit(record(child, 2, "quantize").model_copy(update={"parent_key": KEY}))
    assert store.find(1, "prune", KEY) is None


def test_fresh_moves_earlier_work_aside_and_uses_none_of_it(tmp_path):
    with RunDirectory(tmp_path, "mine", "abc").locked():
        finish(RunDirectory(tmp_path, "mine", "abc"))
    fresh = RunDirectory(tmp_path, "mine", "abc", reuse=False)
    with fresh.locked():
        assert fresh.find(1, "prune", KEY) is None
    assert (tmp_path / "mine" / "abc.old-1" / "01-prune" / "model.bin").read_bytes() == b"weights"


def test_a_second_process_is_told_who_holds_the_run(tmp_path):
    code = (
        "import sys; from pathlib import Path; from compress.core.run_directory import RunDirectory\n"
        f"with RunDirectory(Path({str(tmp_path)!r}), 'mine', 'abc').locked():\n"
        "    print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdin is not None
        holder.stdout.readline()
        with pytest.raises(BusyError, match=rf"process {holder.pid}, since"), RunDirectory(tmp_path, "mine", "abc").locked():
            pass
        holder.stdin.close()
    with RunDirectory(tmp_path, "mine", "abc").locked():
        pass


def test_an_output_folder_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(StoreError, match="--out"):
        RunDirectory(tmp_path / "out", "mine", "abc")


def test_an_unwritable_folder_is_refused(tmp_path):
    tmp_path.chmod(0o555)
    code = (
        "import os, sys; from pathlib import Path\n"
        "from compress.core.run_directory import RunDirectory; from compress.core.errors import StoreError\n"
        "if os.geteuid() == 0: os.setegid(65534); os.seteuid(65534)\n"
        "try: RunDirectory(Path(sys.argv[1]), 'mine', 'abc')\n"
        "except StoreError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert "choose another with --out" in done.stdout


def test_a_changed_record_is_damage(tmp_path):
    store = RunDirectory(tmp_path, "mine", "abc")
    folder = finish(store)
    path = folder / "record.json"
    path.write_text(path.read_text().replace('"wall_time_s": 1.0', '"wall_time_s": 2.0'))
    assert store.find(1, "prune", KEY) is None
    assert "record.json changed" in store.damage["prune"]


@pytest.mark.parametrize("place", ["mine/abc", "other/def"])
@pytest.mark.parametrize("name", ["record.json", "SHA256SUMS", "model.bin"])
@pytest.mark.parametrize("contents", [b'{"a": "\xff"}', f'{{"{KEY}": "\xff"}}'.encode("latin-1"), b"", None])
def test_damage_of_a_run_is_its_own(tmp_path, place, name, contents):
    store = RunDirectory(tmp_path, "mine", "abc")
    run, digest = place.split("/")
    path = finish(RunDirectory(tmp_path, run, digest)) / name
    if contents is None:
        path.unlink()
        path.mkdir()
    else:
        path.write_bytes(contents)
    assert store.find(1, "prune", KEY) is None
    assert ("prune" in store.damage) == (run == "mine")
    assert finish(store)
    assert store.find(1, "prune", KEY) is not None


def test_a_marker_that_is_no_text_starts_the_stage_over(tmp_path):
    store = RunDirectory(tmp_path, "mine", "abc")
    folder = store.work_dir(1, "prune", KEY)
    (folder / "step").write_text("one")
    (folder / ".key").write_bytes(b"\xff")
    assert not (store.work_dir(1, "prune", KEY) / "step").exists()


def test_half_written_files_do_not_stay(tmp_path):
    store = RunDirectory(tmp_path, "mine", "abc")
    folder = store.work_dir(1, "prune", KEY)
    (folder / "artifacts").mkdir()
    half = folder / "artifacts" / ".model.onnx.ab12"  # what a kill inside an atomic write leaves
    half.write_bytes(b"half")
    store.work_dir(1, "prune", KEY)
    assert not half.exists()
    half.write_bytes(b"half")
    (folder / "model.bin").write_bytes(b"weights")
    store.commit(record())
    assert {path.name for path in store.folder(1, "prune").rglob("*")} == {
        "artifacts",
        "model.bin",
        "record.json",
        "SHA256SUMS",
    }


def test_only_listed_files_are_taken_over(tmp_path):
    folder = finish(RunDirectory(tmp_path, "other", "def"))
    (folder / "stray").write_bytes(b"not of the stage")
    store = RunDirectory(tmp_path, "mine", "abc")
    assert store.find(1, "prune", KEY) is not None
    assert {path.name for path in store.folder(1, "prune").iterdir()} == {"model.bin", "record.json", "SHA256SUMS"}


def test_a_lock_that_cannot_be_opened_is_a_clear_error(tmp_path):
    store = RunDirectory(tmp_path, "mine", "abc")
    (store.path / ".lock").mkdir()
    with pytest.raises(StoreError, match="cannot lock the run folder"), store.locked():
        pass
