"""Code of `infer.py` for networks of texts: entities, answers, masked tokens and vectors.

The script of an artifact defines `preprocess(texts)`, `run(feeds)`, `INPUTS`, `ROWS` and `HERE`, the folder of its files,
and imports `json`, `sys`, `np`, `Path` and `Tokenizer`.
"""

from __future__ import annotations

from compress.tasks.infer_code import InferCode

FIND_ENTITIES = InferCode(
    "Print the entities:  python infer.py INPUT",
    '''

def entities(text):
    """First and next character, type, and least probability of a word of each entity; words as the tokenizer splits them."""
    encoding = Tokenizer.from_file(str(HERE / "tokenizer.json")).encode(text)
    logits = next(iter(run(preprocess([text])).values()))[0]
    chances = np.exp(logits - logits.max(-1, keepdims=True))
    chances /= chances.sum(-1, keepdims=True)
    labels = json.loads((HERE / "labels.json").read_text(encoding="utf-8"))
    found, word, kind, before = [], None, "", "O"
    for (start, end), own, row in zip(encoding.offsets, encoding.word_ids, chances):
        if own is None or end <= start or own == word:
            if own is not None and own == word and kind:
                found[-1][1] = end
            continue
        tag = labels[int(row.argmax())]
        prefix, _, name = tag.partition("-")
        name = "" if tag == "O" else name or tag
        if name and (prefix in ("B", "S", "U") or before in ("E", "S", "L", "U") or name != kind):
            found.append([start + len(text[start:end]) - len(text[start:end].lstrip()), end, name, float(row.max())])
        elif name:
            found[-1][1], found[-1][3] = end, min(found[-1][3], float(row.max()))
        word, kind, before = own, name, prefix
    return found


if __name__ == "__main__":
    for start, end, name, chance in entities(sys.argv[1] if len(sys.argv) == 2 else sys.exit(__doc__)):
        print(f"{chance:6.1%}  {name}  {start}-{end}  {sys.argv[1][start:end]}")
''',
)

ANSWER = InferCode(
    "Print the answer to a question from a text:  python infer.py INPUT",
    '''
NULL_ANSWERS = False

def answer(question, text, most=30):
    """Text, first and next character, and score of the best answer; the text is empty for no answer."""
    tokenizer = Tokenizer.from_file(str(HERE / "tokenizer.json"))
    tokenizer.no_padding()
    limits = tokenizer.truncation
    tokenizer.enable_truncation(limits["max_length"] // 2)
    cut = tokenizer.encode(question)
    question = question[: max(end for _, end in cut.offsets)] if cut.overflowing else question
    tokenizer.enable_truncation(**limits)
    encoding = tokenizer.encode(question, text)
    best, null = ("", 0, 0, -np.inf), np.inf
    for window in [encoding, *(encoding.overflowing if limits["stride"] else [])]:
        feeds = {name: np.array([getattr(window, ROWS[name])], dtype=np.int64) for name in INPUTS}
        start, end = (values[0].astype(np.float64) for values in run(feeds).values())
        inside = np.array([own == 1 and b > a for own, (a, b) in zip(window.sequence_ids, window.offsets)])
        scores = np.where(np.outer(inside, inside), start[:, None] + end[None, :], -np.inf)
        scores = np.where(np.triu(np.ones_like(scores)) - np.triu(np.ones_like(scores), most) > 0, scores, -np.inf)
        first, last = np.unravel_index(scores.argmax(), scores.shape)
        a, b, null = window.offsets[first][0], window.offsets[last][1], min(null, start[0] + end[0])
        if scores.max() > best[3]:
            best = (text[a:b].strip(), a, b, float(scores.max()))
    return ("", 0, 0, float(null)) if NULL_ANSWERS and null > best[3] else best


if __name__ == "__main__":
    words, start, end, score = answer(*(sys.argv[1:] if len(sys.argv) == 3 else sys.exit(__doc__)))
    print(f"{words or 'no answer'}  (characters {start}-{end}, score {score:.3f})")
''',
)
ANSWER_OR_NONE = InferCode(ANSWER.purpose, ANSWER.source.replace("NULL_ANSWERS = False", "NULL_ANSWERS = True"))
"""For questions that may have no answer."""

FILL_MASKS = InferCode(
    "Print the likeliest tokens for each [MASK]:  python infer.py INPUT",
    '''

def fill(text, top=5):
    """For each masked token the `top` tokens with their probabilities, the likeliest first."""
    tokenizer = Tokenizer.from_file(str(HERE / "tokenizer.json"))
    mask = next(token for token in ("[MASK]", "<mask>") if tokenizer.token_to_id(token) is not None)
    feeds = preprocess([text])
    logits, answers = next(iter(run(feeds).values()))[0], []
    for place in np.flatnonzero(feeds["input_ids"][0] == tokenizer.token_to_id(mask)):
        chances = np.exp(logits[place] - logits[place].max()) / np.exp(logits[place] - logits[place].max()).sum()
        answers.append([(tokenizer.id_to_token(int(each)), float(chances[each])) for each in np.argsort(-chances)[:top]])
    if not answers:
        raise ValueError(f"the text has no {mask}; write it in place of the tokens to find")
    return answers


if __name__ == "__main__":
    try:
        answers = fill(sys.argv[1] if len(sys.argv) == 2 else sys.exit(__doc__))
    except ValueError as error:
        sys.exit(str(error))
    for number, tokens in enumerate(answers, 1):
        for token, chance in tokens:
            print(f"{number}  {chance:6.1%}  {token}")
''',
)

EMBED = InferCode(
    "Print the vector of a text as JSON, or the cosine of two texts:  python infer.py INPUT",
    '''

def embed(*texts):
    """The vector of each text, float32 (N, D)."""
    return next(iter(run(preprocess(texts)).values()))


def similarity(text, other):
    """The cosine of the vectors of two texts."""
    a, b = embed(text, other).astype(np.float64)
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    print(f"{similarity(*sys.argv[1:]):.4f}" if len(sys.argv) == 3 else json.dumps(embed(sys.argv[1])[0].tolist()))
''',
)
