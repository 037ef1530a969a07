"""Templates against what transformers renders, and templates that would do harm."""

import json

import pytest

from compress.core.errors import DataError
from compress.data.settings import DataSettings
from compress.data.text.cells import ChatMessage
from compress.data.text.chat_template import ChatTemplate, chosen_template, named_template, template_file, template_of
from compress.data.text.settings import Columns

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}\n{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
TALK = [
    ChatMessage("user", "Hi"),
    ChatMessage("assistant", "Hello"),
    ChatMessage("user", "And?"),
    ChatMessage("assistant", "Bye"),
]


def test_it_renders_what_transformers_renders():
    utilities = pytest.importorskip("transformers.utils.chat_template_utils")
    messages = [message._asdict() for message in TALK]
    for to_answer in (False, True):
        (expected,), _ = utilities.render_jinja_template([messages], chat_template=CHATML, add_generation_prompt=to_answer)
        assert ChatTemplate(CHATML).render(TALK, to_answer=to_answer) == expected


def test_segments_join_to_the_whole_text_and_mark_what_the_assistant_wrote():
    parts = ChatTemplate(CHATML).segments([*TALK, ChatMessage("user", "left out")], "row 1")
    assert "".join(text for text, _ in parts) == ChatTemplate(CHATML).render(TALK)
    assert [text for text, is_response in parts if is_response] == ["Hello<|im_end|>\n", "Bye<|im_end|>\n"]


def test_conversations_that_do_not_fit_are_refused():
    with pytest.raises(DataError, match="row 1: no message has the role assistant"):
        ChatTemplate(CHATML).segments(TALK[:1], "row 1")
    counting = "{{ messages | length }}{% for message in messages %}{{ message.content }}{% endfor %}"
    with pytest.raises(DataError, match="row 1: chat_template changes earlier messages"):
        ChatTemplate(counting).segments(TALK, "row 1")
    strict = "{% if messages[0].role != 'system' %}{{ raise_exception('a system message comes first') }}{% endif %}"
    with pytest.raises(DataError, match="a system message comes first"):
        ChatTemplate(strict).render(TALK)
    with pytest.raises(DataError, match="cannot write a conversation"):
        ChatTemplate("{% for %}").render(TALK)


@pytest.mark.parametrize(
    "harm",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages.append(1) }}",
        "{{ raise_exception.__globals__['json'] }}",
        "{% include '/etc/passwd' %}",
        "{{ range(10**9) | list }}",
    ],
)
def test_templates_cannot_reach_python_change_data_or_read_files(harm):
    with pytest.raises(DataError, match="cannot write a conversation"):
        ChatTemplate(harm).render(TALK)


def test_a_template_is_found_beside_the_tokenizer(tmp_path):
    tokens = {"bos_token": "<s>"}
    assert template_of({}, tmp_path, tokens) is None
    named = {"chat_template": [{"name": "tools", "template": "T"}, {"name": "default", "template": "{{ bos_token }}D"}]}
    assert template_of(named, tmp_path, tokens).render(TALK) == "<s>D"
    assert named_template({"default": "D"}) == "D"
    assert named_template(3) is None
    (tmp_path / "chat_template.jinja").write_text("{{ messages | tojson }}", encoding="utf-8")
    assert json.loads(template_of(named, tmp_path, tokens).render(TALK))[1] == {"role": "assistant", "content": "Hello"}


def test_the_settings_choose_a_template(tmp_path):
    own, columns = ChatTemplate("own"), Columns(prompt="q", response="a")

    def chosen(choice):
        settings = DataSettings(source="jsonl:x", columns=columns, chat_template=choice)
        found = chosen_template(settings, own, {}, tmp_path)
        return (None if found is None else found.text), template_file(settings, tmp_path)

    (tmp_path / "t.jinja").write_text("file", encoding="utf-8")
    assert chosen(None) == ("own", None)
    assert chosen("none") == (None, None)
    assert chosen("{{ messages }}") == ("{{ messages }}", None)
    assert chosen("t.jinja") == ("file", tmp_path / "t.jinja")
    with pytest.raises(DataError, match=r"cannot read .*missing\.jinja"):
        chosen("missing.jinja")
