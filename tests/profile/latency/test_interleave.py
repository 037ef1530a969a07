import gc

import numpy as np
import pytest

from compress.core.statistics import drifting_percentile_interval
from compress.profile.latency.interleave import PATIENCE, Samples, TimingPlan, Warmup, interleave, warm_up


class Machine:
    """A clock that only moves when something runs."""

    def __init__(self) -> None:
        self.now = 0
        self.log: list[str] = []

    def clock(self) -> int:
        return self.now

    def action(self, name, milliseconds):
        def run() -> None:
            self.log.append(name)
            took = milliseconds(len([item for item in self.log if item == name])) if callable(milliseconds) else milliseconds
            self.now += int(took * 1e6)

        return run


def timed(machine, actions, **options):
    plan = TimingPlan(options.pop("seconds", 0.4), options.pop("warmup_seconds", 0.0), options.pop("min_runs", 1))
    return interleave(actions, plan, clock=machine.clock, slice_ms=40.0, **options)


def runs_of(log):
    """The log with repeats folded: who had a turn after whom."""
    return [name for index, name in enumerate(log) if index == 0 or log[index - 1] != name]


def test_a_slow_and_a_fast_one_get_the_same_time_in_every_round():
    machine = Machine()
    samples = timed(machine, {"slow": machine.action("slow", 14), "fast": machine.action("fast", 0.25)})
    for round_number in np.unique(samples["slow"].rounds):
        slow = samples["slow"].milliseconds[samples["slow"].rounds == round_number].sum()
        fast = samples["fast"].milliseconds[samples["fast"].rounds == round_number].sum()
        assert abs(slow - fast) <= 14
    assert len(samples["fast"].milliseconds) > 40 * len(samples["slow"].milliseconds)


def test_a_run_longer_than_its_slice_still_has_its_turn_in_every_round():
    machine = Machine()
    samples = timed(machine, {"giant": machine.action("giant", 300), "fast": machine.action("fast", 1)}, seconds=1.0)
    rounds = np.unique(samples["fast"].rounds)
    assert list(samples["giant"].rounds) == list(rounds)


def test_the_order_turns_around_in_every_round():
    machine = Machine()
    timed(machine, {name: machine.action(name, 10) for name in "abc"}, seconds=0.08)
    turns = runs_of(machine.log)
    warmup, measured = turns[:3], turns[3:]
    assert warmup == ["a", "b", "c"]
    assert measured == list("abc") + list("ba")  # c ends round 1 and begins round 2: one fold


def test_the_first_run_of_a_turn_is_not_counted():
    machine = Machine()
    cold = {"previous": ""}

    def action(name):
        def run() -> None:
            machine.now += int((50 if cold["previous"] != name else 1) * 1e6)
            cold["previous"] = name

        return run

    samples = timed(machine, {"a": action("a"), "b": action("b")})
    assert all(np.all(samples[name].milliseconds == 1) for name in "ab")


def test_drift_hits_all_alike():
    machine = Machine()

    def drifting(base):
        return lambda _: base * (1 + machine.now / 5e9)

    actions = {"a": machine.action("a", drifting(2.0)), "b": machine.action("b", drifting(1.0))}
    samples = timed(machine, actions, seconds=4.0)
    ratio = np.median(samples["a"].milliseconds) / np.median(samples["b"].milliseconds)
    assert samples["a"].milliseconds[-1] > 1.5 * samples["a"].milliseconds[0]
    assert ratio == pytest.approx(2.0, rel=0.02)


def test_every_one_gets_its_fewest_runs_even_past_its_time():
    machine = Machine()
    samples = timed(machine, {"a": machine.action("a", 100)}, seconds=0.2, min_runs=7)
    assert len(samples["a"].milliseconds) == 7


def test_too_slow_for_its_fewest_runs_ends_at_the_cap():
    machine = Machine()
    samples = timed(machine, {"a": machine.action("a", 1000)}, seconds=0.5, min_runs=1000)
    assert samples["a"].milliseconds.sum() == pytest.approx(PATIENCE * 500)


def test_warm_up_goes_on_while_it_gets_faster_and_stops_when_steady():
    machine = Machine()
    result = warm_up(machine.action("a", lambda run: max(1.0, 20 - run / 5)), seconds=0.2, clock=machine.clock)
    assert result.steady
    assert 20 - result.runs / 5 < 1.5
    assert result.seconds > 0.5


def test_warm_up_of_what_never_settles_ends_at_the_cap_and_says_so():
    machine = Machine()
    result = warm_up(machine.action("a", lambda run: 100 * 0.9**run + 1e-3), seconds=0.01, clock=machine.clock)
    assert not result.steady
    assert result.seconds >= PATIENCE * 0.01


def test_between_the_parts_all_is_renewed_and_warmed_up_uncounted():
    machine, parts = Machine(), []

    def renew(part):
        parts.append(part)
        machine.log.append("renewed")
        machine.now += int(70e6)

    samples = timed(machine, {"a": machine.action("a", 10)}, seconds=1.0, warmup_seconds=0.5, renew=renew)
    assert parts == [1, 2, 3, 4]
    assert len(samples["a"].milliseconds) == 100
    assert all(samples["a"].milliseconds == 10)
    rounds = 25  # of 40 ms; in each one run is not counted
    warm_up_runs, again = samples["a"].warmup.runs, 4 * 10
    assert machine.log.count("a") == 100 + rounds + warm_up_runs + again


def test_a_slow_layout_widens_the_interval_when_it_is_renewed():
    machine, layout = Machine(), [1.00, 1.05, 0.99, 1.04, 0.98]

    def loaded_once(renewed):
        state = {"factor": layout[0]}
        action = machine.action("a", lambda _: 10 * state["factor"])
        taken = timed(
            machine, {"a": action}, seconds=2.0, renew=(lambda part: state.update(factor=layout[part])) if renewed else None
        )
        return drifting_percentile_interval(taken["a"].milliseconds, 0.5)

    assert loaded_once(renewed=False) == pytest.approx((10.0, 10.0))
    low, high = loaded_once(renewed=True)
    assert low <= 9.9
    assert high >= 10.4


def test_spread_is_the_width_of_the_middle_half_of_the_round_medians():
    draw = np.random.default_rng(0)
    medians = draw.normal(10.0, 1.0, 400)
    samples = Samples(np.repeat(medians, 3), np.repeat(np.arange(400), 3), Warmup(0, 0.0, steady=True))
    assert samples.spread() == pytest.approx(2 * 0.6745 * 1.0 / 10.0, rel=0.15)  # normal: ± 0.6745 σ hold half
    scaled = Samples(samples.milliseconds * 7, samples.rounds, samples.warmup)
    assert scaled.spread() == pytest.approx(samples.spread())
    constant = Samples(np.full(12, 2.0), np.repeat(np.arange(4), 3), samples.warmup)
    assert constant.spread() == 0.0


def test_progress_rises_to_one():
    machine, seen = Machine(), []
    timed(machine, {"a": machine.action("a", 5)}, after_round=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == 1.0


def test_the_garbage_collector_is_off_inside_and_back_on_after_a_fault():
    machine, states = Machine(), []

    def action() -> None:
        states.append(gc.isenabled())
        machine.now += 10**6
        if len(states) > 5:
            raise RuntimeError

    with pytest.raises(RuntimeError):
        timed(machine, {"a": action})
    assert not any(states)
    assert gc.isenabled()
