from compress.config.devices import host
from compress.profile.cost_model import estimate as cost
from compress.profile.cost_model.roofline_peaks import with_measured_peaks


def test_measured_peaks_make_this_machine_estimable(tiny):
    found = with_measured_peaks(host(), seconds=0.02)
    assert found.peaks.fp32_gflops.value > 0.1
    assert found.peaks.int8_gops.value > 0.1
    assert found.peaks.memory_bandwidth_gb_s.value > 0.1
    assert found.peaks.fp32_gflops.source.startswith("measured")
    assert found.peaks.memory_bytes == host().peaks.memory_bytes
    assert cost.latency(tiny, found).value > 0
