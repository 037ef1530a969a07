from hypothesis import given
from hypothesis import strategies as st

from compress.config.yaml_lines import parse
from compress.config.yaml_writer import dump


def test_keys_keep_their_order_and_equal_values_are_written_twice():
    shared = [1, 2]
    assert dump({"b": shared, "a": shared}) == "b:\n- 1\n- 2\na:\n- 1\n- 2\n"


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**63), 2**63)
        | st.floats(allow_nan=False)
        | st.text(st.characters(codec="utf-8", exclude_categories=["C"])),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abz01-.eE~no", min_size=1), inner, max_size=3),
        max_leaves=8,
    )
)
def test_what_is_written_is_read_back(value):
    document = parse(dump({"x": value}), "r.yaml")
    assert document.tree == {"x": value}
    assert document.issues == []
