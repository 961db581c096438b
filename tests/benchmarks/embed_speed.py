"""Tokens per second on real mail: in this process, in the child, and `Llama.embed` with its defaults.

    python tests/benchmarks/embed_speed.py [TEXTS]

Needs the default model and the mail in the folder `shared` beside the checkout. The three take turns on slices of
the same texts, so that a busy machine slows all of them.
"""

from __future__ import annotations

import mailbox
import sys
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

from llama_cpp import Llama

from vaultembed.models.open import open_in_child, open_in_process, resolve_model

MAIL = Path(__file__).resolve().parents[3] / "shared" / "data" / "mbox" / "r-sig-geo"
LONGEST = 256
SLICE = 128


def mails() -> Iterator[str]:
    for path in sorted(MAIL.iterdir()):
        for message in mailbox.mbox(path, create=False):
            content = message.get_payload(decode=True)
            if isinstance(content, bytes):
                yield f"Subject: {message['subject']}\n\n{content.decode('utf-8', 'replace')}"


def main(count: int) -> None:
    model = resolve_model()
    started = time.perf_counter()
    here = open_in_process(model)
    here.embed(["What did they say about the boat?"], "query")
    print(f"open and first query: {time.perf_counter() - started:.2f} s")
    child = open_in_child(model)
    child.embed(["warm"])
    plain = Llama(str(model.path), embedding=True, verbose=False)

    def cut(text: str) -> str:
        while (tokens := here.count_tokens(text)) > LONGEST:
            text = text[: max(1, len(text) * LONGEST // tokens - 1)]
        return text

    texts = [cut(text) for text in islice(mails(), count)]
    ways: dict[str, Callable[[list[str]], object]] = {
        "in this process": here.embed,
        "in the child": child.embed,
        "Llama.embed": lambda slice_: plain.embed(slice_, normalize=True),
    }
    seconds = dict.fromkeys(ways, 0.0)
    for first in range(0, len(texts), SLICE):
        for name, embed in ways.items():
            started = time.perf_counter()
            embed(texts[first : first + SLICE])
            seconds[name] += time.perf_counter() - started
    tokens = sum(map(here.count_tokens, texts))
    print(f"{len(texts)} texts, {tokens:,} tokens")
    for name, taken in seconds.items():
        print(f"{name:16} {tokens / taken:7,.0f} tokens/s  {seconds['Llama.embed'] / taken:4.1f} times")
    child.close()
    here.close()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000)
