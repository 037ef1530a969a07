"""Settings of the stage, and a run: draft, updates, record, artifact or the reason against it."""

import json
from dataclasses import replace

import pytest
from pydantic import ValidationError

from compress.backends.decoder.sampling import Sampler
from compress.core.errors import CompressError
from compress.core.sentences import render
from compress.core.stage import Candidate, Context
from compress.distill.speculative.stage import OnlineUpdates, Speculative
from compress.export.decoder_script import speculative_script
from compress.export.run_artifact import is_own_script
from compress.export.stream_text import GenerationTimes
from compress.export.text_generator import TextGenerator
from tests.export.decoder_artifacts import TASK, build_artifact, text_data

DRAFT = {"source": "decoder:tiny", "args": {"layers": 1, "width": 32, "heads": 2, "key_value_heads": 1, "feed_forward": 32}}
QUICK = {
    "draft": DRAFT, "train": {"epochs": 1, "batch_size": 16}, "prompts": 4, "max_new_tokens": 12, "most_drafted": 2,
}  # fmt: skip


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported")
    artifact, candidate = build_artifact(folder)
    return artifact, candidate


def context_in(folder, candidate):
    folder.mkdir()
    return Context(
        data=text_data(), task=TASK.for_spec(candidate.spec), folder=folder, cache=folder / "cache", base=folder, device="cpu",
        load_float_network=candidate.network,
    )  # fmt: skip


def run(exported, folder, monkeypatch, ratio, **settings):
    from compress.distill.speculative import build_pair

    artifact, candidate = exported
    real = build_pair.compare_speed
    monkeypatch.setattr(build_pair, "compare_speed", lambda *given, **named: real(*given, **named)._replace(ratio=ratio))
    context = context_in(folder, candidate)
    plain = replace(candidate, module=None, files={"onnxruntime": artifact.parent.parent / "float.onnx"})
    return Speculative(**{**QUICK, **settings}).run(plain, context), context


def test_a_faster_pair_ships_with_its_script_and_writes_the_text_of_the_target(exported, tmp_path, monkeypatch):
    online = OnlineUpdates(requests=8, update_every=4)
    outcome, context = run(exported, tmp_path / "stage", monkeypatch, 1.5, online=online)
    assert {"acceptance", "acceptance_before_updates", "identical_texts", "speculative_speedup", "draft_cost"} <= set(
        outcome.results
    )
    assert outcome.results["identical_texts"].value == 1
    assert [row["proposals_per_round"] for row in outcome.tables["draft_lengths"]] == [1, 2]
    assert [note.code for note in outcome.notes if note.code.startswith("speculative")] == [
        "speculative.served",
        "speculative.shipped",
    ]
    folder = context.folder / "artifacts" / "host"
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["speculative"]["draft"] == "draft.onnx"
    assert {"draft.onnx", "model.onnx", "infer.py", "speculative.json"} <= manifest["files"].keys()
    assert is_own_script(folder)
    pair, alone = TextGenerator(folder), TextGenerator(exported[0])
    assert pair.pair is not None
    texts = []
    for generator in (pair, alone):
        times = GenerationTimes(3)
        tokens = generator.prompt_tokens("river stone cloud")
        texts.append(("".join(generator.stream(tokens, Sampler(), most=20, times=times)), times.tokens))
    assert texts[0] == texts[1]
    assert len(texts[0][1]) == 20


def test_a_slower_pair_is_kept_off_with_the_reason(exported, tmp_path, monkeypatch):
    outcome, context = run(exported, tmp_path / "stage", monkeypatch, 0.8)
    (fact,) = [note for note in outcome.notes if note.code.startswith("speculative")]
    assert "the draft is not shipped: measured speed-up 0.80" in render(fact)
    assert not (context.folder / "artifacts").exists()


def test_without_a_torch_network_there_is_nothing_to_learn_from(exported, tmp_path):
    artifact, candidate = exported
    context = replace(context_in(tmp_path / "stage", candidate), load_float_network=None)
    plain = Candidate(candidate.spec, files={"onnxruntime": artifact.parent.parent / "float.onnx"})
    with pytest.raises(CompressError, match="begin with one"):
        Speculative(**QUICK).run(plain, context)


def test_settings():
    with pytest.raises(ValidationError, match="a network of its own"):
        Speculative(draft={"source": "teacher"})
    with pytest.raises(ValidationError, match="proposes nothing useful"):
        Speculative(draft=DRAFT, train=None)
    small = Speculative(draft=DRAFT, online={}).smoke()
    assert (small.prompts, small.max_new_tokens, small.train.epochs, small.online.requests) == (4, 16, 1, 8)
    assert "draft.onnx" in speculative_script(TASK.complete_spec(text_data().spec))


def test_served_requests_are_those_of_data_of_their_own(exported, tmp_path):
    from compress.distill.speculative.build_pair import _requests

    _, candidate = exported
    context = context_in(tmp_path / "stage", candidate)
    lines = ["stone " * count + "river cloud" for count in range(1, 31)] * 4  # equal prompts are one request
    (context.base / "served.txt").write_text("\n".join(lines), encoding="utf-8")
    online = OnlineUpdates(data={"source": "text:served.txt"}, requests=3)
    found = _requests(Speculative(**QUICK, online=online), candidate, context)
    own = _requests(Speculative(**QUICK, online={"requests": 3}), candidate, context)
    assert (len(found.served), len(found.held_out)) == (3, 4)
    assert found.served != own.served
