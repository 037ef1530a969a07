"""Small tables of texts whose class a word tells."""

import random

WORDS = ("the", "a", "cat", "dog", "bird", "runs", "sleeps", "eats", "under", "over", "near", "old", "new", "house", "tree")
SIGNS = {"bad": ("awful", "broken"), "good": ("fine", "lovely")}


def toy_rows(count=60, seed=0):
    """(text, class) of `count` texts of 3 to 12 words."""
    draw = random.Random(seed)
    rows = []
    for index in range(count):
        name = sorted(SIGNS)[index % 2]
        words = [*draw.choices(WORDS, k=draw.randint(2, 11)), draw.choice(SIGNS[name])]
        draw.shuffle(words)
        rows.append((" ".join(words), name))
    return rows


def write_csv(path, rows=None, header="text,target"):
    """A table of these rows."""
    lines = [header, *(f"{text},{name}" for text, name in rows or toy_rows())]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
