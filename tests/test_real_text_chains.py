"""Real sentences, two phases of distillation and Chinese through the whole chain, by a recipe."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

pytest.importorskip("transformers")

from compress import Pipeline, Run
from compress.models.saved_network import load
from tests.test_text_chains import ENCODER, QUICK, scripted, sentence

INT8 = {"quantize": {"scheme": "dynamic_int8", "accept_if": {"keep": "quantized", "seconds": 0.05}}}
PRUNE = {"prune": {"target": {"macs": 0.8}, "recover": {**QUICK, "epochs": 1}, "timing_seconds": 0}}
PROFILE = {"profile": {"seconds": 0.1, "lengths": [8, 16]}}
TOKENIZER = {"train": "wordpiece", "vocabulary": 300}


def run_plan(plan: dict[str, Any], folder: Path) -> Run:
    (folder / "recipe.yaml").write_text(yaml.safe_dump(plan, allow_unicode=True), encoding="utf-8")
    return Pipeline.load(folder / "recipe.yaml").run(out=folder, device="cpu")


def write_table(path: Path, rows: list[tuple[str, str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text", "target"), *rows])


@pytest.mark.slow
def test_sentences_of_documentation_end_in_a_profiled_artifact(tmp_path: Path) -> None:
    data = {"source": "python_docs", "limit": 300, "evaluation_limit": 60, "tokenizer": TOKENIZER}
    plan = {
        "name": "docs",
        "task": "text_classification",
        "data": {**data, "lengths": {"typical": 16, "most": 32}},
        "teacher": {**ENCODER, "train": QUICK},
        "model": ENCODER,
        "stages": [{"distill": QUICK}, PRUNE, INT8, "export", PROFILE],
    }
    record = (result := run_plan(plan, tmp_path)).record
    assert [stage.name for stage in record.stages] == ["distill", "prune", "quantize", "export", "profile"]
    sizes = [stage.after["size_bytes"].value for stage in record.stages]
    assert sizes[1] < sizes[0]
    assert sizes[2] < 0.6 * sizes[1]
    assert {row.length for row in record.stages[-1].length_rows} == {8, 16}
    assert {row.subject for row in record.stages[-1].benchmark_rows} >= {"teacher", "student", "artifact"}
    artifact = next(result.folder.rglob("manifest.json")).parent
    assert any(name in scripted(artifact, "a queue of threads that wait for a lock") for name in record.spec.classes)


@pytest.mark.slow
def test_a_masked_language_model_is_distilled_on_plain_texts_and_then_for_the_task(tmp_path: Path) -> None:
    (tmp_path / "corpus.txt").write_text("\n\n".join(sentence(index)[2] for index in range(150)), encoding="utf-8")
    write_table(tmp_path / "t.csv", [(sentence(index)[2], "") for index in range(0, 150, 2)])
    general = {**QUICK, "data": {"source": "text:corpus.txt"}, "losses": ["embedding", "hidden_states", "attention_scores"]}
    plan = {
        "name": "masked",
        "task": "masked_language_model",
        "data": {"source": "csv:t.csv", "tokenizer": TOKENIZER, "lengths": {"typical": 12, "most": 24}},
        "teacher": {**ENCODER, "train": {**QUICK, "epochs": 6}},
        "model": ENCODER,
        "stages": [{"distill": general}, {"distill": {**QUICK, "epochs": 4, "losses": ["response", "task"]}}],
    }
    result = run_plan(plan, tmp_path)
    first, second = result.record.stages
    assert second.after["perplexity"].value < 0.8 * first.after["perplexity"].value
    assert not {"pipeline.at_chance", "pipeline.input_not_used", "pipeline.input_use_unknown"} & {
        warning.code for warning in first.warnings
    }
    assert any(row["loss"] == "hidden_states" for row in first.tables["matched_layers"])


@pytest.mark.slow
def test_a_teacher_with_another_tokenizer_teaches_its_answers(tmp_path: Path) -> None:
    from tests.data.text.toy_texts import toy_rows

    write_table(tmp_path / "t.csv", toy_rows(200))
    own = {"name": "own", "task": "text_classification", "data": {"source": "csv:t.csv", "tokenizer": TOKENIZER}}
    own["data"]["lengths"] = {"typical": 8, "most": 24}
    trained = run_plan(own | {"model": ENCODER, "stages": [{"train": {**QUICK, "epochs": 8}}, "export"]}, tmp_path)
    folder = next(path.parent for path in trained.folder.rglob("hugging_face/config.json"))
    plan = own | {
        "teacher": {"source": f"hf:{folder}"},
        "model": ENCODER,
        "stages": [{"distill": {**QUICK, "epochs": 8, "losses": ["response"]}}, PROFILE],
    }
    plan["data"]["tokenizer"] = {"train": "bpe", "vocabulary": 320}
    record = run_plan(plan, tmp_path).record
    assert record.teacher.after["accuracy"].value > 0.9
    assert "data.own_tokens" in {note.code for note in record.teacher.notes}
    assert record.stages[0].after["accuracy"].value > 0.85
    assert {row.subject for row in record.stages[-1].benchmark_rows} >= {"teacher", "artifact"}


THINGS, GOOD, BAD = (
    ("这本书", "电影", "酒店", "手机", "快递"),
    ("很好", "不错", "喜欢", "满意"),
    ("很差", "失望", "难用", "糟糕"),
)


@pytest.mark.slow
def test_chinese_reviews_end_in_a_script_with_the_answers_of_python_and_a_chinese_report(tmp_path: Path) -> None:
    rows = []
    for index in range(160):
        words = (GOOD, BAD)[index % 2]
        text = f"{THINGS[index % 5]}{words[index // 2 % 4]}，第{index % 9}次买" + "还会再来" * (index % 3)
        rows.append((text, ("好评", "差评")[index % 2]))
    write_table(tmp_path / "t.csv", rows)
    plan = {
        "name": "reviews",
        "task": "text_classification",
        "language": "zh",
        "data": {"source": "csv:t.csv", "tokenizer": TOKENIZER, "lengths": {"typical": 16, "most": 32}},
        "teacher": {**ENCODER, "train": {**QUICK, "epochs": 4}},
        "model": ENCODER,
        "stages": [{"distill": {**QUICK, "epochs": 4}}, PRUNE, "export", PROFILE],
    }
    result = run_plan(plan, tmp_path)
    artifact = next(path.parent for path in result.folder.rglob("infer.py"))
    assert len((artifact / "infer.py").read_text(encoding="utf-8").splitlines()) < 60
    network = load(result.folder / "artifacts" / "torch")
    texts = [text for text, _ in rows[:6]]
    program = (
        "import json, sys; sys.path.insert(0, '.'); import infer; feeds = infer.preprocess(json.loads(sys.argv[1]));"
        "outputs = infer.run(feeds); print(json.dumps([{k: v.tolist() for k, v in each.items()} for each in (feeds, outputs)]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, json.dumps(texts)], cwd=artifact, capture_output=True, text=True, check=True
    )
    feeds, outputs = json.loads(done.stdout)
    with torch.no_grad():
        found = network(*(torch.tensor(values) for values in feeds.values()))
    torch.testing.assert_close(found, torch.tensor(next(iter(outputs.values()))), atol=1e-4, rtol=1e-4)
    assert any(name in scripted(artifact, texts[0]) for name in ("好评", "差评"))
    page = (result.folder / "report.html").read_text(encoding="utf-8")
    assert "教师" in page
    assert "Points for review" not in page
