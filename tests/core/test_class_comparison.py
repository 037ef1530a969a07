"""The comparison of classes in a record."""

import pytest
from pydantic import ValidationError

from compress.core.class_comparison import ClassComparison, Disagreement


def test_a_comparison_read_back_from_json_is_equal() -> None:
    sample = Disagreement(sample=3, name="cat", before="cat", before_confidence=0.9, predicted="dog", confidence=0.6)
    comparison = ClassComparison(
        reference="teacher", samples=10, equal=0.9, equal_low=0.6, equal_high=0.98, only_reference=1, only_network=0,
        p_value=1.0, class_count=2, classes=(), confusions=(), disagreement_count=1, disagreements=(sample,),
    )  # fmt: skip
    assert ClassComparison.model_validate_json(comparison.model_dump_json()) == comparison


def test_a_confidence_that_is_no_number_is_refused() -> None:
    with pytest.raises(ValidationError):
        Disagreement(sample=0, name="a", before="a", before_confidence=float("nan"), predicted="b", confidence=0.5)
