"""The table of `compress profile`."""

from compress.cli.render_benchmark import show_benchmark
from compress.core.record import BenchmarkRow, Quantity
from tests.cli.test_render import printed


def row(subject: str, device: str = "host", **quantities: Quantity) -> BenchmarkRow:
    return BenchmarkRow(subject=subject, device=device, runtime="onnxruntime", quantities=quantities)


def test_every_number_of_one_network_has_its_sign() -> None:
    quantities = {"latency_p50_ms": Quantity.measured(0.25, "ms", "one thread"), "power_w": Quantity.missing("W", "no sensor")}
    text = printed(show_benchmark, [row("model", **quantities)])
    assert "model on host (onnxruntime)" in text
    assert "0.250 ms ●" in text
    assert "○ power: no sensor" in text
    assert "÷" not in text


def test_two_networks_share_a_table_with_the_ratio_of_their_session() -> None:
    def latency(value: float) -> Quantity:
        return Quantity.measured(value, "ms", "in turns", interval=(value * 0.9, value * 1.1))

    ratio = Quantity.measured(0.48, "1", "ratio of medians", interval=(0.46, 0.51))
    rows = [
        row("a", latency_p50_ms=latency(2.0), size_bytes=Quantity.measured(4e6, "bytes", "file size")),
        row("b", latency_p50_ms=latency(1.0), size_bytes=Quantity.measured(1e6, "bytes", "file size"), latency_ratio=ratio),
    ]
    lines = printed(show_benchmark, rows).splitlines()
    assert "2 networks on host" in lines[0]
    assert lines[1].split() == ["a", "b", "b", "÷", "a"]
    assert "0.480 (0.460–0.510) ●" in lines[2]
    assert lines[3].endswith("0.250 ●")
    assert sum("in turns" in line for line in lines) == 1
    assert sum("file size" in line for line in lines) == 1


def test_a_measurement_and_an_estimate_have_no_ratio() -> None:
    measured = row("a", latency_p50_ms=Quantity.measured(2.0, "ms", "timed"))
    estimated = row("b", latency_p50_ms=Quantity.estimated(1.0, "ms", "roofline", band=(0.5, 2.0)))
    line = printed(show_benchmark, [measured, estimated]).splitlines()[2]
    assert line.rstrip().endswith("◐")
    assert line.count("◐") == 1


def test_each_device_has_its_own_table() -> None:
    size = Quantity.measured(4e6, "bytes", "file size")
    text = printed(show_benchmark, [row("a", "host", size_bytes=size), row("a", "jetson", size_bytes=size)])
    assert "a on host" in text
    assert "a on jetson" in text
