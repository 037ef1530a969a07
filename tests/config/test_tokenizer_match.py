"""Networks with weights for another tokenizer than that of the data."""

import json

import pytest

from compress.config.recipe import loads
from compress.config.tokenizer_match import own_tokenizer, vocabulary
from compress.core.errors import RecipeError

RECIPE = """
name: a
task: text_classification
data: {{source: python_docs{data}}}
model: {{source: "{model}"}}
teacher: {{source: "{teacher}"}}
stages: [{{distill: {{losses: [{{soft_labels: {{}}}}]}}}}]
"""


def folder(path, tokens):
    path.mkdir()
    vocabulary = {token: number for number, token in enumerate(tokens)}
    (path / "tokenizer.json").write_text(json.dumps({"model": {"type": "WordPiece", "vocab": vocabulary}}))


def read(base, data="", model="encoder:tiny", teacher="hf:net"):
    return loads(RECIPE.format(data=data, model=model, teacher=teacher), base=base)


@pytest.fixture
def base(tmp_path):
    folder(tmp_path / "net", ["[PAD]", "a", "b"])
    folder(tmp_path / "same", ["[PAD]", "a", "b"])
    folder(tmp_path / "other", ["[PAD]", "b", "a"])
    return tmp_path


def test_one_tokenizer_fits_networks_that_have_it(base):
    assert read(base).data.tokenizer == "net"
    read(base, model="hf:same")
    read(base, data=", tokenizer: same", model="hf:net")


OTHER = [", tokenizer: other", ", tokenizer: {train: wordpiece, vocabulary: 100}"]


@pytest.mark.parametrize("data", OTHER)
def test_a_teacher_with_another_tokenizer_reads_its_own_tokens(base, data):
    recipe = read(base, data=data)
    assert own_tokenizer(recipe.data, recipe.teacher, base) == "net"
    assert own_tokenizer(recipe.data, recipe.model, base) is None
    same = read(base)
    assert own_tokenizer(same.data, same.teacher, base) is None


@pytest.mark.parametrize("loss", ["hidden_states", "attention_scores", "embedding", "relations", "cosine", "rkd_distance"])
@pytest.mark.parametrize("data", OTHER)
def test_losses_that_compare_tokens_are_refused_with_the_losses_that_work(base, data, loss):
    text = RECIPE.replace("{{soft_labels: {{}}}}", f"soft_labels, task, {loss}")
    with pytest.raises(RecipeError) as refusal:
        loads(text.format(data=data, model="encoder:tiny", teacher="hf:net"), base=base)
    (issue,) = refusal.value.issues
    assert issue.path == "stages[0].distill.losses[2]"
    assert f"hf:net has another tokenizer than the data, and loss {loss} compares the networks" in issue.message
    assert "set data.tokenizer: net, which the student takes, too" in issue.message
    fitting = issue.message.rpartition("whole texts: ")[2].split(", ")
    assert {"response", "soft_labels", "squared_error"} <= set(fitting)
    assert not {"token_divergence", "hidden_states", "jacobian", "task"} & set(fitting)


def test_losses_of_a_recovery_by_the_teacher_are_compared_too(base):
    prune = "{target: {macs: 0.5}, recover: {teacher: TEACHER, losses: [hidden_states]}}"
    stages = "stages: [{{distill: {{losses: [soft_labels]}}}}, {{prune: PRUNE}}]\n"
    text = (RECIPE.rpartition("stages:")[0] + stages).format(data=OTHER[0], model="encoder:tiny", teacher="hf:net")
    loads(text.replace("PRUNE", prune.replace("TEACHER", "parent")), base=base)
    with pytest.raises(RecipeError, match="loss hidden_states compares") as refusal:
        loads(text.replace("PRUNE", prune.replace("TEACHER", "teacher")), base=base)
    assert [issue.path for issue in refusal.value.issues] == ["stages[1].prune.recover.losses[0]"]


