import pytest

from compress.config.devices import load_device
from compress.config.devices.hardware_identity import ReportedHardware, contradicts_profile

X86 = ReportedHardware("Intel(R) Xeon(R) Processor", "x86_64")
PI_5 = ReportedHardware("Raspberry Pi 5 Model B Rev 1.0", "aarch64")
PI_4 = ReportedHardware("Raspberry Pi 4 Model B Rev 1.4", "aarch64")
ORIN_NANO = ReportedHardware("NVIDIA Jetson Orin Nano Developer Kit", "aarch64", "Orin")
SERVER = ReportedHardware("AMD EPYC 7R13", "x86_64", "NVIDIA L4")


def titled(title, identifies_as=(), kind="cpu"):
    """A profile of the user's own, which nothing but its title describes."""
    changes = {"title": title, "identifies_as": identifies_as, "kind": kind}
    return load_device("raspberry_pi_5").model_copy(update=changes)


@pytest.mark.parametrize(
    ("device", "hardware"),
    [
        (titled("Raspberry Pi 5"), X86),
        (titled("Raspberry Pi 5"), PI_4),
        (titled("My camera", ("Raspberry Pi 5",)), PI_4),
        (titled("an EPYC server"), PI_5),
        (titled("one Cortex-A76 core"), X86),
        (load_device("raspberry_pi_5"), X86),
        (load_device("jetson_orin_nano"), SERVER),
        (load_device("jetson_orin_nano"), PI_5),
        (load_device("rtx_4090"), SERVER),
        (load_device("mobile_cpu"), X86),
    ],
)
def test_other_hardware_is_recognised(device, hardware):
    assert contradicts_profile(device, hardware)


@pytest.mark.parametrize(
    ("device", "hardware"),
    [
        (load_device("raspberry_pi_5"), PI_5),
        (load_device("raspberry_pi_5"), ReportedHardware("", "aarch64")),
        (load_device("jetson_orin_nano"), ORIN_NANO),
        (load_device("l4"), SERVER),
        (load_device("rtx_4090"), ReportedHardware("AMD EPYC 7R13", "x86_64")),
        (titled("My board"), X86),
        (titled("My board"), PI_5),
        (load_device("mobile_cpu"), ReportedHardware("Qualcomm Technologies, Inc SM8650", "aarch64")),
    ],
)
def test_hardware_of_the_profile_and_hardware_without_a_name_pass(device, hardware):
    assert not contradicts_profile(device, hardware)
