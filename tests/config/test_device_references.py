from pathlib import Path

import pytest

from compress import Export, Profile, Prune, Quantize
from compress.config.cross_checks import entries
from compress.config.device_references import check, devices_of, rename, resolve
from compress.core.budget import Budget
from compress.core.errors import CompressError

PRUNE = Prune(target={"macs": 0.5})


def findings(stages, budget=None):
    return list(check(entries(stages), budget, resolve(stages, budget, None)))


def test_only_stages_with_devices_name_some():
    assert devices_of(Profile(devices=("host", "jetson"))) == ("host", "jetson")
    assert devices_of(PRUNE) == devices_of(None) == ()


def test_an_alias_is_the_device_it_stands_for_and_an_unknown_name_an_error():
    names = resolve([Profile(devices=("jetson", "host", "jetsn"))], None, None)
    assert (names["jetson"], names["host"]) == ("jetson_orin_nano", "host")
    assert isinstance(names["jetsn"], CompressError)
    assert "jetson" in str(names["jetsn"])


def test_a_limit_may_name_a_device_by_its_own_name_where_a_stage_gives_its_file(tmp_path):
    text = (Path(__file__).parents[2] / "devices" / "mobile_cpu.yaml").read_text()
    (tmp_path / "board.yaml").write_text(
        text.replace("name: mobile_cpu", "name: board", 1).replace("aliases:", "aliases: [] #", 1)
    )
    stages = [Profile(devices=("board.yaml",))]
    names = resolve(stages, Budget(latency_ms={"board": 1.0}), tmp_path)
    assert names == {"board.yaml": "board", "board": "board"}


def test_a_limit_meets_its_profile_under_any_name():
    assert findings([Quantize(), Profile(devices=("jetson",))], Budget(latency_ms={"jetson_orin_nano": 1.0})) == []


def test_a_limit_that_no_stage_measures_is_a_finding_at_its_place():
    ((path, message),) = findings([Quantize(), Profile(devices=("host",))], Budget(power_w={"jetson": 5.0}))
    assert path == ("budget", "power_w", "jetson")
    assert "no stage profiles jetson" in message


@pytest.mark.parametrize(("last", "count"), [(Export(), 0), (Quantize(), 1), (PRUNE, 1)])
def test_a_stage_that_changes_the_network_after_its_profile_is_a_finding(last, count):
    assert len(findings([Profile(devices=("host",)), last], Budget(latency_ms={"host": 1.0}))) == count


def test_an_unknown_device_is_a_finding_of_the_entry_that_names_it():
    ((path, message),) = findings([Quantize(), Profile(devices=("host", "jetsn"))])
    assert path[-2:] == ("devices", 1)
    assert "did you mean" in message


def test_stages_and_limits_get_the_devices_own_name_and_files_an_absolute_path():
    stages, budget = [PRUNE, Profile(devices=("jetson",))], Budget(latency_ms={"jetson": 1.0}, size_mb=2.0)
    renamed, limits = rename(stages, budget, resolve(stages, budget, None), Path("/recipes"))
    assert renamed[0] is PRUNE
    assert devices_of(renamed[1]) == ("jetson_orin_nano",)
    assert limits == Budget(latency_ms={"jetson_orin_nano": 1.0}, size_mb=2.0)
    (by_file,), _ = rename([Profile(devices=("my.yaml",))], None, {"my.yaml": "my"}, Path("/recipes"))
    assert devices_of(by_file) == ("/recipes/my.yaml",)


def test_a_limit_at_a_length_that_no_stage_measures_is_a_finding():
    stages = [Quantize(), Profile(lengths=(64, 128))]
    assert findings(stages, Budget(latency_ms={"host": {64: 5.0, 128: 9.0}})) == []
    ((path, message),) = findings(stages, Budget(latency_ms={"host": {64: 5.0, 100: 9.0}}))
    assert path == ("budget", "latency_ms", "host")
    assert message.startswith("no stage measures length 100")
