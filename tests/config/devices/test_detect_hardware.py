import os

import pytest

from compress.config.devices import cpu_info as cpu
from compress.config.devices.cpu_info import caches, cpu_name, cpuinfo
from compress.config.devices.detect_hardware import detect_hardware

ARM = """processor\t: 0
BogoMIPS\t: 50.00
Features\t: fp asimd evtstrm aes crc32 atomics fphp asimdhp cpuid asimddp
CPU implementer\t: 0x41
CPU architecture: 8
CPU part\t: 0xd42

processor\t: 1
CPU part\t: 0xd41
"""


def test_this_machine_is_described():
    found = detect_hardware()
    assert found.cpu
    assert 1 <= found.cores <= (os.cpu_count() or 1)
    assert 1 <= found.processors <= (os.cpu_count() or 1)
    assert found.memory_bytes > 100e6
    assert all(size > 0 for size in found.caches_bytes.values())


def test_arm_linux_which_names_no_model(tmp_path):
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text(ARM)
    found = detect_hardware(tmp_path)
    assert found.cpu == "Arm CPU part 0xd42"
    assert found.instruction_sets == ("asimd", "asimdhp", "asimddp")
    assert found.virtual is None


def test_a_system_without_proc_or_sys(tmp_path):
    found = detect_hardware(tmp_path)
    assert found.cpu
    assert found.instruction_sets == ()
    assert found.caches_bytes == {}


def test_a_system_without_affinity(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert detect_hardware().processors == os.cpu_count()


def test_an_unknown_implementer_is_given_as_a_number():
    assert cpu_name({"CPU part": "0x1", "CPU implementer": "0x99"}) == "implementer 0x99 CPU part 0x1"


def test_the_first_processor_counts(tmp_path):
    path = tmp_path / "cpuinfo"
    path.write_text(ARM)
    assert cpuinfo(path)["CPU part"] == "0xd42"


@pytest.mark.parametrize(("size", "expected"), [("32K", 32768), ("8M", 8 << 20), ("512", 512)])
def test_caches_by_level(tmp_path, size, expected):
    for index, (level, kind) in enumerate((("1", "Data"), ("1", "Instruction"), ("2", "Unified"))):
        folder = tmp_path / f"index{index}"
        folder.mkdir()
        for name, text in (("level", level), ("type", kind), ("size", size)):
            (folder / name).write_text(text + "\n")
    (tmp_path / "index9").mkdir()  # tells nothing
    assert caches(tmp_path) == {"L1d": expected, "L1i": expected, "L2": expected}


def test_flags_are_written_as_the_kernel_does():
    assert {"avx512_vnni", "avx_vnni", "asimddp", "i8mm"} <= set(cpu.NOTABLE)
