"""The process that hosts the model for a build: an abort in native code ends this process and not the caller's.

Started by `vaultembed.models.host`. Requests come on standard input, answers leave by standard output; it ends when
its input does, so that it outlives no caller.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import TYPE_CHECKING, BinaryIO

from vaultembed.errors import VaultembedError
from vaultembed.models.errors import BadTextError
from vaultembed.models.frames import Kind, pack_embedded, read_frame, unpack_model, unpack_share, write_frame

if TYPE_CHECKING:
    from vaultembed.models.protocol import Embedder


def main() -> None:
    # Ctrl-C reaches the whole terminal, SIGTERM a whole service; what it means is the caller's to decide.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    with _private_output() as output:
        try:
            _serve(sys.stdin.buffer, output)
        except BrokenPipeError:
            sys.exit(1)


def _private_output() -> BinaryIO:
    """The pipe to the caller, out of reach of native code that prints: file descriptor 1 becomes standard error."""
    private = os.dup(1)
    os.dup2(2, 1)
    return os.fdopen(private, "wb")


def _serve(requests: BinaryIO, answers: BinaryIO) -> None:
    embedder: Embedder | None = None
    try:
        while (frame := read_frame(requests)) is not None:
            kind, content = frame
            try:
                if kind is Kind.OPEN:
                    from vaultembed.models.open import open_in_process

                    embedder = open_in_process(unpack_model(content), unpack_share(content))
                elif embedder is not None:
                    request = json.loads(content)
                    embedded = embedder.embed(request["texts"], request["role"])
                    write_frame(answers, Kind.VECTORS, pack_embedded(embedded))
            except BadTextError as error:
                fields = [error.index, error.reason, error.characters, error.tokens]
                write_frame(answers, Kind.BAD_TEXT, json.dumps(fields).encode())
            except VaultembedError as error:
                write_frame(answers, Kind.ERROR, json.dumps([error.message, error.hint]).encode())
    finally:
        if embedder is not None:
            embedder.close()
