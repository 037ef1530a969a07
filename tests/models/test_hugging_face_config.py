from __future__ import annotations

import json

import pytest

from compress.core.errors import ModelError, TrustError
from compress.models.hugging_face_config import check_tokens, read_config, spec_of
from compress.models.settings import ModelSettings
from tests.models.sources.test_encoder import text_spec

pytest.importorskip("transformers")


def config(folder, **fields):
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(fields), encoding="utf-8")
    return "net"


def test_the_signature_of_an_image_classifier_is_that_of_its_configuration(tmp_path):
    labels = {"0": "cat", "1": "dog"}
    name = config(tmp_path / "net", model_type="vit", image_size=[48, 64], num_channels=1, id2label=labels)
    spec = spec_of(name, base=tmp_path)
    assert (spec.image_shape, spec.classes, spec.output_names) == ((1, 48, 64), ("cat", "dog"), ("logits",))


def test_normalisation_is_that_of_the_preprocessor(tmp_path):
    name = config(tmp_path / "net", model_type="vit", image_size=32, id2label={"0": "cat", "1": "dog"})
    assert spec_of(name, base=tmp_path).mean == (0.5, 0.5, 0.5)
    preprocessor = tmp_path / "net" / "preprocessor_config.json"
    preprocessor.write_text(json.dumps({"image_mean": [0.4, 0.5, 0.6], "image_std": [0.2, 0.3, 0.4]}), encoding="utf-8")
    spec = spec_of(name, base=tmp_path)
    assert (spec.mean, spec.std) == ((0.4, 0.5, 0.6), (0.2, 0.3, 0.4))
    preprocessor.write_text(json.dumps({"image_mean": [0.4], "image_std": [0.0]}), encoding="utf-8")
    assert spec_of(name, base=tmp_path).std == (0.5, 0.5, 0.5)


def test_roberta_counts_positions_from_its_padding_token(tmp_path):
    name = config(tmp_path / "net", model_type="roberta", max_position_embeddings=514, pad_token_id=1, vocab_size=100)
    signature = spec_of(name, base=tmp_path).signature
    assert signature.sizes["sequence"] == (1, 128, 512)
    assert signature.inputs[0].values == (0, 99)


@pytest.mark.parametrize(
    ("saved", "outputs", "classes"),
    [
        ("BertForSequenceClassification", ["logits: float32 batch×2"], 2),
        ("BertForTokenClassification", ["logits: float32 batch×sequence×2"], 2),
        ("BertForQuestionAnswering", ["start_logits: float32 batch×sequence", "end_logits: float32 batch×sequence"], 0),
        ("BertForMaskedLM", ["logits: float32 batch×sequence×40"], 0),
        ("BertModel", ["embedding: float32 batch×dimensions"], 0),
    ],
)
def test_outputs_are_those_of_the_class_that_was_saved(saved, outputs, classes, tmp_path):
    name = config(tmp_path / "net", model_type="bert", architectures=[saved], vocab_size=40)
    spec = spec_of(name, base=tmp_path)
    assert [str(output) for output in spec.signature.outputs] == outputs
    assert len(spec.classes) == classes


def test_a_decoder_gives_logits_of_the_next_tokens(tmp_path):
    name = config(tmp_path / "net", model_type="gpt2", architectures=["GPT2LMHeadModel"], vocab_size=40, n_positions=64)
    spec = spec_of(name, base=tmp_path)
    assert [str(output) for output in spec.signature.outputs] == ["logits: float32 batch×sequence×40"]
    assert spec.classes == ()


@pytest.mark.parametrize(("kind", "saved"), [("t5", "T5ForConditionalGeneration"), ("marian", "MarianMTModel")])
def test_an_encoder_decoder_reads_responses_and_gives_logits_of_their_tokens(kind, saved, tmp_path):
    name = config(tmp_path / "net", model_type=kind, architectures=[saved], vocab_size=40)
    spec = spec_of(name, base=tmp_path)
    assert [each.name for each in spec.signature.inputs] == ["input_ids", "attention_mask", "decoder_input_ids"]
    assert [str(output) for output in spec.signature.outputs] == ["logits: float32 batch×response×40"]


@pytest.mark.parametrize(
    ("kind", "saved"),
    [
        ("bert", "BertForMultipleChoice"),
        ("bert", "BertLMHeadModel"),
        ("t5", "T5EncoderModel"),
        ("whisper", "WhisperForConditionalGeneration"),
        ("bart", "BartModel"),
    ],
)
def test_other_kinds_of_networks_of_texts_are_refused(kind, saved, tmp_path):
    name = config(tmp_path / "net", model_type=kind, architectures=[saved])
    with pytest.raises(ModelError, match=f"is a {saved}; networks of texts that are known here are classifiers"):
        spec_of(name, base=tmp_path)


def test_code_of_a_checkpoint_runs_only_when_trusted(tmp_path):
    name = config(tmp_path / "net", model_type="mine", auto_map={"AutoConfig": "mine.Config"})
    (tmp_path / "net" / "mine.py").write_text("raise SystemExit('ran')", encoding="utf-8")
    with pytest.raises(TrustError, match="--trust-code"):
        spec_of(name, base=tmp_path)


def test_no_checkpoint_and_no_classifier_are_errors(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match="holds no readable checkpoint"):
        spec_of("empty", base=tmp_path)
    with pytest.raises(ModelError, match="classifies neither images nor text"):
        spec_of(config(tmp_path / "net", model_type="detr"), base=tmp_path)
    settings = ModelSettings(source="hf:net", args={"widht": 3})
    with pytest.raises(ModelError, match="no setting widht"):
        read_config("net", settings, tmp_path, trust_code=False)


def test_tokens_that_the_network_lacks_are_refused_unless_it_is_new(tmp_path):
    config(tmp_path / "net", model_type="bert", vocab_size=30, max_position_embeddings=64)
    read = read_config("net", ModelSettings(source="hf:net"), tmp_path, trust_code=False)
    with pytest.raises(ModelError, match="the data has 50 tokens, and hf:net embeds 30"):
        check_tokens(read, "net", text_spec(), has_weights=True)
    check_tokens(read, "net", text_spec(), has_weights=False)
    assert read.vocab_size == 50
    with pytest.raises(ModelError, match=r"up to 90 tokens, and hf:net has 64 positions; set data\.lengths\.most: 64"):
        check_tokens(read, "net", text_spec(most=90), has_weights=True)


def test_the_padding_token_is_that_of_the_data_where_none_is_named(tmp_path):
    config(tmp_path / "net", model_type="gpt2", vocab_size=60)
    read = read_config("net", ModelSettings(source="hf:net"), tmp_path, trust_code=False)
    check_tokens(read, "net", text_spec(), has_weights=True)
    assert read.pad_token_id == 3
