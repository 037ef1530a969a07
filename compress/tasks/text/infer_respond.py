"""Code of `infer.py` for encoder-decoders.

The script of an artifact defines `run(feeds)`, `HERE`, the folder of its files, and `END`, the name of the token that ends a
text, and imports `sys`, `np` and `Tokenizer`.
"""

from __future__ import annotations

from compress.tasks.infer_code import InferCode

RESPOND = InferCode(
    "Write the response to a prompt with the likeliest tokens:  python infer.py INPUT",
    '''
def respond(prompt, tokens=128):
    """The response: the likeliest token each time, until one ends it; all tokens are computed again."""
    tokenizer = Tokenizer.from_file(str(HERE / "tokenizer.json"))
    end, most = tokenizer.token_to_id(END), (tokenizer.truncation or {"max_length": 10**9})["max_length"]
    tokenizer.no_truncation()
    tokenizer.no_padding()
    ids = tokenizer.encode(prompt).ids
    ids = ids if ids[-1:] == [end] else [*ids, end]
    ids = np.array([ids if len(ids) <= most else [*ids[: most - 1], end]], dtype=np.int64)
    feeds = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    written = [0]  # the network puts its own start there
    while len(written) <= min(tokens, most):
        feeds["decoder_input_ids"] = np.array([written], dtype=np.int64)
        token = int(next(iter(run(feeds).values()))[0, -1].argmax())
        if token == end:
            break
        written.append(token)
    return tokenizer.decode(written[1:])


if __name__ == "__main__":
    print(respond(sys.argv[1] if len(sys.argv) == 2 else sys.exit(__doc__)))
''',
)
