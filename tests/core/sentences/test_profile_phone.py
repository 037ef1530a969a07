from compress.core.fact import Fact
from compress.core.sentences import render, render_subject


def test_the_state_of_a_phone():
    values = {"before": ("battery 81 %",), "after": ("battery 80 %",), "power_mode": "aeroplane mode"}
    text = render(Fact.of("profile.phone_state", "my_phone", **values))
    assert "before: battery 81 %; after: battery 80 %; the contract requires aeroplane mode" in text
    unread = render(Fact.of("profile.phone_state", "my_phone", before=(), after=(), power_mode=None))
    assert unread == "battery and temperatures cannot be read on my_phone"


def test_other_runtimes_of_the_profile_are_skipped():
    fact = Fact.of("profile.runtime_choice_not_phone", "my_phone", runtime="LiteRT by benchmark_model")
    assert render(fact).startswith("the benchmark program of the connection runs LiteRT by benchmark_model only")
    assert render_subject(fact) == "choice of runtimes on my_phone"
