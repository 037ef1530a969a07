"""Words are replaced by predictions of a masked language model."""

import pytest
import torch

from compress.core.errors import DataError
from compress.data.text.augmentation.masked_lm import MaskedLm
from tests.data.text.augmentation.augmentation_checks import TEXTS, drawn, masked_network, resources, teacher_of

pytest.importorskip("transformers")


def test_the_teacher_may_be_the_masked_network(own, folder):
    module = masked_network(own)
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
    masked_network(own, "Model").save_pretrained(tmp_path)
    (tmp_path / "tokenizer.json").write_bytes(own.file)
    with pytest.raises(DataError, match=r"is no masked language model \(it lacks cls\.predictions"):
        MaskedLm(source=str(tmp_path)).editor(resources(own))
    with pytest.raises(DataError, match="none is no masked language model"):
        MaskedLm(source=str(tmp_path / "none")).editor(resources(own))


def test_the_files_of_the_folder_are_part_of_the_key(folder):
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= MaskedLm(source=str(folder)).file_hashes(folder).keys()
