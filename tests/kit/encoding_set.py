"""Texts that were garbled in known ways, and right ones that merely look odd: tests/fixtures/encoding."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vaultembed.text.mime.mime import parse_message

FOLDER = Path(__file__).parents[1] / "fixtures" / "encoding"
HALVES = ("first_half", "second_half")


@dataclass(frozen=True)
class Garbled:
    id: str
    field: str
    stored: bytes
    raw: bytes | None
    expected: str
    language: str
    charset: str

    @property
    def kind(self) -> Literal["header", "body"]:
        return "body" if self.field in ("body_text", "snippet") else "header"

    def sent(self) -> str | None:
        """The same text as today's decoder reads it from the message as it was sent."""
        if self.raw is None:
            return None
        parsed = parse_message(self.raw)
        match self.field:
            case "subject":
                return parsed.subject
            case "display name":
                return parsed.sender.name if parsed.sender else None
            case "attachment name":
                return parsed.attachments[0].filename if parsed.attachments else None
            case "label":
                return parsed.labels[0] if parsed.labels else None
        return parsed.body_text


@dataclass(frozen=True)
class Clean:
    id: str
    text: str
    language: str


def garbled() -> list[Garbled]:
    return [
        Garbled(
            one["id"],
            one["field"],
            bytes.fromhex(one["stored_hex"]),
            base64.b64decode(one["raw_base64"]) if one["raw_base64"] else None,
            one["expected"],
            one["language"],
            one["charset"],
        )
        for half in HALVES
        for one in json.loads((FOLDER / f"{half}.json").read_text())["garbled"]
    ]


def clean() -> list[Clean]:
    return [
        Clean(one["id"], one["text"], one["language"])
        for half in HALVES
        for one in json.loads((FOLDER / f"{half}.json").read_text())["clean"]
    ]
