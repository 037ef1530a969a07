"""Measure files on another device: over SSH, or over adb on an Android device."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from compress.backends.runner_protocol import Feeds
from compress.config.devices import Device
from compress.config.devices.adb_connection import Adb
from compress.core.fact import Fact
from compress.core.progress import Reporter
from compress.core.record import BenchmarkRow
from compress.data.batch import Split
from compress.profile.latency.timing import Timing
from compress.profile.phone import measure as phone
from compress.profile.remote import measure as remote
from compress.profile.settings import MeasurementSettings
from compress.profile.this_machine import ProfileRequest, ProfileResult


def measure_rows(
    files: Mapping[str, Path],
    feeds: Mapping[str, Feeds] | None,
    device: Device,
    plan: MeasurementSettings,
    *,
    batch: int,
    reporter: Reporter,
) -> tuple[tuple[BenchmarkRow, ...], dict[str, Timing], tuple[Fact, ...]]:
    """Measure files on the device of a connection; see `remote.measure.measure_rows` and `phone.measure.measure_rows`."""
    measure = phone.measure_rows if isinstance(device.connection, Adb) else remote.measure_rows
    return measure(files, feeds, device, plan, batch=batch, reporter=reporter)


def profile(
    files: Mapping[str, Path], split: Split, device: Device, request: ProfileRequest, reporter: Reporter
) -> ProfileResult:
    """Measure teacher, student and artifact there; see `remote.measure.profile` and `phone.measure.profile`."""
    measure = phone.profile if isinstance(device.connection, Adb) else remote.profile
    return measure(files, split, device, request, reporter)
