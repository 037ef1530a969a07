"""`augment` of the stages: samples, labels, files, keys."""

from dataclasses import replace

import pytest
import torch
from pydantic import ValidationError

from compress.config.recipe import loads
from compress.core.errors import DataError, RecipeError
from compress.core.stage import Candidate
from compress.data.settings import DataSettings
from compress.data.text.augmentation.copies import read_copies
from compress.distill.stage import Distill
from compress.train.stage import Train
from compress.train.text_augmentation import augmentation_hashes, with_copies
from tests.data.text.augmentation.test_augmented_split import data_of
from tests.data.text.toy_texts import toy_rows, write_csv
from tests.distill.losses.encoders.encoder_checks import encoder

QUICK = {"epochs": 1, "batch_size": 32}
DELETION = {"random_deletion": {"p": 0.3, "copies": 2}}


@pytest.fixture
def context(make_context, tmp_path):
    data = data_of(toy_rows(50))
    rows = data.train.origin.tokenizer.vocabulary
    teacher = Candidate(data.spec, encoder(seed=1, vocab_size=rows, num_labels=2))
    return make_context(data, base=tmp_path, teachers=(teacher,))


def student(context):
    return Candidate(context.data.spec, encoder(vocab_size=context.data.train.origin.tokenizer.vocabulary, num_labels=2))


def test_only_training_samples_have_copies(context):
    changed, facts = with_copies(context, Train(augment=(DELETION,)).augment)
    assert len(changed.data.train) > len(context.data.train) == 30
    assert changed.data.validation is context.data.validation
    assert changed.data.test is context.data.test
    assert [fact.code for fact in facts] == ["data.texts_augmented"]
    assert with_copies(context, ()) == (context, ())


def test_a_training_has_copies_with_labels_alone(context):
    outcome = Train(**QUICK, augment=(DELETION, "random_swap")).run(student(context), context)
    assert outcome.notes[0].code == "data.texts_augmented"
    assert outcome.notes[0].values["labels"] == "kept"
    with pytest.raises(ValidationError, match="copies by embedding_neighbours may have another meaning"):
        Train(augment=("embedding_neighbours", DELETION))


def test_the_teacher_answers_the_copies_of_a_distillation(context):
    stage = Distill(**QUICK, losses=({"response": {}}, {"task": {}}), augment=({"embedding_neighbours": {"copies": 2}},))
    outcome = stage.run(student(context), context)
    (file,) = context.folder.glob("augmented-*.jsonl")
    assert outcome.notes[0].subject == file.name
    shards = [shard for folder in context.cache.iterdir() for shard in folder.iterdir()]
    assert shards
    changed, _ = with_copies(context, stage.augment)
    teacher = stage.teacher.build(student(context), changed, stage, None)
    (batch,) = changed.data.train.view(0, 1000)
    copies = read_copies(file)
    assert batch.size == 30 + len(copies)
    with torch.no_grad():
        expected = context.teachers[0].network()(*batch.inputs.values())
    torch.testing.assert_close(teacher.logits(batch), expected, atol=1e-4, rtol=0)


def test_copies_without_labels_need_a_loss_on_the_teacher():
    with pytest.raises(ValidationError, match="copies by masked_lm have no label, and no loss asks the teacher"):
        Distill(losses=({"task": {}},), augment=("masked_lm",))


def test_data_of_the_stage_have_copies_too(context, tmp_path):
    write_csv(tmp_path / "corpus.csv", toy_rows(60, seed=3))
    stage = Distill(**QUICK, losses=({"response": {}},), data={"source": "csv:corpus.csv"}, augment=("random_swap",))
    outcome = stage.run(student(context), context)
    assert 50 < outcome.notes[0].values["texts"] < 60
    assert stage.smoke().augment[0].copies == 1


def test_images_have_no_words(context):
    data = type("Data", (), {"train": object()})()
    with pytest.raises(DataError, match="have none"):
        with_copies(replace(context, data=data), Train(augment=(DELETION,)).augment)


def test_files_of_the_methods_are_part_of_the_key(tmp_path):
    (tmp_path / "words.csv").write_text("word,synonyms\ncat,kitten\n")
    stage = Train(augment=({"synonym_replacement": {"source": "words.csv"}},))
    before = stage.file_hashes(tmp_path)
    (tmp_path / "words.csv").write_text("word,synonyms\ncat,tomcat\n")
    assert stage.file_hashes(tmp_path) != before
    assert augmentation_hashes(Train(augment=(DELETION,)).augment, tmp_path) == {}


def test_text_data_say_where_texts_are_augmented():
    for value in ("random_swap", ["random_swap"], {"random_swap": {}}):
        with pytest.raises(ValidationError, match=r"data\.augment is for images; texts are augmented by `augment` of a stage"):
            DataSettings(source="csv:x.csv", augment=value)


RECIPE = """
name: texts
task: {task}
data: {{source: "csv:{name}.csv", columns: {{text_pair: second}}}}
model: {{source: "encoder:tiny"}}
stages:
  - train: {{augment: [{method}]}}
"""


def test_a_recipe_is_checked():
    def fault(method, task="text_classification"):
        with pytest.raises(RecipeError) as raised:
            loads(RECIPE.format(method=method, task=task, name="x"))
        return str(raised.value)

    assert "did you mean 'random_swap'" in fault("random_swop")
    assert "less than or equal to 1" in fault("random_swap: {p: 1.5}") or "at most 1" in fault("random_swap: {p: 1.5}")
    assert "damage the answers" in fault("random_deletion", "question_answering")
    assert "moves words away from their tags" in fault("random_swap", "token_classification")
    assert "no label to train on" in fault("masked_lm")
    loads(RECIPE.format(method="random_swap", task="text_classification", name="x"))


def test_methods_that_use_the_teacher_need_one():
    text = RECIPE.format(method="embedding_neighbours", task="text_classification", name="x").replace("train", "distill")
    with pytest.raises(RecipeError, match="the augmentation uses the teacher, and the recipe has none"):
        loads(text)
    with pytest.raises(RecipeError, match="augment of a stage changes texts, and digits gives none"):
        loads("name: a\ndata: {source: digits}\nmodel: {source: 'torchvision:resnet18'}\nstages:\n"
              "  - train: {augment: [random_swap]}\n")  # fmt: skip
