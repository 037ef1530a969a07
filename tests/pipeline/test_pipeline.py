"""The whole chain on real scans, at toy size, from Python."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import jsonschema
import pytest
import torch

import compress
from compress.core.progress import NullReporter
from compress.core.run_directory import RunDirectory
from compress.core.run_record import FORMAT_VERSION, RunRecord
from compress.core.sentences import render
from compress.pipeline.check_run import check_run
from compress.pipeline.pipeline import Pipeline
from compress.pipeline.record_schema import record_schema

RECIPE = """\
name: tiny
data: {source: digits, image_size: 32, limit: 96, validation: 0.1, test: 0.1}
model: {source: "torchvision:squeezenet1_1"}
teacher: {source: "torchvision:squeezenet1_0", train: {epochs: 1}}
stages:
  - distill: {epochs: 1, control: true}
  - prune: {target: {macs: 0.7}, schedule: {kind: linear, steps: 2}, recover: {epochs: 1}}
  - quantize: {calibration: {samples: 16}, accept_if: {keep: quantized}}
  - export: {formats: [onnx, tensorrt]}
  - profile: {devices: [host, jetson_orin_nano], seconds: 0.1}
budget: {accuracy_drop: 0.99, size_mb: 5, latency_ms: {host: 1000}}
"""


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipes") / "tiny.yaml"
    path.write_text(RECIPE)
    return path


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("reports")


@pytest.fixture(scope="module")
def finished(recipe: Path, out: Path):
    return Pipeline.load(recipe).run(out=out)


def contents(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(path): (path.stat().st_mtime_ns, path.stat().st_size) for path in folder.rglob("*") if path.name != ".lock"}


def test_every_stage_leaves_its_folder_record_and_model(finished):
    names = sorted(path.name for path in finished.folder.iterdir() if path.is_dir())
    assert names == [
        "00-start", "00-teacher", "01-distill", "02-prune", "03-quantize", "04-export", "05-profile", "artifacts", "figures",
    ]  # fmt: skip
    for stage in finished.record.stages:
        assert (finished.folder / f"{stage.index:02d}-{stage.name}" / "record.json").is_file()


def test_the_record_is_whole_and_round_trips(finished):
    loaded = RunRecord.load(finished.folder / "record.json")
    assert loaded == finished.record
    assert loaded.format_version == FORMAT_VERSION
    jsonschema.validate(json.loads((finished.folder / "record.json").read_bytes()), record_schema())
    assert [stage.name for stage in loaded.stages] == ["distill", "prune", "quantize", "export", "profile"]
    distill = loaded.stages[0]
    assert distill.results["control_accuracy"].how == "measured"
    brought = distill.results["accuracy_over_control"]
    assert brought.value == pytest.approx(distill.after["accuracy"].value - distill.results["control_accuracy"].value)
    assert any(warning.code == "pipeline.no_gain_over_control" for warning in distill.warnings) == (brought.low <= 0)


def test_the_chain_shrinks_and_every_score_is_marked(finished):
    distilled, pruned, quantized = finished.record.stages[:3]
    assert pruned.after["macs"].value <= 0.7 * distilled.after["macs"].value
    assert quantized.after["size_bytes"].value < 0.5 * pruned.after["size_bytes"].value
    for stage in finished.record.stages:
        for quantity in stage.after.values():
            assert quantity.how == "measured"
            assert quantity.detail
        assert stage.after["accuracy_drop"].low <= stage.after["accuracy_drop"].value <= stage.after["accuracy_drop"].high


def test_devices_out_of_reach_are_estimated_and_said_to_be(finished):
    rows = {(row.subject, row.device): row for row in finished.record.stages[-1].benchmark_rows}
    assert rows["artifact", "host"].quantities["latency_p50_ms"].how == "measured"
    assert rows["artifact", "jetson_orin_nano"].quantities["latency_p50_ms"].how == "estimated"


def test_the_artifact_ships_with_a_manifest_of_true_hashes(finished):
    from compress.core.atomic_files import sha256

    for manifest in finished.folder.glob("artifacts/*/manifest.json"):
        for name, entry in json.loads(manifest.read_text())["files"].items():
            assert sha256(manifest.parent / name) == entry["sha256"]
    assert (finished.folder / "artifacts" / "host" / "model.onnx").is_file()


def test_the_pruned_network_comes_back_from_the_run_and_its_files_are_checked(finished):
    names = {"network.json", "model.safetensors", "model.pt2"}
    folders = {folder: finished.folder / folder for folder in ("02-prune", "artifacts/torch")}
    loaded = {folder: compress.load(path) for folder, path in folders.items()}
    loaded["run"] = compress.load(finished.folder)
    program = torch.export.load(folders["artifacts/torch"] / "model.pt2").module()
    intact = check_run(finished.folder).intact
    images = torch.rand(3, 3, 32, 32)
    expected = loaded["02-prune"](images)
    torch.testing.assert_close(program(images), expected)
    for folder, path in folders.items():
        assert names <= {file.name for file in path.iterdir()}
        assert {f"{folder}/{name}" for name in names} <= set(intact)
    assert all(torch.equal(network(images), expected) for network in loaded.values())
    count = sum(parameter.numel() for parameter in loaded["run"].parameters())
    assert count == finished.record.stages[1].after["parameters"].value


def test_a_second_run_does_no_work(finished, recipe, out):
    before = contents(out)
    again = Pipeline.load(recipe).run(out=out)
    assert again.record == finished.record
    assert contents(out) == before


@pytest.mark.slow
def test_a_changed_late_stage_runs_alone(finished, recipe, out):
    changed = Pipeline.load(recipe, overrides=["stages.profile.seconds=0.11"]).run(out=out)
    assert changed.folder != finished.folder
    kept = [stage.started for stage in changed.record.stages[:4]]
    assert kept == [stage.started for stage in finished.record.stages[:4]]
    assert changed.record.stages[4].key != finished.record.stages[4].key


class Lines(NullReporter):
    """What the terminal is told."""

    def __init__(self):
        self.lines = []

    def line(self, text):
        """Keep it."""
        self.lines.append(text)


@pytest.mark.slow
def test_a_target_that_was_not_reached_is_told_on_the_terminal_and_when_found_finished(finished, out, tmp_path):
    short = tmp_path / "short.yaml"
    short.write_text(
        "\n".join(line for line in RECIPE.splitlines() if not line.startswith(("  - quant", "  - exp", "  - prof", "bu")))
    )
    for _ in range(2):
        reporter = Lines()
        overrides = ["stages.prune.max_ratio=0.05", "stages.prune.recover.epochs=0"]
        run = Pipeline.load(short, overrides=overrides).run(out=out, reporter=reporter)
        (told,) = (line for line in reporter.lines if "target not reached" in line)
        assert told.startswith("   ! target not reached: macs is 0.")
        assert told.removeprefix("   ! ") in map(render, run.record.stages[1].notes)


def test_the_teacher_is_reused_by_another_recipe(finished, recipe, out, tmp_path):
    other = tmp_path / "other.yaml"
    head = RECIPE.partition("  - prune")[0].replace("name: tiny", "name: other")
    other.write_text(head.replace("epochs: 1, control: true", "epochs: 1"))
    run = Pipeline.load(other).run(out=out)
    assert run.record.teacher.started == finished.record.teacher.started
    assert run.record.stages[0].key != finished.record.stages[0].key


def test_a_damaged_stage_is_computed_again(recipe, out, finished):
    weights = finished.folder / "03-quantize" / "model.onnx"
    weights.unlink()
    weights.write_bytes(b"damaged")
    lines = []

    class Listening:
        from compress.core.progress import NullReporter

        bar = NullReporter().bar
        line = lines.append

    again = Pipeline.load(recipe).run(out=out, reporter=Listening())
    assert any("model.onnx changed" in line for line in lines)
    assert again.record.stages[2].after["accuracy"] == finished.record.stages[2].after["accuracy"]


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["00-teacher", "01-distill", "02-prune", "03-quantize", "04-export", "05-profile"])
def test_a_run_killed_in_the_middle_of_a_stage_ends_with_the_same_weights(finished, recipe, tmp_path, stage):
    from compress.core.atomic_files import sha256

    command = [sys.executable, "-m", "compress", "pipeline", str(recipe), "--out", str(tmp_path), "--quiet"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and not list(tmp_path.glob(f"tiny/*/{stage}.partial")):
            time.sleep(0.02)
        time.sleep(0.3)
        process.send_signal(signal.SIGKILL)
    resumed = Pipeline.load(recipe).run(out=tmp_path)
    for folder in ("00-teacher", "01-distill", "02-prune"):
        name = f"{folder}/model.safetensors"
        assert sha256(resumed.folder / name) == sha256(finished.folder / name)
    assert sha256(resumed.folder / "03-quantize" / "model.onnx") == sha256(finished.folder / "03-quantize" / "model.onnx")


@pytest.mark.slow
def test_two_processes_of_one_launch_write_one_run(recipe, tmp_path):
    launch = ["-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", "29577", "-m", "compress"]
    command = [sys.executable, *launch, "pipeline", str(recipe), "--out", str(tmp_path), "--device", "cpu"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("5 profile") == 1
    (record,) = tmp_path.glob("tiny/*/record.json")
    assert len(RunRecord.load(record).stages) == 5


@pytest.mark.slow
def test_a_launch_that_would_start_one_process_of_two_is_refused(recipe, tmp_path):
    launch = ["-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2", "-m", "compress"]
    command = [sys.executable, *launch, "pipeline", str(recipe), "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "error: accelerate launch was told to start several processes, and started one" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_two_runs_on_one_directory(recipe, out, finished):
    from compress.core.errors import BusyError

    pipeline = Pipeline.load(recipe)
    with RunDirectory(out, pipeline.plan.name, pipeline.plan.digest).locked(), pytest.raises(BusyError, match="process"):
        pipeline.run(out=out)
