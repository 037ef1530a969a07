"""Data of a stage of its own: samples without labels, with the tokens of the recipe's data."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from compress.config.task_requirements import check_task
from compress.core.errors import DataError
from compress.core.fact import Fact
from compress.core.sentences import render
from compress.core.stage import Candidate
from compress.data.batch import UNLABELLED, Batch
from compress.data.factory import load_data
from compress.data.settings import DataSettings
from compress.data.text.pair_split import PAIR
from compress.distill.stage import Distill
from compress.tasks.classification import Classification
from compress.tasks.regression import Regression
from compress.tasks.text.embedding import TextEmbedding
from compress.tasks.text.masked_language_model import MaskedLanguageModel
from compress.train.own_samples import _absent, with_all_labels, with_own_samples
from tests.distill.losses.encoders.encoder_checks import encoder


def write(path, samples=40, seed=0, **more):
    rng = np.random.default_rng(seed)
    ids = rng.integers(5, 40, (samples, 6))
    mask = np.ones_like(ids)
    np.savez(path, input_ids=ids, attention_mask=mask, target=rng.integers(0, 3, samples), **more)
    return f"npz:{path.name}"


@pytest.fixture
def context(make_context, tmp_path):
    source = write(tmp_path / "labelled.npz")
    data = load_data(DataSettings(source=source), base=tmp_path)
    return make_context(data, base=tmp_path)


def test_training_samples_lose_their_labels_and_the_other_splits_stay(context, tmp_path):
    source = write(tmp_path / "corpus.npz", samples=90, seed=1)
    data = with_own_samples(context, DataSettings(source=source))[0].data
    assert 80 < len(data.train) < 90
    for batches in (data.train.ordered(16), data.train.epoch(0, 16, 0), data.train.view(0, 16)):
        assert all((batch.target == UNLABELLED).all() and batch.samples is not None for batch in batches)
    assert data.validation is context.data.validation
    assert data.test is context.data.test
    assert data.spec == context.data.spec
    assert data.train.fingerprint != context.data.train.fingerprint
    assert data.train.batches(16) == len(list(data.train.epoch(0, 16, 0)))


def test_labels_in_the_file_change_nothing(context, tmp_path):
    targets = []
    for target in (0, 1):
        file = dict(np.load(tmp_path / "labelled.npz"))
        file["target"] = np.where(np.arange(40) % 2, target, 2)
        np.savez(tmp_path / f"{target}.npz", **file)
        split = with_own_samples(context, DataSettings(source=f"npz:{target}.npz", validation=0.1, test=0.1))[0].data.train
        targets.append(next(iter(split.ordered(64))).target)
    assert torch.equal(*targets)


def test_other_inputs_are_refused(context, tmp_path):
    np.savez(tmp_path / "other.npz", x=np.zeros((40, 3), np.float32), target=np.arange(40) % 2)
    with pytest.raises(DataError, match=r"own data npz:other.npz give the inputs x.* and the network takes input_ids"):
        with_own_samples(context, DataSettings(source="npz:other.npz"))


def test_real_targets_become_nan(make_context, tmp_path):
    file = {"x": np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32), "target": np.arange(40, dtype=np.float32)}
    np.savez(tmp_path / "values.npz", **file)
    settings = DataSettings(source="npz:values.npz")
    context = make_context(load_data(settings, base=tmp_path), base=tmp_path, task=Regression())
    batch = next(iter(with_own_samples(context, settings)[0].data.train.ordered(4)))
    assert batch.target.shape == (4, 1)
    assert batch.target.isnan().all()


def test_tokens_without_a_tag_are_no_padding():
    mask = torch.tensor([[1, 1, 1], [1, 0, 0]])
    targets = _absent(torch.zeros(1, 9, dtype=torch.int64), Batch({"input_ids": mask, "attention_mask": mask}, {}))
    assert targets.tolist() == [[-1, -1, -1], [-1, UNLABELLED, UNLABELLED]]


LAYERS = ({"hidden_states": {}}, {"attention_scores": {}})


def test_tinyberts_phases_are_two_stages(context, tmp_path):
    teacher = Candidate(context.data.spec, encoder(seed=1, layers=4, width=24))
    student = Candidate(context.data.spec, encoder(layers=2))
    source = write(tmp_path / "corpus.npz", samples=64, seed=1)
    context = replace(context, teachers=(teacher,))
    general = Distill(epochs=3, batch_size=16, lr=3e-3, losses=LAYERS, data={"source": source})
    first = general.run(student, context)
    losses = first.curves["loss"].y
    assert losses[-1] < 0.9 * losses[0]
    assert [row["teacher_layer"][-1] for row in first.tables["matched_layers"][1:3]] == ["1", "3"]
    assert Fact.of("train.last_weights_kept", epochs=3, metric="accuracy") in first.notes
    head = "network.classifier.weight"
    assert torch.equal(first.candidate.network().state_dict()[head], student.network().state_dict()[head])
    folder = tmp_path / "task"
    folder.mkdir()
    task = Distill(epochs=2, batch_size=16, lr=3e-3, losses=({"soft_labels": {}},))
    second = task.run(first.candidate, replace(context, folder=folder))
    assert second.curves["loss"].y[-1] < second.curves["loss"].y[0]
    assert not any(note.code == "train.last_weights_kept" for note in second.notes)


def test_the_data_of_a_stage_is_part_of_its_key(tmp_path):
    stage = Distill(data={"source": write(tmp_path / "corpus.npz")})
    before = stage.file_hashes(tmp_path)
    write(tmp_path / "corpus.npz", seed=9)
    assert stage.file_hashes(tmp_path) != before
    assert Distill().file_hashes(tmp_path) == {}
    assert stage.smoke().data.limit == 96


def test_losses_on_labels_are_refused_but_of_a_task_that_makes_its_labels(tmp_path):
    assert [type(term).__name__ for term in Distill(data={"source": "npz:corpus.npz"}).losses] == ["Response"]
    stage = Distill(data={"source": "npz:corpus.npz"}, losses=({"response": {}}, {"task": {}}))
    (refusal,) = [message for _, message in check_task(Classification(), [(("stages", 0, "distill"), stage)])]
    assert refusal == (
        "loss task on the unlabelled data npz:corpus.npz of the stage needs targets that are made from the inputs, such as "
        "hidden tokens, which the task classification does not have"
    )
    assert list(check_task(MaskedLanguageModel(), [(("stages", 0, "distill"), stage)])) == []


@pytest.mark.parametrize("pairs", [True, False])
def test_second_texts_are_those_of_the_stages_own_data(pairs, make_context, tmp_path):
    words = [f"word{number % 7} and text {number}" for number in range(40)]
    rows = [{"a": text, "b": text[::-1], "score": 1.0 * (number % 3)} for number, text in enumerate(words)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    columns = {"text": "a", "text_pair": "b", "target": "score", "targets": "scores"}
    tokens = {"tokenizer": {"train": "wordpiece", "vocabulary": 60}, "source": "jsonl:rows.jsonl"}
    settings = DataSettings(columns=columns, **tokens)
    context = make_context(load_data(settings, base=tmp_path), base=tmp_path, task=TextEmbedding())
    own = DataSettings(source="jsonl:rows.jsonl", columns={"text": "a", **({"text_pair": "b"} if pairs else {})})
    batch = next(iter(with_own_samples(context, own)[0].data.train.ordered(8)))
    assert batch.targets["score"].isnan().all()
    second = [name for name in batch.targets if name.startswith(PAIR)]
    assert second == ([f"{PAIR}input_ids", f"{PAIR}attention_mask"] if pairs else [])
    assert all((batch.targets[name] >= 0).all() for name in second)


def test_a_stage_trains_a_language_model_on_samples_of_its_own(tmp_path, make_context):
    pytest.importorskip("transformers")
    from compress.tasks.text.causal_language_model import CausalLanguageModel
    from compress.train.stage import Train
    from tests.backends.tiny_decoder import network
    from tests.data.text.test_responses import PROMPTS, RESPONSES, settings_for, write_rows

    first, second = (
        write_rows(tmp_path / f"{name}.jsonl", [{"q": f"{name} {q}", "a": a} for q, a in zip(PROMPTS, RESPONSES, strict=True)])
        for name in ("one", "two")
    )
    columns = {"prompt": "q", "response": "a"}
    context = make_context(load_data(settings_for(first, columns), base=tmp_path), base=tmp_path, task=CausalLanguageModel())
    own = DataSettings(source=f"jsonl:{second}", columns=columns)
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    stage = Train(epochs=1, batch_size=4, data=own)
    found = stage.run(Candidate(None, network(size=320)), replace(context, folder=tmp_path / "a"))
    other = with_own_samples(replace(context, folder=tmp_path / "b"), own)[0]
    assert all(text.startswith("two") for text in other.data.train.origin.table.texts)
    expected = Train(epochs=1, batch_size=4).run(Candidate(None, network(size=320)), other)
    assert found.curves == expected.curves
    assert stage.file_hashes(tmp_path)["data"] != Train(data=settings_for(first, columns)).file_hashes(tmp_path)["data"]


def test_labels_of_other_data_are_not_those_of_the_task():
    from compress.train.stage import Train

    (finding,) = check_task(Classification(), [(("stages", 0), Train(data=DataSettings(source="digits")))])
    assert "training on its own data digits needs" in finding[1]


def test_a_teacher_may_have_the_labels_that_the_recipe_withholds(make_context, tmp_path):
    settings = DataSettings(source="digits", image_size=8, channels=1, limit=60)
    few = load_data(settings.model_copy(update={"labelled": 20}), base=tmp_path)
    whole = load_data(settings, base=tmp_path)
    context, (fact,) = with_all_labels(make_context(few, base=tmp_path))
    targets = torch.cat([batch.target for batch in context.data.train.ordered(16)])
    assert (targets >= 0).all()
    assert sum(int((batch.target >= 0).sum()) for batch in few.train.ordered(16)) == 20
    for mine, theirs in zip(context.data.train.ordered(16), few.train.ordered(16), strict=True):
        assert torch.equal(mine.input, theirs.input)
    assert context.data.validation is few.validation
    assert context.data.test is few.test
    assert f"all {len(targets)} training samples, of which the recipe gives 20" in render(fact)
    same = replace(context, data=whole)
    assert with_all_labels(same) == (same, ())
