"""Retrieval between images and texts, against sorted lists."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from compress.tasks.image_text.retrieval_metric import CrossModalRetrieval, ZeroShotAccuracy
from compress.tasks.metric_quantity import estimate

COUNT = 40


def pairs(seed=0):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(COUNT, 6, generator=generator)
    texts = images + torch.randn(COUNT, 6, generator=generator)
    numbers = torch.arange(COUNT)
    return {"image_embedding": images, "text_embedding": texts}, {"image_number": numbers, "text_number": numbers}


def sorted_places(queries, candidates):
    cosine = F.cosine_similarity(queries[:, None], candidates[None], dim=2)
    return np.array([1 + int((row > row[n]).sum()) for n, row in enumerate(cosine)])


def test_recall_is_that_of_sorted_lists_both_ways():
    outputs, targets = pairs()
    images, texts = outputs["image_embedding"], outputs["text_embedding"]
    forward, back = sorted_places(images, texts), sorted_places(texts, images)
    for k in (1, 5, 10):
        expected = {
            "image_to_text": (forward <= k).mean(),
            "text_to_image": (back <= k).mean(),
            "both": ((forward <= k).mean() + (back <= k).mean()) / 2,
        }
        for way, value in expected.items():
            metric = CrossModalRetrieval(k, way)
            rows = metric.scores(outputs, targets).numpy()
            assert metric.value(rows) == pytest.approx(value)
            assert metric.resampled(rows)(np.ones(COUNT, int)) == pytest.approx(value)
    quantity = estimate(CrossModalRetrieval(5), CrossModalRetrieval(5).scores(outputs, targets).numpy(), "test")
    assert quantity.low < quantity.value < quantity.high


def test_any_caption_of_an_image_is_right_and_stands_once_among_the_candidates():
    outputs, targets = pairs()
    targets["image_number"] = torch.arange(COUNT) // 2  # two captions for each image
    outputs["image_embedding"] = outputs["image_embedding"][targets["image_number"] * 2]
    outputs["text_embedding"] = torch.eye(COUNT)[:, :6] * 0 + torch.randn(COUNT, 6, generator=torch.Generator().manual_seed(1))
    outputs["text_embedding"][1::2] = outputs["image_embedding"][1::2]  # the second caption of each is perfect
    forward, back = CrossModalRetrieval(1, "image_to_text"), CrossModalRetrieval(1, "text_to_image")
    assert forward.value(forward.scores(outputs, targets).numpy()) == 1
    found = back.value(back.scores(outputs, targets).numpy())
    assert 0.5 <= found < 1
    assert forward.constant(forward.scores(outputs, targets).numpy()) == 1 / COUNT
    assert back.constant(back.scores(outputs, targets).numpy()) == 2 / COUNT


def test_equal_vectors_share_their_places():
    _, targets = pairs()
    outputs = {name: torch.ones(COUNT, 6) for name in ("image_embedding", "text_embedding")}
    rows = CrossModalRetrieval(1).scores(outputs, targets).numpy()
    assert CrossModalRetrieval(1).value(rows) == 0
    assert CrossModalRetrieval(COUNT).value(rows) == 1
    broken = {name: torch.full((COUNT, 6), torch.nan) for name in outputs}
    assert CrossModalRetrieval(1).value(CrossModalRetrieval(1).scores(broken, targets).numpy()) == 0


def test_zero_shot_accuracy_is_the_share_of_images_nearest_to_the_sentence_of_their_class():
    outputs, targets = pairs()
    targets["class_number"] = torch.arange(COUNT) % 4
    sentences = torch.randn(4, 6, generator=torch.Generator().manual_seed(2))
    outputs["class_embedding"] = sentences[targets["class_number"]]
    nearest = F.cosine_similarity(outputs["image_embedding"][:, None], sentences[None], dim=2).argmax(1)
    metric = ZeroShotAccuracy()
    rows = metric.scores(outputs, targets).numpy()
    assert metric.value(rows) == pytest.approx(float((nearest == targets["class_number"]).float().mean()))
    assert metric.constant(rows) == 0.25
