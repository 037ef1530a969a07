from __future__ import annotations

import numpy as np

from compress.quantize.calibration.unpadded import without_padding


def sample(length: int, padded: int) -> dict[str, np.ndarray]:
    ids = np.arange(1, padded + 1)[None]
    mask = (np.arange(padded) < length).astype(np.int64)[None]
    return {"input_ids": ids * mask, "attention_mask": mask, "noise": np.zeros((1, padded), np.float32)}


def test_samples_are_cut_to_their_length_and_sorted() -> None:
    short, long = without_padding([sample(5, 8), sample(3, 8)])
    assert [part["input_ids"].tolist() for part in (short, long)] == [[[1, 2, 3]], [[1, 2, 3, 4, 5]]]
    assert short["attention_mask"].tolist() == [[1, 1, 1]]
    assert short["noise"].shape == (1, 8)


def test_audio_is_cut_as_its_mask_is() -> None:
    mask = np.array([[1, 1, 0, 0]])
    (cut,) = without_padding([{"audio": np.ones((1, 4), np.float32), "attention_mask": mask}])
    assert cut["audio"].shape == cut["attention_mask"].shape == (1, 2)


def test_other_inputs_and_empty_masks_stay() -> None:
    images = [{"input": np.zeros((1, 3, 4, 4), np.float32)}, {"input": np.ones((1, 3, 4, 4), np.float32)}]
    assert [part["input"].max() for part in without_padding(images)] == [0.0, 1.0]
    (empty,) = without_padding([sample(0, 4)])
    assert empty["attention_mask"].shape == (1, 4)
    (numbers,) = without_padding([{"token_mask": np.array([[0, 7]])}])
    assert numbers["token_mask"].tolist() == [[0, 7]]
