"""Pieces of bytes become text."""

from __future__ import annotations

from compress.tasks.audio.written_pieces import text_of_pieces


def test_pieces_are_bytes_and_special_ones_are_left_out() -> None:
    pieces = ["<|startoftranscript|>", "\u0120gr", "\u00c3\u00bc", "\u00c3\u0141", "e", "\u0120!", "<|endoftext|>"]
    assert text_of_pieces(pieces) == "gr\N{LATIN SMALL LETTER U WITH DIAERESIS}\N{LATIN SMALL LETTER SHARP S}e !"
    assert text_of_pieces([]) == ""
