import re

import pytest

from compress.config.devices import host
from compress.core.errors import DeviceError
from compress.profile.phone.session import PhoneSession, adb_connection, attached, last_words


def test_the_only_device_is_found_and_the_folder_is_removed(stand_in, device, tmp_path):
    with PhoneSession(device()) as phone:
        assert phone.serial == "R58M123"
        path = phone.push(tmp_path / "my_phone.yaml", "0/a b.onnx")
    assert re.fullmatch(r"/data/local/tmp/compress-[0-9a-f]{12}/0/a b\.onnx", path)
    folder = path.rpartition("/0/")[0]
    assert stand_in.shells() == [f"mkdir -p {folder}/0", f"rm -rf {folder}"]
    assert stand_in.pushed() == [path]
    assert all(command[:2] == ["-s", "R58M123"] for command in stand_in.commands()[1:])


def test_words_are_quoted_for_the_shell_of_the_device(stand_in, device):
    with PhoneSession(device()) as phone:
        phone.shell(["test", "-e", "/data/$(reboot); x"])
    assert stand_in.shells() == ["test -e '/data/$(reboot); x'"]


def test_nothing_is_removed_where_nothing_was_written(stand_in, device):
    with PhoneSession(device()):
        pass
    assert stand_in.shells() == []


@pytest.mark.parametrize(
    ("devices", "connection", "message"),
    [
        ("", "{adb: any}", "no device is attached: switch on USB debugging"),
        ("A\tdevice\nB\toffline\n", "{adb: any}", r"several are attached: A \(device\), B \(offline\); give the serial number"),
        ("A\tunauthorized\n", "{adb: any}", r"my_phone \(A\): it has not allowed this machine: unlock it"),
        ("A\toffline\n", "{adb: A}", "it is offline: plug it in again"),
        ("A\tno permissions (user in plugdev group); see [http://x]\n", "{adb: A}", "this user may not open it"),
        ("A\tfastbootd\n", "{adb: A}", "its state is 'fastbootd'"),
        ("A\tdevice\n", "{adb: B}", r"no such device is attached; `adb devices` has A \(device\)"),
        ("", "{adb: B}", "has none: switch on USB debugging"),
    ],
)
def test_devices_that_cannot_be_used_are_told_with_their_cure(stand_in, device, devices, connection, message):
    stand_in.says("devices", f"List of devices attached\n{devices}\n")
    with pytest.raises(DeviceError, match=message), PhoneSession(device(connection)):
        pass


def test_adb_that_is_not_installed_is_told_with_the_package(device, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DeviceError, match="apt install adb"), PhoneSession(device()):
        pass


def test_full_storage_is_told(stand_in, device, tmp_path):
    stand_in.says("push", "adb: error: failed to copy 'a' to 'b': remote No space left on device\n")
    with (
        pytest.raises(DeviceError, match=r"its storage is full: my_phone\.yaml was not written"),
        PhoneSession(device()) as phone,
    ):
        phone.push(tmp_path / "my_phone.yaml", "0/a.onnx")
    assert stand_in.shells()[-1].startswith("rm -rf /data/local/tmp/compress-")


def test_a_copy_that_fails_is_told(stand_in, device, tmp_path):
    stand_in.says("push", "adb: error: failed to copy: remote Permission denied\n")
    with pytest.raises(DeviceError, match=r"was not written: .*Permission denied"), PhoneSession(device()) as phone:
        phone.push(tmp_path / "my_phone.yaml", "0/a.onnx")


def test_a_lost_device_is_told_with_the_folder_that_remains(stand_in, device, tmp_path):
    def lose():
        with PhoneSession(device()) as phone:
            phone.push(tmp_path / "my_phone.yaml", "0/a.onnx")
            stand_in.says("gone", "adb: device 'R58M123' not found\n")
            phone.run(["uname"], timeout_s=5.0)

    with pytest.raises(DeviceError, match="the connection was lost") as caught:
        lose()
    assert "remains on the device" in caught.value.__notes__[0]


def test_a_program_that_fails_is_told_with_its_last_words(stand_in, device):
    stand_in.says("uname", "no such thing\n")
    stand_in.says("uname.code", "3")
    with pytest.raises(DeviceError, match="uname ended with 3: no such thing"), PhoneSession(device()) as phone:
        phone.run(["uname"], timeout_s=5.0)


def test_a_device_that_hangs_is_told(stand_in, device):
    with PhoneSession(device()) as phone, pytest.raises(DeviceError, match="did not finish within 1e-05 s"):
        phone.shell(["uname"], timeout_s=1e-5)


def test_a_profile_without_adb_is_refused():
    with pytest.raises(DeviceError, match="has no adb connection"):
        adb_connection(host())


def test_the_list_of_devices():
    assert attached("* daemon not running\nList of devices attached\n1.2.3.4:5555\tdevice\nA  offline\n") == {
        "1.2.3.4:5555": "device",
        "A": "offline",
    }
    assert last_words("a\n b") == "a b"
