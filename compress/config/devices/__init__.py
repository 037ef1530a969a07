"""Device profiles: capabilities of a target, the number formats of its runtime, and how it is measured.

A profile is a YAML file in `devices/`. Every number in it names its source; unpublished numbers are omitted.
`load_device` finds a profile by name, alias or path; `host` adds the detected properties of this machine.
"""

from __future__ import annotations

from compress.config.devices.load_device import device_names, fingerprint, folders, host, load_device
from compress.config.devices.profile_schema import Device

__all__ = ["Device", "device_names", "fingerprint", "folders", "host", "load_device"]
