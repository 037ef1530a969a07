from compress.core.record import Quantity
from compress.profile.remote.agent_record import Quantity as Light


def test_the_light_record_has_the_fields_of_the_real_one():
    fields = [name for name in Quantity.model_fields if name != "method"]  # the agent uses no other than the default
    assert list(vars(Light.missing("W", "why"))) == fields
    for made, real in (
        (
            Light.measured(1.0, "W", "how", interval=(0.5, 2.0), runs=3),
            Quantity.measured(1.0, "W", "how", interval=(0.5, 2.0), runs=3),
        ),
        (Light.missing("W", "why"), Quantity.missing("W", "why")),
    ):
        assert Quantity(**vars(made)) == real
