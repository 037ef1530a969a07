import pytest
from pydantic import ValidationError

from compress.merge.experts.most_used import MostUsedExperts
from compress.merge.experts.stage import MergeExperts


def test_a_method_has_settings_of_its_own():
    stage = MergeExperts.model_validate({"method": {"most_used": {"experts": 3, "shares": "uniform"}}})
    assert stage.method == MostUsedExperts(experts=3, shares="uniform")
    assert MergeExperts.model_validate(stage.model_dump()) == stage
    assert stage.smoke().samples == 32
    with pytest.raises(ValidationError, match="unknown"):
        MergeExperts.model_validate({"method": "mean"})
