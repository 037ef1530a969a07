"""The card as the Hugging Face hub's own parser reads it. Nothing here uses a network."""

import math
from pathlib import Path

import pytest
from huggingface_hub import EvalResult, ModelCard, ModelCardData

from compress.core.licence_note import LicenceNote
from compress.core.run_record import RunRecord
from compress.pipeline.card.contents import artifact_files, weaknesses
from compress.pipeline.card.model_card import model_card
from compress.pipeline.report.markdown import escape
from compress.pipeline.report.tables import final_metrics
from tests.pipeline.card.conftest import EXAMPLE, HOSTILE


def load(record: RunRecord, folder: Path, **given: str) -> ModelCard:
    path = folder / "README.md"
    path.write_text(model_card(record, **given), encoding="utf-8")
    return ModelCard.load(path)


def test_the_hubs_parser_reads_the_results(example: RunRecord, tmp_path: Path) -> None:
    card = load(example, tmp_path)
    final = final_metrics(example)
    results = {result.metric_type: result for result in card.data.eval_results}
    assert set(results) == {"accuracy", "accuracy_top5", "calibration_error"}
    assert results["accuracy"].metric_value == final["accuracy"].value
    assert results["accuracy"].dataset_split == "test"
    assert card.data.model_name == "resnet50_to_mobilenet"
    assert card.data.license == "unknown"


def test_the_metadata_are_what_the_hubs_library_writes(example: RunRecord, tmp_path: Path) -> None:
    final = final_metrics(example)
    labels = {"accuracy": "accuracy", "accuracy_top5": "top-5 accuracy", "calibration_error": "calibration error"}
    expected = ModelCardData(
        license="apache-2.0",
        library_name="onnx",
        pipeline_tag="image-classification",
        base_model="me/net",
        tags=["compress", "onnx", "distillation", "pruning", "quantization"],
        metrics=list(labels),
        model_name="resnet50_to_mobilenet",
        eval_results=[
            EvalResult(
                task_type="image-classification",
                task_name="classification",
                dataset_type="digits",
                dataset_name="digits",
                dataset_split="test",
                metric_type=name,
                metric_name=label,
                metric_value=final[name].value,
            )
            for name, label in labels.items()
        ],
    )
    card = load(example, tmp_path, license_id="apache-2.0", base_model="me/net")
    assert card.data.to_dict() == expected.to_dict()


def test_the_text_has_every_stage_weakness_device_and_hash(example: RunRecord) -> None:
    text = model_card(example)
    assert all(f"**{stage.index} · {stage.name}**" in text for stage in example.every_stage)
    assert all(escape(line) in text for line in weaknesses(example))
    assert all(digest in text for files in artifact_files(example).values() for digest in files.values())
    accuracy = final_metrics(example)["accuracy"]
    low, high = math.floor(1e4 * (accuracy.low or 0.0)) / 100, math.ceil(1e4 * (accuracy.high or 0.0)) / 100  # outwards
    assert f"{100 * (accuracy.value or 0.0):.2f} % ({low:.2f}–{high:.2f} %) ● measured" in text
    assert "◐ estimated" in text
    assert "cd artifacts/host\npython infer.py image.png" in text
    assert "cd artifacts/desktop_gpu\nsh build_engine.sh" in text
    assert "compress pipeline recipe.yaml" in text
    assert "Energy of the computation: not measured: " in text


def test_the_resolved_recipe_of_the_card_loads(example: RunRecord) -> None:
    from compress.config.recipe import loads

    text = model_card(example).partition("Resolved recipe</summary>")[2].partition("```yaml\n")[2].partition("\n```")[0]
    assert loads(text) == loads((EXAMPLE.parent / "recipe.yaml").read_text(encoding="utf-8"))


def test_a_smoke_run_says_so_and_has_no_results(example: RunRecord, tmp_path: Path) -> None:
    card = load(example.model_copy(update={"smoke": True}), tmp_path)
    assert card.data.eval_results is None
    assert "smoke run" in card.text.partition("##")[0]
    assert "recipe.yaml --smoke" in card.text


def test_a_run_without_export_and_profile_says_what_is_not_there(example: RunRecord) -> None:
    text = model_card(example.model_copy(update={"stages": example.stages[:2], "recipe_text": ""}))
    assert "The run exported no artifact." in text
    assert "on a device are not measured" in text
    assert "started from Python" in text


def test_hostile_names_stay_text(hostile: RunRecord, tmp_path: Path) -> None:
    card = load(hostile, tmp_path)
    assert card.data.model_name.startswith("<script>alert('x')</script> | **bold** ```code```")
    assert "\n---\n# head" in card.data.model_name
    outside = "".join(card.text.split("````")[::2])  # the recipe stands in a block of code
    assert "<script" not in outside
    assert "**bold**" not in outside
    assert "\n# head" not in outside
    assert not {"\x1b", "\u202e"} & set(card.content)
    assert HOSTILE[-300:] in card.text


@pytest.mark.parametrize("name", ["on", "1_000", "null"])
def test_a_name_that_yaml_takes_for_a_number_stays_a_text(example: RunRecord, tmp_path: Path, name: str) -> None:
    assert load(example.model_copy(update={"name": name}), tmp_path).data.model_name == name


def test_licences_that_are_not_known_are_listed(example: RunRecord) -> None:
    notes = (
        LicenceNote(what="training data", origin="imagefolder:<photos>", licence="unknown", must_check=True),
        LicenceNote(what="torch", origin="pypi.org", licence="BSD-3-Clause"),
    )
    card = model_card(example.model_copy(update={"licences": notes}))
    line = next(line for line in card.splitlines() if "before you publish" in line)
    assert escape("training data, imagefolder:<photos>: unknown") in line
    assert "BSD-3-Clause" not in card
