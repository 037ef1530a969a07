"""Code of `infer.py` for networks of audio that write a text token by token, for a file that is one network."""

from __future__ import annotations

import inspect

from compress.tasks.audio.written_pieces import text_of_pieces
from compress.tasks.infer_code import InferCode

WRITE_SPEECH = InferCode(
    "Print what is said:  python infer.py INPUT",
    f'''

{inspect.getsource(text_of_pieces)}

def transcribe(path):
    """The likeliest token each time, until one ends the text; all tokens are computed again."""
    pieces = json.loads((HERE / "labels.json").read_text(encoding="utf-8"))
    feeds, written = preprocess(path), list(PREFIX)
    while len(written) < MOST_TOKENS:
        feeds["decoder_input_ids"] = np.array([written], dtype=np.int64)
        token = int(next(iter(run(feeds).values()))[0, -1].argmax())
        if token == END:
            break
        written.append(token)
    return text_of_pieces([pieces[token] for token in written[len(PREFIX) :]])


if __name__ == "__main__":
    try:
        print(transcribe(sys.argv[1] if len(sys.argv) == 2 else sys.exit(__doc__)))
    except (OSError, ValueError) as error:
        sys.exit(f"cannot read {{sys.argv[1]}}: {{error}}")
''',
)
