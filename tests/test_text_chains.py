"""Each task of texts through the whole chain, by a recipe, to an artifact that gives the same answers as Python."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

pytest.importorskip("transformers")

from compress import Pipeline, Run
from compress.models.saved_network import load

PEOPLE, TOWNS = ("anna", "bob", "carl", "dora", "emil"), ("oslo", "bern", "rome", "lima", "york")
QUICK = {"epochs": 2, "batch_size": 16, "lr": 0.003}
ENCODER = {"source": "encoder:tiny", "args": {"layers": 2, "width": 32, "heads": 2}}
COUNT = 120


def sentence(index: int) -> tuple[str, str, str]:
    """A person, a town and a sentence of both; sentences differ in length, so that batches do."""
    person, town = PEOPLE[index % 5], TOWNS[index // 5 % 5]
    return person, town, f"today number {index % 7} {person} drives to {town} again" + " and again" * (index % 4)


def table(task: str) -> tuple[list[str], list[list[object]]]:
    """Header and rows of a table for a task."""
    rows: list[list[object]] = []
    for index in range(COUNT):
        person, town, text = sentence(index)
        if task == "token_classification":
            rows.append([text, "O O O B-PER O O B-LOC O" + " O O" * (index % 4)])
        elif task == "question_answering":
            rows.append([f"where does {person} drive?", text, town])
        elif task in ("masked_language_model", "causal_language_model"):
            rows.append([text])
        else:
            _, other, second = sentence(index * 3 % COUNT)
            rows.append([text, second, float(town == other)])
    headers = {
        "token_classification": ["text", "target"],
        "question_answering": ["text", "second", "target"],
        "masked_language_model": ["text"],
        "causal_language_model": ["text"],
        "embedding": ["text", "second", "target"],
    }
    return headers[task], rows


def recipe(task: str, folder: Path) -> dict[str, Any]:
    header, rows = table(task)
    with (folder / "t.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    columns = {"text_pair": "second"} if "second" in header else {}
    return {
        "name": "texts",
        "task": task,
        "data": {
            "source": "csv:t.csv",
            "columns": columns,
            "tokenizer": {"train": "wordpiece", "vocabulary": 150},
            "lengths": {"typical": 12, "most": 24},
        },
        "teacher": {**ENCODER, "train": QUICK},
        "model": ENCODER,
        "stages": [
            {"train": QUICK},
            {"distill": QUICK},
            {"prune": {"target": {"macs": 0.9}, "recover": {**QUICK, "epochs": 1}, "timing_seconds": 0}},
            {"quantize": {"scheme": "dynamic_int8", "accept_if": {"keep": "quantized", "seconds": 0.05}}},
            "export",
        ],
        "budget": {"size_mb": 10},
    }


def run_recipe(task: str, folder: Path) -> Run:
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe(task, folder)), encoding="utf-8")
    return Pipeline.load(folder / "recipe.yaml").run(out=folder, device="cpu")


TASKS = {
    "token_classification": "span_f1",
    "question_answering": "answer_f1",
    "masked_language_model": "perplexity",
    "embedding": "spearman",
}


@pytest.mark.slow
def test_prompts_and_responses_go_through_the_chain_of_an_encoder_decoder(tmp_path):
    pytest.importorskip("rouge_score")
    pytest.importorskip("sacrebleu")
    rows = [
        dict(zip(("town", "person", "text"), (town, person, text), strict=True))
        for person, town, text in map(sentence, range(COUNT))
    ]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    small = {"source": "encoder_decoder:tiny", "args": {"layers": 1, "width": 32, "heads": 2}}
    plan = recipe("embedding", tmp_path) | {
        "task": {"sequence_to_sequence": {"generated": {"prompts": 8, "max_new_tokens": 6}}},
        "data": {
            "source": "jsonl:rows.jsonl",
            "columns": {"prompt": "text", "response": "town"},
            "tokenizer": {"train": "bpe", "vocabulary": 300, "lowercase": False},
            "lengths": {"typical": 12, "most": 32},
        },
        "teacher": {**small, "train": {**QUICK, "epochs": 4}},
        "model": small,
    }
    written = {"teacher": 1.0, "max_new_tokens": 6}
    distill = {**QUICK, "losses": ["token_divergence", "hidden_states"], "generation": written}
    plan["stages"][:2] = [{"distill": distill}]  # without `train`, whose network would be exported and scored too
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(plan), encoding="utf-8")
    result = Pipeline.load(tmp_path / "recipe.yaml").run(out=tmp_path, device="cpu")
    for stage in result.record.stages:
        assert stage.after["perplexity"].value > 0
        assert {"exact_match", "rouge_l", "bleu"} <= stage.results.keys() or stage.name == "export"
    assert result.record.stages[1].after["macs"].value < result.record.stages[0].after["macs"].value
    artifact = next(result.folder.rglob("manifest.json")).parent
    assert (artifact / "decoder.onnx").is_file()
    assert isinstance(scripted(artifact, sentence(3)[2]), str)


def scripted(artifact: Path, *texts: str) -> str:
    """What the script of an artifact prints."""
    command = [sys.executable, "infer.py", *texts]
    return subprocess.run(command, cwd=artifact, capture_output=True, text=True, check=True).stdout


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_the_chain_ends_in_an_artifact_with_the_answers_of_python(task, tmp_path):
    result = run_recipe(task, tmp_path)
    record = result.record
    assert record.metric.name == TASKS[task]
    assert [stage.name for stage in record.stages] == ["train", "distill", "prune", "quantize", "export"]
    for stage in record.stages:
        assert stage.after[TASKS[task]].value is not None
        assert stage.after["latency_ms"].value > 0
    assert record.stages[2].after["macs"].value < record.stages[1].after["macs"].value
    artifact = next(result.folder.rglob("manifest.json")).parent
    assert len((artifact / "infer.py").read_text(encoding="utf-8").splitlines()) < 80
    _, town, text = sentence(3)
    given = {
        "token_classification": [text],
        "question_answering": ["where does dora drive?", text],
        "masked_language_model": [text.replace(town, "[MASK]")],
        "embedding": [text],
    }[task]
    printed = scripted(artifact, *given)
    assert printed.strip() or task == "token_classification"
    if task == "masked_language_model":
        assert len(printed.splitlines()) == 5
    if task == "embedding":
        vector = np.array(json.loads(printed))
        assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-4)
        assert -1 <= float(scripted(artifact, text, "another text")) <= 1


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_the_script_of_the_float_network_has_the_outputs_of_python(task, tmp_path):
    plan = recipe(task, tmp_path)
    plan["stages"] = [{"train": {**QUICK, "epochs": 1}}, "export"]
    del plan["teacher"]
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(plan), encoding="utf-8")
    result = Pipeline.load(tmp_path / "recipe.yaml").run(out=tmp_path, device="cpu")
    artifact = next(path.parent for path in result.folder.rglob("infer.py"))
    network = load(next(path.parent for path in result.folder.rglob("network.json")))
    texts = [sentence(index)[2] for index in range(5)] + ["a short one"]
    given: list[Any] = [("where?", text) for text in texts] if task == "question_answering" else texts
    program = (
        "import json, sys; sys.path.insert(0, '.'); import infer; feeds = infer.preprocess(json.loads(sys.argv[1]));"
        "outputs = infer.run(feeds); print(json.dumps([{k: v.tolist() for k, v in each.items()} for each in (feeds, outputs)]))"
    )
    command = [sys.executable, "-c", program, json.dumps(given)]
    done = subprocess.run(command, cwd=artifact, capture_output=True, text=True, check=True)
    feeds, outputs = json.loads(done.stdout)
    with torch.no_grad():
        found = network(*(torch.tensor(values) for values in feeds.values()))
    for values, expected in zip(found if isinstance(found, tuple) else (found,), outputs.values(), strict=True):
        torch.testing.assert_close(values, torch.tensor(expected), atol=1e-4, rtol=1e-4)


@pytest.mark.slow
def test_a_decoder_is_distilled_to_half_its_layers_quantized_and_continues_a_text(tmp_path):
    plan = recipe("causal_language_model", tmp_path)
    decoder = {"source": "decoder:tiny", "args": {"layers": 4, "width": 32, "heads": 2, "key_value_heads": 1}}
    plan |= {
        "teacher": {**decoder, "train": {**QUICK, "epochs": 6}},
        "model": {"source": "teacher", "keep_layers": {"count": 2}},
        "stages": [
            {"distill": {**QUICK, "losses": [{"token_divergence": {"kind": "reverse"}}, {"task": {}}]}},
            {"quantize": {"scheme": "dynamic_int8", "accept_if": {"keep": "quantized", "seconds": 0.05}}},
            "export",
        ],
    }
    plan["data"]["tokenizer"] = {"train": "bpe", "vocabulary": 300, "lowercase": False}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(plan), encoding="utf-8")
    result = Pipeline.load(tmp_path / "recipe.yaml").run(out=tmp_path, device="cpu")
    record = result.record
    assert [stage.name for stage in record.stages] == ["distill", "quantize", "export"]
    assert record.metric.name == "perplexity"
    assert not record.metric.higher_is_better
    before, after = (record.stages[0].before["perplexity"].value, record.stages[-1].after["perplexity"].value)
    assert 1 < after < before
    assert "bits per byte" in next(result.folder.rglob("report.html")).read_text(encoding="utf-8")
    artifact = next(result.folder.rglob("manifest.json")).parent
    assert len((artifact / "infer.py").read_text(encoding="utf-8").splitlines()) < 80
    assert scripted(artifact, "today number 3 dora").strip()


@pytest.mark.slow
def test_the_teacher_answers_copies_of_texts_and_the_next_run_finds_them(tmp_path: Path) -> None:
    augment = [{"embedding_neighbours": {"copies": 3}}, {"random_swap": {"copies": 1}}]
    stage = {**QUICK, "losses": [{"response": {}}, {"task": {}}], "augment": augment}
    plan = recipe("masked_language_model", tmp_path) | {"task": "text_classification", "stages": [{"distill": stage}]}
    with (tmp_path / "t.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["text", "target"], *([sentence(n)[2], sentence(n)[0]] for n in range(COUNT))])
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(plan), encoding="utf-8")
    run = Pipeline.load(tmp_path / "recipe.yaml").run(out=tmp_path, device="cpu")
    (copies,) = tmp_path.rglob("augmented-*.jsonl")
    lines = [json.loads(line) for line in copies.read_text(encoding="utf-8").splitlines()]
    assert {line["labelled"] for line in lines} == {False, True}
    assert "data.texts_augmented" in {note.code for note in run.record.stages[-1].notes}
    made = copies.stat().st_mtime_ns
    Pipeline.load(tmp_path / "recipe.yaml").run(out=tmp_path, device="cpu")
    assert copies.stat().st_mtime_ns == made
