"""Pieces of a byte-level tokenizer → text: each character of a piece stands for a byte; Radford et al. 2019, GPT-2.

The function is self-contained, so that `infer.py` can contain its source.
"""

from __future__ import annotations


def text_of_pieces(pieces: list[str]) -> str:
    """The text of pieces; special ones, such as `<|endoftext|>`, are left out."""
    printed = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printed]
    byte_of = {chr(byte): byte for byte in printed} | {chr(256 + place): byte for place, byte in enumerate(others)}
    text = "".join(piece for piece in pieces if not (piece.startswith("<|") and piece.endswith("|>")))
    return bytes(byte_of[character] for character in text if character in byte_of).decode("utf-8", errors="replace").strip()
