"""The roofline: two slopes that meet where computing and moving data take equally long."""

import pytest

from compress.core.errors import DeviceError
from compress.profile.cost_model.roofline import operator_time, required
from tests.profile.cost_model.test_estimate import device, work

TARGET = device()
RIDGE = 100e9 * 0.5 / 10e9 * 4
"""Operations for each float32 element at which computing takes as long as moving: (rate ÷ bandwidth) · 4 bytes."""


@pytest.mark.parametrize(("factor", "bound"), [(0.5, "bandwidth"), (2.0, "arithmetic")])
def test_the_bound_changes_at_the_ridge(factor, bound):
    elements = 10**6
    time = operator_time(work(operations=int(factor * RIDGE * elements), elements=elements), TARGET, TARGET.efficiency)
    assert time.bound == bound
    moving_ms = elements * 4 / 10e9 * 1e3
    assert time.kernel_ms == pytest.approx(max(factor, 1.0) * moving_ms, rel=1e-6)


def test_starting_an_operator_is_apart_from_its_kernel():
    one, other = (operator_time(work(), target, target.efficiency) for target in (TARGET, device(overhead=7.0)))
    assert one.kernel_ms == other.kernel_ms
    assert (one.overhead_ms, other.overhead_ms) == pytest.approx((0.002, 0.007))


def test_a_figure_that_is_missing_is_named_with_the_reason():
    with pytest.raises(DeviceError, match=r"'made_up' has no peaks.x, .* add it to its profile .* \(never calibrated\)"):
        required(None, TARGET, "peaks.x", "never calibrated")
    assert required(2.0, TARGET, "peaks.x") == 2.0
