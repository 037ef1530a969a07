import os

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
