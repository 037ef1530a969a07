import pytest

from compress.config.recipe import loads, resolved_yaml
from compress.core.errors import RecipeError
from compress.data.text.settings import PrunedTokenizer

RECIPE = """
name: a
task: {{text_classification: {{kind: {kind}}}}}
data: {{source: python_docs{data}}}
model: {{source: "{model}"}}
stages: [train]
"""


def read(base, data="", model="encoder:tiny", kind="single"):
    return loads(RECIPE.format(data=data, model=model, kind=kind), base=base)


def test_the_tokenizer_of_the_network_is_used(tmp_path):
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "tokenizer.json").touch()
    assert read(tmp_path, model="hf:net").data.tokenizer == "net"
    assert read(tmp_path, ", tokenizer: model", model="hf:net").data.tokenizer == "net"
    assert read(tmp_path, model="encoder:tiny").data.tokenizer is None


def test_a_network_without_a_tokenizer_leaves_it_to_training(tmp_path):
    (tmp_path / "net").mkdir()
    assert read(tmp_path, model="hf:net").data.tokenizer is None


def test_targets_are_those_of_the_task(tmp_path):
    assert read(tmp_path, kind="multilabel").data.columns.targets == "labels"
    assert read(tmp_path, ", columns: {targets: classes}", kind="regression").data.columns.targets == "classes"


def test_a_resolved_recipe_loads_to_an_equal_one(tmp_path):
    recipe = read(tmp_path, ", lengths: {typical: 16}")
    assert loads(resolved_yaml(recipe), base=tmp_path) == recipe
    smoke = recipe.smoke()
    assert loads(resolved_yaml(smoke), base=tmp_path) == smoke


def test_faults_have_their_lines(tmp_path):
    with pytest.raises(RecipeError, match=r"line 4: data\.image_size: image_size is a setting of images"):
        read(tmp_path, ", image_size: 32")
    with pytest.raises(RecipeError, match=r"data\.tokenizer: neither the model nor a teacher"):
        read(tmp_path, ", tokenizer: model")


def test_a_pruned_tokenizer_is_that_of_the_recipes_network(tmp_path):
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "tokenizer.json").touch()
    for data in (", tokenizer: {keep: used}", ", tokenizer: {of: model, keep: used}"):
        assert read(tmp_path, data, model="hf:net").data.tokenizer == PrunedTokenizer(of="net", keep="used")
    with pytest.raises(RecipeError, match="neither the model nor a teacher is an hf: network with a tokenizer"):
        read(tmp_path, ", tokenizer: {keep: used}")
    with pytest.raises(RecipeError, match="keep"):
        read(tmp_path, ", tokenizer: {of: model, keep: all}", model="hf:net")


def test_written_texts_need_prompts_with_responses(tmp_path):
    recipe = """
    name: a
    task: {{causal_language_model: {{generated: {{prompts: 8}}}}}}
    data: {{source: {source}}}
    model: {{source: "decoder:tiny"}}
    stages: [train]
    """
    columns = "python_docs, columns: {prompt: definition, response: summary}"
    assert loads(recipe.format(source=columns), base=tmp_path).task.options.generated.prompts == 8
    with pytest.raises(RecipeError, match=r"data.columns: task.generated compares written texts with responses"):
        loads(recipe.format(source="python_docs"), base=tmp_path)


def test_the_sentence_about_classes_and_the_tokenizer_of_the_text_tower_are_those_of_the_recipe(tmp_path):
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "tokenizer.json").touch()
    recipe = """
    name: a
    task: {{image_text: {{zero_shot: "a {{}}"}}}}
    data: {{source: drawn_captions, image_size: 32{data}}}
    model: {{source: "dual_encoder:tiny", args: {{text: {{source: "{text}"}}, image: {{source: "{image}"}}}}}}
    stages: [train]
    """

    def read_pairs(data="", text="hf:net", image="torchvision:resnet18"):
        return loads(recipe.format(data=data, text=text, image=image), base=tmp_path)

    data = read_pairs().data
    assert data.columns.class_sentence == "a {}"
    assert data.tokenizer == "net"
    assert loads(resolved_yaml(read_pairs()), base=tmp_path).data == data
    assert read_pairs(text="text_student:cnn").data.tokenizer is None
    with pytest.raises(RecipeError, match=r"model\.args\.image\.source: unknown torchvision network 'resnet19'"):
        read_pairs(image="torchvision:resnet19")
    with pytest.raises(RecipeError, match=r"data\.masking: masking has no effect on images with captions"):
        read_pairs(data=", masking: {whole_words: true}")
    smoke = read_pairs(data=", lengths: {typical: 40, most: 64}").smoke().data
    assert smoke.lengths.most == 32
    assert smoke.image_size == 32
