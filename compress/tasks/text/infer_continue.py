"""Code of `infer.py` for causal language models.

The script of an artifact defines `preprocess(texts)`, `run(feeds)`, `HERE`, the folder of its files, `END`, the name of the
token that ends a text, and `BEFORE` and `AFTER`, the text around a prompt, and imports `sys`, `np` and `Tokenizer`.
"""

from __future__ import annotations

from compress.tasks.infer_code import InferCode

CONTINUE = InferCode(
    "Continue a text with the likeliest tokens:  python infer.py INPUT",
    '''
def continue_text(text, tokens=40):
    """The text that follows: the likeliest token each time, until one ends the text; all tokens are computed again."""
    tokenizer = Tokenizer.from_file(str(HERE / "tokenizer.json"))
    end = tokenizer.token_to_id(END)
    after = "" if AFTER == "\\n" and text[-1:].isspace() else AFTER
    feeds, found = preprocess([BEFORE + text + after]), []
    count, width = int(feeds["attention_mask"][0].sum()), feeds["input_ids"].shape[1]
    for _ in range(tokens):
        token = int(next(iter(run(feeds).values()))[0, count - 1].argmax())
        if token == end or count >= (tokenizer.truncation or {"max_length": 10**9})["max_length"]:
            break
        if count == width:  # a free number of tokens; a fixed one has padding
            feeds = {name: np.pad(values, ((0, 0), (0, 1))) for name, values in feeds.items()}
            width += 1
        feeds["input_ids"][0, count], feeds["attention_mask"][0, count] = token, 1
        found, count = [*found, token], count + 1
    return tokenizer.decode(found)


if __name__ == "__main__":
    print(continue_text(sys.argv[1] if len(sys.argv) == 2 else sys.exit(__doc__)))
''',
)
