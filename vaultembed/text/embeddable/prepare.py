"""The embeddable text of a message: its subject and its author's own words."""

from __future__ import annotations

from typing import Final

from vaultembed.text.embeddable.clutter import fold, strip_blobs
from vaultembed.text.embeddable.quotes import split_quotes
from vaultembed.text.embeddable.signatures import strip_scrubbed, strip_signature
from vaultembed.text.embeddable.subject import base_subject, is_forward, is_reply, spoken_subject

__all__ = ["PREPARE_VERSION", "base_subject", "prepare_tag", "prepare_text"]

PREPARE_VERSION: Final = 2
"""Part of the recipe. Raise it with every change that changes a result."""


def prepare_tag() -> str:
    """How the fingerprint names this preparation, e.g. "p1"."""
    return f"p{PREPARE_VERSION}"


def prepare_text(subject: str, body_text: str, *, answers: bool = False) -> str:
    """What is embedded: `"Subject: {subject}\\n\\n{body}"`; pure, deterministic, linear in time.

    `answers`: the header names a message that is answered. List archives take "Re:" off the subject.

    Quotations with their attributions, signatures, footers, blobs and tracking go; forwarded messages stay,
    for they are what the message says. Where quoting leaves nothing of the author's (a bare quotation, a
    reply written inside of marks), the quoted text stands in; where the signature rules would take
    everything, they take nothing. The subject loses reply prefixes and list names. Without a subject the
    body stands alone; "" where there is neither.
    """
    text = strip_scrubbed(strip_blobs(body_text))
    parts = split_quotes(text, replying=answers or is_reply(subject), forwarding=is_forward(subject))
    kept = [fold(strip_signature(part)) for part in (parts.own, parts.forwarded) if part.strip()]
    body = "\n\n".join(part for part in kept if part)
    if not _says_something(body):
        body = fold(strip_signature(parts.quoted)) or body
    title = fold(spoken_subject(subject)).replace("\n", " ") or fold(subject).replace("\n", " ")
    if not _says_something(body):
        body = body if title == "" else ""
    if not title:
        return body
    return f"Subject: {title}\n\n{body}" if body else f"Subject: {title}"


def _says_something(text: str) -> bool:
    return any(not character.isspace() for character in text)
