import numpy as np

from compress.data.image_text.captions import Captions, divide, limited


def pairs(images: int = 20, each: int = 3) -> Captions:
    numbers = np.repeat(np.arange(images), each)
    texts = [f"text {index}" for index in range(len(numbers))]
    return Captions(numbers, texts, ["ab"[number % 2] for number in numbers], [f"camera {number % 3}" for number in numbers])


def test_no_image_is_in_two_splits_and_no_pair_is_lost():
    parts = divide({"all": pairs()}, validation=0.2, test=0.3, seed=0)
    images = [set(part.image.tolist()) for part in parts]
    assert set.union(*images) == set(range(20))
    assert sum(map(len, images)) == 20
    assert [len(part) for part in parts] == [3 * len(group) for group in images]
    assert {text for part in parts for text in part.texts} == set(pairs().texts)
    assert [part.image.tolist() for part in parts] == [
        part.image.tolist() for part in divide({"all": pairs()}, validation=0.2, test=0.3, seed=0)
    ]


def test_rows_keep_their_parts_and_a_limit_is_balanced_by_class():
    chosen = pairs().select(np.array([0, 5, 7]))
    assert (chosen.image.tolist(), chosen.texts) == ([0, 1, 2], ["text 0", "text 5", "text 7"])
    assert (chosen.classes, chosen.members) == (["a", "b", "a"], ["camera 0", "camera 1", "camera 2"])
    few = limited(pairs(), 10, seed=0)
    assert sorted(few.classes) == ["a"] * 5 + ["b"] * 5
    assert limited(pairs(), None, seed=0).texts == pairs().texts
    assert not Captions(np.arange(3), ["a", "b", "c"]).labels.any()
