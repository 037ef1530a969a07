"""The objects that cross the connection have the fields of the objects that they stand for."""

from dataclasses import fields

import pytest

from compress.profile.latency.interleave import Samples, Warmup
from compress.profile.memory.memory import Footprint
from compress.profile.remote import agent_worker, messages
from compress.profile.remote.inspect_device import DeviceFacts


@pytest.mark.parametrize(
    ("message", "kind"),
    [(messages.WarmupFields, Warmup), (messages.Series, Samples), (messages.FootprintFields, Footprint)],
)
def test_a_message_has_the_fields_of_its_dataclass(message, kind):
    assert set(message.__annotations__) == {field.name for field in fields(kind)}


def test_the_facts_of_a_device_are_those_of_the_agent_and_of_the_inspection():
    known = set(messages.AgentFacts.__annotations__) | set(messages.InspectionReport.__annotations__)
    assert {field.name for field in fields(DeviceFacts)} <= known | {"host"}


def test_an_inspection_has_no_other_fields():
    order: messages.InspectOrder = {"job": "inspect", "trtexec": "/nowhere/trtexec", "sensors": []}
    report = agent_worker.inspect(order)
    assert report.keys() <= messages.InspectionReport.__annotations__.keys()
    assert {"clocks", "platform", "onnxruntime", "no_trtexec", "power", "no_power"} <= report.keys()
