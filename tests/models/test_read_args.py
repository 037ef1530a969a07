"""Arguments of built-in networks."""

import pytest
from pydantic import BaseModel, ConfigDict

from compress.models.read_args import read_args


class Sizes(BaseModel):
    model_config = ConfigDict(extra="forbid")

    width: int = 4
    depth: int = 2


def test_arguments_become_settings():
    assert read_args("net:small", Sizes, {"width": 8}) == Sizes(width=8)


@pytest.mark.parametrize(("args", "place"), [({"width": "wide"}, "width"), ({"heads": 2}, "heads")])
def test_a_fault_names_its_place_and_what_is_allowed(args, place):
    with pytest.raises(ValueError, match=rf"net:small: args\.{place}: .*; it takes width, depth"):
        read_args("net:small", Sizes, args)
    with pytest.raises(ValueError, match="it takes a width"):
        read_args("net:small", Sizes, args, "a width")
