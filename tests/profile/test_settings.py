import pytest

from compress.config.devices import host
from compress.profile.settings import MeasurementSettings


@pytest.mark.parametrize("share", [0.1, 0.5, 1.0, 3.0])
def test_warm_up_and_runs_shrink_with_the_time_and_never_grow(share):
    contract = host().contract
    settings = MeasurementSettings.of(host(), threads=2, seconds=contract.seconds * share)
    assert settings.threads == 2
    assert settings.seconds == contract.seconds * share
    assert settings.warmup_seconds == pytest.approx(contract.warmup_seconds * min(1.0, share))
    assert settings.min_runs == max(6, round(contract.min_runs * min(1.0, share)))
    assert settings.runtime == host().runtime
