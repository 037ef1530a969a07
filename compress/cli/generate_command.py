"""Command `generate`: continue a text with the artifact of a language model, as a stream."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from compress.cli import completion
from compress.cli.common import echo, echo_json, run_path
from compress.core.language import gettext


def generate(  # one parameter per flag: typer reads them from here
    artifact: Annotated[
        Path,
        typer.Argument(
            parser=run_path, help="Artifact of a language model, or a run directory with one.", autocompletion=completion.runs
        ),
    ],
    prompt: Annotated[str, typer.Argument(help="The text to continue, or the message if there is a chat template.")],
    most: Annotated[int, typer.Option("--max-new-tokens", min=1, help="Most tokens to generate.")] = 128,
    temperature: Annotated[float, typer.Option(min=0.0, help="0 takes the likeliest token; more is more random.")] = 0.0,
    top_p: Annotated[
        float, typer.Option("--top-p", min=0.01, max=1.0, help="Sample from the likeliest tokens of this probability.")
    ] = 1.0,
    seed: Annotated[int, typer.Option(help="Seed of the samples.")] = 0,
    system: Annotated[str | None, typer.Option(help="System message, for a chat template.")] = None,
    chat: Annotated[bool, typer.Option("--chat-template/--no-chat-template", help="Use the chat template, if any.")] = True,
    threads: Annotated[int, typer.Option(min=1, help="Threads within an operator.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print text, tokens and times as JSON at the end.")] = False,
) -> None:
    """Continue a text with the artifact of a language model, and print it as it is generated."""
    from compress.backends.decoder.sampling import Sampler
    from compress.export.stream_text import GenerationTimes
    from compress.export.text_generator import open_generator

    generator = open_generator(artifact, threads=threads)
    tokens = generator.prompt_tokens(prompt, system=system, chat=chat)
    times = GenerationTimes(len(tokens))
    pieces = []
    for piece in generator.stream(tokens, Sampler(temperature, top_p, seed), most=most, times=times):
        pieces.append(piece)
        if not as_json:
            sys.stdout.write(piece)
            sys.stdout.flush()
    further = sum(times.further_s)
    if as_json:
        echo_json(
            {
                "text": "".join(pieces),
                "tokens": times.tokens,
                "prompt_tokens": times.prompt_tokens,
                "time_to_first_token_s": times.first_token_s,
                "decode_tokens_per_s": len(times.further_s) / further if further else None,
            }
        )
        return
    echo("")
    if times.first_token_s is not None and further:
        echo(
            gettext(
                "{prompt} tokens read in {first:.2f} s, {count} generated, {rate:.1f} per second (measured once)",
                prompt=times.prompt_tokens,
                first=times.first_token_s,
                count=len(times.tokens),
                rate=len(times.further_s) / further,
            ),
            stderr=True,
        )
