"""Prompts of the test split of a recipe."""

from __future__ import annotations

import shutil

import pytest

pytest.importorskip("transformers")

from compress.core.errors import DataError
from compress.data.batch import TARGET
from compress.data.text.split import IDS, MASK
from compress.pipeline.pipeline import Pipeline
from compress.verify.prompts import TOKENS, load_prompts
from compress.verify.writing_files import find_writing_files
from tests.verify.writing_artifacts import language_recipe, response_recipe


def test_prompts_of_an_encoder_decoder_are_what_it_reads(response_artifact, tmp_path):
    folder = response_artifact[0]
    files, rows = find_writing_files(folder / "decoder.onnx"), folder.parents[1] / "rows.jsonl"
    prompts = load_prompts(files, response_recipe(rows, tmp_path), 3)
    test = Pipeline.load(tmp_path / "responses.yaml").plan.load_data().test
    whole = [
        ids[mask > 0].tolist()
        for batch in test.ordered(8)
        for ids, mask in zip(batch.inputs[IDS], batch.inputs[MASK], strict=True)
    ]
    assert len(prompts.tokens) == 3
    assert all(tokens in whole for tokens in prompts.tokens)
    assert (prompts.most, prompts.longest) == (32, TOKENS)
    assert prompts.end >= 0
    assert "prompts of 3 of" in prompts.origin


def test_texts_without_prompts_give_their_first_half(language_artifact, tmp_path):
    files = find_writing_files(language_artifact[0] / "model.onnx")
    prompts = load_prompts(files, language_recipe(tmp_path), 100)
    test = Pipeline.load(tmp_path / "language.yaml").plan.load_data().test
    (batch,) = test.ordered(100)
    lengths = (batch.targets[TARGET] >= 0).sum(dim=1).tolist()
    assert [len(tokens) for tokens in prompts.tokens] == [max(1, length // 2) for length in lengths]


def test_recipes_of_other_networks_are_refused(language_artifact, response_artifact, tmp_path):
    rows = response_artifact[0].parents[1] / "rows.jsonl"
    decoder = find_writing_files(language_artifact[0] / "model.onnx")
    with pytest.raises(DataError, match="reads texts of a language model, which"):
        load_prompts(decoder, response_recipe(rows, tmp_path), 3)
    with pytest.raises(DataError, match="reads prompts and responses of an encoder-decoder, which"):
        load_prompts(find_writing_files(response_artifact[0] / "model.onnx"), language_recipe(tmp_path), 3)
    with pytest.raises(DataError, match="is not the tokenizer of"):
        load_prompts(decoder, language_recipe(tmp_path, words="zebra quartz jukebox wharf"), 3)
    shutil.copy(decoder.decoder, tmp_path / "model.onnx")
    with pytest.raises(DataError, match=r"and .* knows 5; give the recipe of the model"):
        load_prompts(decoder._replace(decoder=tmp_path / "model.onnx", tokens=5), language_recipe(tmp_path), 3)
