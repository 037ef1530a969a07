"""Code of `infer.py` that ranks texts for an image, or images for a text, reads a line, or answers a question on an image.

The script of an artifact defines `image_inputs(path)`; to rank `text_inputs(texts)` and `run_tower(kind, feeds)`; to answer
`reader(image)`, which gives a function from further tokens to the logits of the next one, `END`, the name of the token that
ends a text, and `BEFORE` and `AFTER`, the text around a question.
"""

from __future__ import annotations

from compress.tasks.infer_code import InferCode

RANK = InferCode(
    "Rank texts for an image, or images for a text:  python infer.py INPUT",
    '''

def vectors(kind, feeds):
    """Rows of length 1, float64 (N, D)."""
    values = run_tower(kind, feeds).astype(np.float64)
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def rank(images, texts):
    """Cosine of each image with each text, (I, T)."""
    seen = np.concatenate([vectors("image", image_inputs(path)) for path in images])
    return seen @ vectors("text", text_inputs(texts)).T


if __name__ == "__main__":
    images = [each for each in sys.argv[1:] if Path(each).is_file()]
    texts = [each for each in sys.argv[1:] if not Path(each).is_file()]
    if not images or not texts:
        sys.exit(f"give an image and texts, or images and a text; got {len(images)} images and {len(texts)} texts\\n{__doc__}")
    try:
        cosines = rank(images, texts)
    except (OSError, ValueError) as error:
        sys.exit(f"cannot rank {', '.join(images)}: {error}")
    by_text = len(images) > 1 and len(texts) == 1
    for name, row in [(texts[0], cosines[:, 0])] if by_text else zip(images, cosines):
        print(name)
        for place in np.argsort(-row, kind="stable"):
            print(f"  {row[place]:+.4f}  {(images if by_text else texts)[place]}")
''',
)

READ_LINE = InferCode(
    "Print the text of an image of a line:  python infer.py INPUT",
    '''

def read_line(path):
    """The text by the likeliest class of each column, and the mean probability of its characters."""
    logits = next(iter(run(preprocess(path)).values()))[0]
    chances = np.exp(logits - logits.max(-1, keepdims=True))
    chances /= chances.sum(-1, keepdims=True)
    names = json.loads((HERE / "labels.json").read_text(encoding="utf-8"))
    best = logits.argmax(-1)
    kept = np.flatnonzero((best != 0) & (best != np.concatenate([[0], best[:-1]])))  # neighbours merged, blanks left out
    return "".join(names[best[place]] for place in kept), float(chances[kept, best[kept]].mean()) if len(kept) else 0.0


if __name__ == "__main__":
    try:
        text, chance = read_line(sys.argv[1] if len(sys.argv) == 2 else sys.exit(__doc__))
    except (OSError, ValueError) as error:
        sys.exit(f"cannot read {sys.argv[1]}: {error}")
    print(f"{text}  ({chance:.1%})")
''',
)

ANSWER = InferCode(
    "Answer a question on an image with the likeliest tokens:  python infer.py INPUT",
    '''

def answer(path, question, tokens=128):
    """The answer: the likeliest token each time, until one ends it."""
    tokenizer = Tokenizer.from_file(str(HERE / "tokenizer.json"))
    end, most = tokenizer.token_to_id(END), (tokenizer.truncation or {"max_length": 10**9})["max_length"]
    tokenizer.no_truncation()
    tokenizer.no_padding()
    after = "" if AFTER == "\\n" and question[-1:].isspace() else AFTER
    ids = tokenizer.encode(BEFORE + question + after).ids
    ids, read, written = ids[:-1] if ids[-1:] == [end] else ids, reader(image_inputs(path)), []
    if len(ids) >= most:
        raise ValueError(f"the question has {len(ids)} tokens; give fewer than {most}")
    new = ids
    while len(written) < min(tokens, most - len(ids)):
        token = int(read(new).argmax())
        if token == end:
            break
        written.append(token)
        new = [token]
    return tokenizer.decode(written)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(f"give an image and a question in quotes; got {len(sys.argv) - 1} arguments\\n{__doc__}")
    try:
        print(answer(sys.argv[1], sys.argv[2]))
    except (OSError, ValueError) as error:
        sys.exit(f"cannot answer on {sys.argv[1]}: {error}")
''',
)
