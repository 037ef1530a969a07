import subprocess
import sys
import time

from compress.search.owner import BEAT, OWNER, Heartbeat, OwnerWatch, this_process


def test_on_this_machine_the_process_table_says_who_lives():
    watch = OwnerWatch()
    assert not watch.is_dead(0, {OWNER: this_process()})
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    owner = this_process() | {"pid": child.pid}
    child.wait()
    assert watch.is_dead(1, {OWNER: owner})


def test_a_process_that_took_over_the_number_of_a_dead_one_is_another():
    assert OwnerWatch().is_dead(0, {OWNER: this_process() | {"since": 1.0}})


def test_on_another_machine_only_its_heartbeat_counts_and_no_clock_is_compared():
    watch = OwnerWatch(grace_s=0.1)
    far = this_process() | {"machine": "elsewhere", "since": 4e9}
    assert not watch.is_dead(0, {OWNER: far, BEAT: 1})
    time.sleep(0.15)
    assert not watch.is_dead(0, {OWNER: far, BEAT: 2})
    time.sleep(0.15)
    assert watch.is_dead(0, {OWNER: far, BEAT: 2})


def test_a_trial_whose_worker_ended_before_it_said_its_name_is_given_up_after_a_while():
    watch = OwnerWatch(grace_s=0.1)
    assert not watch.is_dead(0, {})
    time.sleep(0.15)
    assert watch.is_dead(0, {})


def test_a_heartbeat_survives_a_storage_that_does_not_answer():
    beats: list[int] = []

    def beat(number: int) -> None:
        beats.append(number)
        raise OSError

    with Heartbeat(beat, every_s=0.01):
        time.sleep(0.2)
    assert beats[:3] == [1, 2, 3]
    count = len(beats)
    time.sleep(0.05)
    assert len(beats) == count
