"""`compress devices new`: a template of a profile, with a comment for every field."""

from __future__ import annotations

import re
from pathlib import Path

from compress.config.devices import device_names, load_device
from compress.core.atomic_files import write_text
from compress.core.errors import DeviceError
from compress.core.language import gettext

NAME = re.compile(r"[a-z0-9_]{1,64}")
TEXT = """\
# {name}: say what it is and in which power mode, then fill in what is marked <…>. A line that starts with "# " is optional:
# take the mark away and give a figure with its source, or delete it. A figure that nobody published stays out; none is made up.
# Check it with `compress devices check {name}`.
name: {name}
title: <exact hardware, for people, such as "Radxa ROCK 5B 8 GB, one Cortex-A76 core at 2.4 GHz">
kind: cpu                       # or gpu
aliases: []
# identifies_as: [<Raspberry Pi 5>]  # parts of the names by which the hardware reports itself
runtime: onnxruntime            # or tensorrt
threads: 1                      # of a measurement or estimate
# connection: {{ssh: <host>}}     # as after `ssh`; the device is then measured there, and peaks and efficiency may stay out
# connection: {{adb: any}}        # or its serial number: a phone with the benchmark program of a runtime, see devices/README.md
peaks:                          # of one core on a CPU, of the whole device on a GPU; a multiply-accumulate is two operations
  fp32_gflops:
    value: <clock in GHz × vector pipelines × lanes × 2>
    unit: GFLOP/s
    source: <data sheet or optimization guide, and the formula>
    url: <https://…>
#   fp16_gflops: {{value: <…>, unit: GFLOP/s, source: <…>}}
#   int8_gops: {{value: <…>, unit: GOP/s, source: <…>}}           # dense, without sparsity
  memory_bandwidth_gb_s:
    value: <transfers in GT/s × bus width in bytes>
    unit: GB/s
    source: <who says so>
  memory_bytes:
    value: <such as 8589934592 for 8 GB>
    unit: bytes
    source: <who says so>
#   tdp_w: {{value: <…>, unit: W, source: <…>}}
efficiency:                     # what real kernels reach; the values below are carried over, change them if you know better
  dense:
    value: 0.7
    unit: fraction
    source: "measured on one AMD EPYC (Zen 4) core with ONNX Runtime 1.31; carried over to this device"
  depthwise:
    value: 0.25
    unit: fraction
    source: "measured on one AMD EPYC (Zen 4) core with ONNX Runtime 1.31; carried over to this device"
  overhead_us:
    value: 1.0
    unit: us
    source: "measured 0.3 µs on one AMD EPYC (Zen 4) core, tripled; carried over to this device"
  error_factor: 3.0             # the truth is expected between the estimate ÷ this and × this
precision:                      # number formats of the runtime
  floats: fp32                  # or fp16
  activations: uint8            # int8 for tensorrt
  weights: int8
  symmetric_activations: false  # true for tensorrt
  per_channel_weights: true
  source: <who says so, such as "ONNX Runtime, Quantize ONNX models">
contract:                       # how a number must be measured before it may be called measured
  batch: 1
  warmup_seconds: 1.0
  seconds: 10.0
  min_runs: 100
  percentiles: [50, 90, 99]
#   affinity: [0]               # processors to stay on
#   power_mode: <how to set clocks and power before measuring>
  arrival: back_to_back         # or periodic (a camera), or cold: how inputs arrive; limits of the latency are for this pattern
#   arrivals_per_s: 30          # of periodic inputs
  sensors: []                   # of rapl, nvml, ina3221, tegrastats, battery, in order of preference
"""


def write_template(name: str, folder: Path = Path("devices")) -> Path:
    """Write a template of a profile.

    Args:
        name: Lower-case letters, digits and underscores; not the name of an existing profile, nor an alias.
        folder: Output folder.

    Returns:
        The file.

    Raises:
        DeviceError: The name cannot be used or is taken, or the file exists.
        StoreError: The folder is not writable.
    """
    path = new_profile_path(name, folder)
    write_text(path, TEXT.format(name=name))
    return path


def new_profile_path(name: str, folder: Path = Path("devices")) -> Path:
    """The file of a profile that is to be written.

    Args:
        name: Name of the profile.
        folder: Its folder.

    Raises:
        DeviceError: The name cannot be used or is taken, or the file exists.
    """
    if not NAME.fullmatch(name):
        msg = gettext(
            "{name!a:.60} cannot name a device: write up to 64 lower-case letters, digits and underscores, such as my_board",
            name=name,
        )
        raise DeviceError(msg)
    path = folder / f"{name}.yaml"
    if path.exists():
        msg = gettext("{path} already exists and was not changed; choose another name, or edit it", path=path)
        raise DeviceError(msg)
    if owner := _owner(name):
        msg = gettext(
            "{name!r} already names the profile {owner}; choose another name, or write {path} yourself to override it",
            name=name,
            owner=owner,
            path=path,
        )
        raise DeviceError(msg)
    return path


def _owner(name: str) -> str | None:
    """The profile of that name or alias, shipped or of the user."""
    if name in device_names():
        return name
    try:
        return load_device(name).name
    except DeviceError:
        return None
