"""Proportions of texts."""

import pytest

from compress.distill.generation.settings import Generation


@pytest.mark.parametrize(("student", "teacher"), [(0.5, 0.0), (0.5, 0.25), (0.3, 0.3), (1.0, 0.0), (0.0, 1.0), (0.1, 0.9)])
def test_batches_have_the_fractions_that_the_settings_say(student, teacher):
    settings = Generation(student=student, teacher=teacher)
    kinds = [settings.kind_of(batch) for batch in range(100)]
    assert kinds.count("student") == round(100 * student)
    assert abs(kinds.count("teacher") - 100 * teacher) <= 1
    for count in range(1, 100):
        assert abs(kinds[:count].count("student") - student * count) < 1
    assert set(kinds) == set(settings.kinds)


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({}, "neither the student nor the teacher writes texts"),
        ({"student": 0.7, "teacher": 0.6}, "more than 1 together"),
        ({"teacher": 1.0, "teacher_share": 0.2}, "teacher_share is for texts of the student"),
    ],
)
def test_fractions_that_cannot_be_are_refused(fields, fault):
    with pytest.raises(ValueError, match=fault):
        Generation(**fields)
