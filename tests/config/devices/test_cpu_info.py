import pytest

from compress.config.devices.cpu_info import NOTABLE, caches, cpu_name, cpuinfo, instruction_sets


def test_instruction_sets_are_whole_flags_of_either_architecture():
    assert instruction_sets({"flags": "fpu avx2 avx512_vnni avx512_vnni2"}) == ("avx2", "avx512_vnni")
    assert instruction_sets({"Features": "fp asimddp asimd"}) == ("asimd", "asimddp")
    assert instruction_sets({}) == ()


def test_a_model_name_comes_before_the_part_number():
    assert cpu_name({"model name": "EPYC", "CPU part": "0x1"}) == "EPYC"
    assert cpu_name({"Model": "Raspberry Pi 5", "CPU part": "0x1"}) == "Raspberry Pi 5"


def test_an_unknown_implementer_is_given_as_a_number():
    assert cpu_name({"CPU part": "0x1", "CPU implementer": "0x99"}) == "implementer 0x99 CPU part 0x1"


def test_the_first_processor_counts(tmp_path):
    path = tmp_path / "cpuinfo"
    path.write_text("processor: 0\nCPU part\t: 0xd42\n\nprocessor: 1\nCPU part\t: 0xd41\n")
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
    assert {"avx512_vnni", "avx_vnni", "asimddp", "i8mm"} <= set(NOTABLE)
