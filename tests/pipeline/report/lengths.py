"""A record with measurements by sequence length."""

from compress.core.record import LengthRow, Quantity
from compress.core.run_record import RunRecord
from compress.profile.latency.by_length import UNITS

LATENCIES = {"teacher": {16: 4.0, 64: 8.0, 512: None}, "artifact": {16: 1.0, 64: 2.0, 512: 20.0}}


def length_row(subject: str, device: str, length: int, latency: float | None, batch: int = 1) -> LengthRow:
    if latency is None:
        quantities = {name: Quantity.missing(unit, "out of time") for name, unit in UNITS.items()}
    else:
        quantities = {
            name: Quantity.measured(latency, unit, "timed", interval=(latency * 0.9, latency * 1.2), runs=50)
            for name, unit in UNITS.items()
        }
        if device != "host":
            quantities["latency_p50_ms"] = Quantity.estimated(latency, "ms", "roofline", band=(latency / 2, latency * 2))
    return LengthRow(
        subject=subject, device=device, runtime="ORT", axis="sequence", length=length, batch=batch, quantities=quantities
    )


def with_lengths(record: RunRecord) -> RunRecord:
    rows = [
        length_row(subject, device, length, latency, batch)
        for device, batch in (("host", 1), ("host", 8), ("mobile_cpu", 1))
        for subject, by_length in LATENCIES.items()
        for length, latency in by_length.items()
    ]
    last = record.stages[-1].model_copy(update={"length_rows": tuple(rows)})
    return record.model_copy(update={"stages": (*record.stages[:-1], last)})
