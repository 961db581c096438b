"""The mailbox that `vaultembed demo` imports, and what it searches there.

`mailbox.mbox` is the post of Mira Halvorsen, 1998 to 2024. She, everyone who writes to her, and every company
are invented. The file is made by `tests/fixtures/make_sample_mailbox.py`; change the texts beside that script.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final


@dataclass(frozen=True, slots=True)
class DemoQuery:
    """A search whose words stand nowhere in the mailbox, so that meaning alone can find the message."""

    text: str
    finds: str
    """The Message-ID, without angle brackets, of the message that comes out first with the default model."""
    why: str
    """What was found and in which words, for a person to read beside the result."""


DEMO_QUERIES: Final = (
    DemoQuery(
        text="vehicle stolen",
        finds="48560394.4080205@kuestenwarte.example.com",
        why="an insurance claim of 2008 for a green bicycle, a sawn-through lock and some leeks",
    ),
    DemoQuery(
        text="kitten reappeared",
        finds="4DAE72AF.9000701@halvorsen.example.net",
        why='the neighbours are told that "the cat is back", under a French subject',
    ),
    DemoQuery(
        text="girl secretly ran lighthouse",
        finds="20030311111620.GA1302@heatherbank.example.org",
        why="deep inside a letter of 1,600 words: a keeper's daughter of twelve, alone with the light in 1917",
    ),
)


def sample_path() -> Path:
    """Where `mailbox.mbox` lies: beside this module, in a wheel and in a checkout alike."""
    return Path(__file__).with_name("mailbox.mbox")
