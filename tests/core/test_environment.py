import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version

import pytest

from compress import __version__
from compress.core.environment import PACKAGES, check_launch, environment, is_main, run_token, versions, world_size
from compress.core.errors import DeviceError


def test_versions_are_those_of_the_installed_packages() -> None:
    by_package = versions()
    assert by_package["compress"] == __version__
    for package in PACKAGES:
        try:
            expected = version(package)
        except PackageNotFoundError:
            assert package not in by_package
        else:
            assert by_package[package] == expected


def test_environment_names_the_processor_it_is_given() -> None:
    of_run = environment("Cortex-A78")
    assert of_run["processor"] == "Cortex-A78"
    assert versions().items() <= of_run.items()


def test_versions_import_none_of_the_packages() -> None:
    code = "import sys; from compress.core.environment import versions; versions(); print('torch' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "False"


@pytest.mark.parametrize(("rank", "main"), [(None, True), ("0", True), ("1", False)])
def test_only_rank_0_is_the_main_process(monkeypatch: pytest.MonkeyPatch, rank: str | None, main: bool) -> None:
    monkeypatch.delenv("RANK", raising=False)
    if rank is not None:
        monkeypatch.setenv("RANK", rank)
    assert is_main() is main


def test_world_size_is_1_without_a_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert world_size() == 1
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert world_size() == 4


def test_a_run_token_is_of_one_run_and_equal_in_the_processes_of_a_launch(monkeypatch):
    assert run_token() != run_token()
    monkeypatch.setenv("WORLD_SIZE", "2")
    together = run_token()
    assert run_token() == together
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    assert run_token() != together


@pytest.mark.parametrize(
    ("variables", "refused"),
    [
        ({"ACCELERATE_USE_CPU": "True", "MASTER_ADDR": "127.0.0.1"}, True),
        ({"ACCELERATE_USE_CPU": "True"}, False),
        ({"ACCELERATE_USE_CPU": "True", "MASTER_ADDR": "127.0.0.1", "WORLD_SIZE": "2"}, False),
        ({}, False),
    ],
)
def test_a_launch_of_processes_without_ranks_is_refused(monkeypatch, variables, refused):
    for name in ("ACCELERATE_USE_CPU", "MASTER_ADDR", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    if refused:
        with pytest.raises(DeviceError, match="torchrun"):
            check_launch()
    else:
        check_launch()
