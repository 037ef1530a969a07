import numpy as np
import pytest

from compress.data.sources.image_text.draw_captioned import COLOURS, SHAPES, SIZES, Scene, Thing, draw_scene
from compress.data.sources.image_text.draw_question import PLACES, draw_question, questions_on

ANSWERS = {*COLOURS, *SHAPES, *SIZES, "above", "below", "left", "right"}
EMPTY = np.zeros((3, 8, 8), np.uint8)


def test_each_question_has_one_right_answer():
    for seed in range(300):
        scene = draw_scene(np.random.default_rng(seed), (16, 16))
        found = {}
        for question, answer in questions_on(scene):
            assert answer in ANSWERS
            assert found.setdefault(question, answer) == answer
        assert found


@pytest.mark.parametrize(("relation", "place"), [("above", "above"), ("left of", "left")])
def test_both_objects_are_asked_for(relation, place):
    scene = Scene(EMPTY, (Thing("small", "red", "disc"), Thing("large", "blue", "ring")), relation)
    asked = dict(questions_on(scene))
    assert asked["what colour is the disc?"] == "red"
    assert asked["which shape is blue?"] == "ring"
    assert asked["is the ring small or large?"] == "large"
    assert asked["where is the disc?"] == place
    assert asked["where is the ring?"] == PLACES[relation][1]


def test_a_name_that_both_have_is_asked_only_with_one_answer():
    alike = Scene(EMPTY, (Thing("small", "red", "disc"), Thing("small", "blue", "disc")), "above")
    assert set(questions_on(alike)) == {
        ("is the disc small or large?", "small"),
        ("which shape is red?", "disc"),
        ("which shape is blue?", "disc"),
    }


def test_a_seed_gives_one_scene_with_its_question():
    first, again = (draw_question(np.random.default_rng(3), (16, 16)) for _ in range(2))
    assert (first[0] == again[0]).all()
    assert first[1:] == again[1:]
    assert (first[2], first[1]) in set(questions_on(draw_scene(np.random.default_rng(3), (16, 16))))
