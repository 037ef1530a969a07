"""Words are replaced by predictions of a masked language model."""

import pytest
import torch

from compress.core.errors import DataError
from compress.data.text.augmentation.masked_lm import MaskedLm
from compress.data.text.augmentation.masked_predictions import MaskedPredictor, network_of_folder
from compress.data.text.augmentation.token_vectors import TokenNeighbours, token_table, whole_words
from compress.data.text.augmentation.words import split_words
from compress.data.text.task_splits import mask_token
from tests.data.text.augmentation.augmentation_checks import RARE, TEXTS, drawn, resources, teacher_of, tokenizer

transformers = pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def own():
    return tokenizer()


def network(own, kind="ForMaskedLM"):
    config = transformers.BertConfig(
        vocab_size=own.vocabulary, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=64,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = getattr(transformers, f"Bert{kind}")(config).eval()
        for parameter in module.parameters():
            if parameter.ndim == 2:
                parameter.data.normal_(0, 0.5)
    return module


@pytest.fixture(scope="module")
def folder(own, tmp_path_factory):
    path = tmp_path_factory.mktemp("masked")
    network(own).save_pretrained(path)
    (path / "tokenizer.json").write_bytes(own.file)
    return path


@torch.no_grad()
def test_candidates_are_the_most_probable_whole_words(own, folder):
    predicting, loaded = network_of_folder(folder, 64)
    text = f"the cat runs {RARE} house"
    words = split_words(own, [text, TEXTS[0]])
    found = MaskedPredictor(predicting, loaded, 5, batch_size=3).candidates(words)[0]
    assert sorted(found) == [1, 2, 3, 4]
    whole = whole_words(own)
    allowed = torch.tensor(list(whole))
    encoding = own.encodings([text])[0]
    for index in (1, 2, 4):
        (place,) = [
            place for place, span in enumerate(encoding.offsets) if span == words[0].spans[index] and encoding.ids[place]
        ]
        ids = torch.tensor([encoding.ids])
        ids[0, place] = mask_token(own)
        logits = network(own)(input_ids=ids).logits[0, place, allowed]
        order = [whole[int(allowed[rank])] for rank in logits.argsort(descending=True)]
        assert list(found[index]) == [word for word in order if word != words[0].words[index]][:5]
    near = TokenNeighbours(own, token_table(predicting.module, own.vocabulary), 5)
    assert found[3] == near.of([RARE])[RARE]


def test_the_teacher_may_be_the_network(own, folder):
    module = network(own)
    teacher = torch.nn.Module()
    teacher.module = module
    teacher.forward = lambda ids, mask: module(input_ids=ids, attention_mask=mask).logits
    texts = TEXTS[:6]
    by_teacher = drawn(MaskedLm(p=0.9), texts, own, teacher=teacher)
    by_folder = drawn(MaskedLm(p=0.9, source=f"hf:{folder}"), texts, own)
    assert [change.slots for change in by_teacher] == [change.slots for change in by_folder]
    assert any(list(change.slots) != change.words.words for change in by_teacher)


def test_a_teacher_without_predictions_is_told(own):
    teacher = teacher_of(own)
    teacher.forward = lambda ids, _: torch.zeros(len(ids), 3)
    with pytest.raises(DataError, match=r"outputs of the shape \(\d+, 3\); name the folder of a masked"):
        drawn(MaskedLm(), TEXTS[:2], own, teacher=teacher)


@pytest.mark.filterwarnings("ignore")
def test_a_folder_without_the_head_is_told(own, tmp_path):
    network(own, "Model").save_pretrained(tmp_path)
    (tmp_path / "tokenizer.json").write_bytes(own.file)
    with pytest.raises(DataError, match=r"is no masked language model \(it lacks cls\.predictions"):
        MaskedLm(source=str(tmp_path)).editor(resources(own))
    with pytest.raises(DataError, match="none is no masked language model"):
        MaskedLm(source=str(tmp_path / "none")).editor(resources(own))


def test_the_files_of_the_folder_are_part_of_the_key(folder):
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= MaskedLm(source=str(folder)).file_hashes(folder).keys()
