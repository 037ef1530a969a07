"""Parse durations such as `1h30m`."""

from __future__ import annotations

import re

from compress.core.errors import DeviceError
from compress.core.language import gettext

UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0}


def parse_duration(text: str) -> float:
    """Seconds from `90s`, `10m`, `1h`, `1h30m` or plain `90`.

    Raises:
        DeviceError: The text has another form, or the duration is 0.
    """
    plain = text.strip().lower()
    parts = re.findall(r"(\d+(?:\.\d+)?)\s*([hms])", plain)
    rest = re.sub(r"(\d+(?:\.\d+)?)\s*[hms]\s*", "", plain)
    seconds = sum(float(number) * UNITS[unit] for number, unit in parts)
    if not parts and re.fullmatch(r"\d+(?:\.\d+)?", plain):
        seconds, rest = float(plain), ""
    if rest or not seconds > 0:
        msg = gettext("{text!r} is not a duration; write 90s, 10m, 1h or 1h30m, longer than 0", text=text)
        raise DeviceError(msg)
    return seconds