def test_a_task_of_tokens_a_copy_of_the_teacher_and_its_vectors_need_its_tokenizer(base):
    text = RECIPE.format(data=OTHER[0], model="encoder:tiny", teacher="hf:net")
    masked = text.replace("text_classification", "masked_language_model")
    with pytest.raises(RecipeError, match=r"the answers of this task are of tokens: set data.tokenizer: net"):
        loads(masked, base=base)
    with pytest.raises(RecipeError, match=r"the student starts from its weights: set data.tokenizer: net"):
        read(base, data=OTHER[0], model="teacher")
    augmented = text.replace("distill: {losses", "distill: {augment: [embedding_neighbours], losses")
    with pytest.raises(RecipeError, match="embedding_neighbours takes the vectors of the data's tokens from it"):
        loads(augmented, base=base)


def test_a_student_with_weights_for_another_tokenizer_is_refused(base):
    with pytest.raises(RecipeError, match="hf:other has weights for another tokenizer than that of the data"):
        read(base, model="hf:other")


def test_vocabularies_are_read_from_each_form_of_file(tmp_path):
    (tmp_path / "bert").mkdir()
    (tmp_path / "bert" / "vocab.txt").write_text("[PAD]\na\n")
    assert vocabulary(tmp_path / "bert") == {"[PAD]": 0, "a": 1}
    (tmp_path / "unigram.json").write_text(json.dumps({"model": {"vocab": [["<pad>", 0.0], ["a", -1.5]]}}))
    assert vocabulary(tmp_path / "unigram.json") == {"<pad>": 0, "a": 1}
    assert vocabulary(tmp_path / "missing") is None


def with_positions(base, name, positions):
    (base / name / "config.json").write_text(json.dumps({"model_type": "bert", "max_position_embeddings": positions}))


def test_texts_longer_than_the_positions_of_a_network_are_refused_with_both_numbers(base):
    with_positions(base, "net", 128)
    read(base)  # its own tokenizer cuts there
    read(base, data=", lengths: {most: 128}")
    read(base, data=", lengths: {most: 512}, tokenizer: other")  # a teacher with its own tokens cuts them itself
    with pytest.raises(
        RecipeError, match=r"up to 200 tokens, and hf:net has positions for 128; set data.lengths.most: 128"
    ) as it:
        read(base, data=", lengths: {most: 200}")
    assert it.value.issues[0].path == "data.lengths.most"


def test_the_positions_of_a_student_are_compared_with_those_of_the_tokenizer(base):
    with_positions(base, "net", 512)
    with_positions(base, "same", 64)
    with pytest.raises(RecipeError, match=r"up to 512 tokens, and hf:same has positions for 64"):
        read(base, model="hf:same")
    read(base, model="hf:same", data=", lengths: {typical: 32, most: 64}")


RESPONSES = """
name: a
task: causal_language_model
data: {source: word_tasks:reverse, columns: {prompt: word, response: answer}, tokenizer: {train: bpe}}
model: {source: "decoder:tiny"}
teacher: {source: "hf:net"}
stages: [{distill: {losses: [LOSS], generation: {GENERATION}}}]
"""


@pytest.mark.parametrize(
    ("loss", "generation", "fault"),
    [
        (
            "token_divergence",
            "student: 0.5",
            "loss token_divergence compares .*, or use the losses uld and gold",
        ),
        ("minillm", "student: 0.5", "loss minillm compares the networks token by token"),
        ("uld", "teacher: 1.0", "it would write texts for the student in its own tokens: .*, or let it write in a stage"),
    ],
)
def test_a_teacher_of_responses_with_another_tokenizer_needs_a_loss_that_merges_tokens(base, loss, generation, fault):
    text = RESPONSES.replace("LOSS", loss).replace("GENERATION", generation)
    with pytest.raises(RecipeError, match=fault):
        loads(text, base=base)
    recipe = loads(RESPONSES.replace("LOSS", "uld, task").replace("GENERATION", "student: 0.5"), base=base)
    assert own_tokenizer(recipe.data, recipe.teacher, base) == "net"
