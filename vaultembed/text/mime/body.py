"""A MIME tree to the one text a reader sees, and the files beside it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from typing import Final

from vaultembed.message import Attachment
from vaultembed.text.charsets import clean
from vaultembed.text.mime.headers import decode_header
from vaultembed.text.mime.parts import Part, enclosed, read_part
from vaultembed.text.problems import ProblemLog

ReadHtml = Callable[[str, ProblemLog], str]

LONGEST_BODY: Final = 4_000_000
"""Characters of `body_text` that are kept: two of the longest novels. The raw message has the rest."""

_DEEPEST: Final = 40
_MOST_ATTACHMENTS: Final = 1_000

_DEFECTS: Final = {
    "StartBoundaryNotFoundDefect": ("missing-boundary", "the parts of a multipart could not be told apart"),
    "NoBoundaryInMultipartDefect": ("missing-boundary", "a multipart names no boundary"),
    "CloseBoundaryNotFoundDefect": ("unclosed-multipart", "a multipart ends without its last boundary"),
    "MissingHeaderBodySeparatorDefect": ("broken-header", "a line of the header is no header field"),
    "FirstHeaderLineIsContinuationDefect": ("broken-header", "the header begins with a continuation line"),
}

_HTML_IN_PLAIN: Final = re.compile(r"(?i)^\s{0,100}<(?:!doctype html|html|head|body)\b")
_ENRICHED_TAG: Final = re.compile(r"<<|</?[A-Za-z][\w-]{0,60}>")
_ENRICHED_PARAM: Final = re.compile(r"(?i)<param>[^<]*</param>")
# What clients put where the text should be.
_STUB: Final = re.compile(
    r"(?i)\b(?:html[ -]?(?:e-?mail|mail|format|version|compatible|capable|enabled|viewer|message|newsletter)"
    r"|(?:display|view|read|support|render)\w*[^.\n]{0,60}\bhtml"
    r"|view (?:it|this|the)[^.\n]{0,40}\b(?:online|browser)|multi-?part message)\b"
)
_STUB_LENGTH: Final = 600
_CALENDAR_LINE: Final = re.compile(r"(?im)^(SUMMARY|LOCATION|DESCRIPTION)(?:;[^:\n]*)?:(.*)$")
_SUMMARY_FIELDS: Final = ("From", "Date", "To", "Cc", "Subject")


@dataclass(slots=True)
class Body:
    text: str = ""
    charset: str | None = None
    """As the first text part declares it: the best guess for undeclared 8-bit in the header."""
    attachments: list[Attachment] = field(default_factory=list)


def body_of(top: Part, log: ProblemLog, read_html: ReadHtml) -> Body:
    """The text of the tree under `top`, and its attachments.

    Of alternatives the plain one, unless it is empty, a stub, or much shorter than the HTML's text. Other
    text parts follow one another. An encrypted part has no text. An enclosed message stands as a summary of
    its header and its text.
    """
    reader = _Reader(log, read_html)
    text = reader.render(top, 0)
    if not text.strip() and reader.calendars:
        text = "\n\n".join(_calendar_text(part.text()) for part in reader.calendars)
    if len(text) > LONGEST_BODY:
        log.add("body-cut", f"{len(text):,} characters of text, the first {LONGEST_BODY:,} kept")
        text = text[:LONGEST_BODY]
    return Body(clean(text).strip("\n"), reader.charset, reader.attachments)


class _Reader:
    def __init__(self, log: ProblemLog, read_html: ReadHtml) -> None:
        self.log = log
        self.read_html = read_html
        self.charset: str | None = None
        self.attachments: list[Attachment] = []
        self.calendars: list[Part] = []

    def render(self, part: Part, depth: int) -> str:
        for defect in part.message.defects:
            kind, detail = _DEFECTS.get(type(defect).__name__, ("", ""))
            if kind:
                self.log.add(kind, detail)
        if depth > _DEEPEST:
            self.log.add("too-deep", f"parts below level {_DEEPEST} are left out")
            return ""
        if part.mime_type in {"message/rfc822", "message/global"}:
            return self._enclosed(part, depth)
        if part.message.is_multipart() and part.mime_type.startswith("multipart/"):
            return self._multipart(part, depth)
        if part.mime_type.startswith("multipart/"):  # its parts could not be told apart
            return self._text(part)
        if part.is_shown():
            if part.filename:
                self._attach(part)
            return self._text(part)
        if part.mime_type == "text/calendar":
            self.calendars.append(part)
        if part.mime_type.startswith("message/") and not part.filename and part.disposition != "attachment":
            return ""  # a delivery status: for programs
        self._attach(part)
        return ""

    def _attach(self, part: Part) -> None:
        if len(self.attachments) < _MOST_ATTACHMENTS:
            self.attachments.append(part.attachment())

    def _text(self, part: Part) -> str:
        if self.charset is None:
            self.charset = part.parameters.get("charset")
        if len(part.data()) > 4 * LONGEST_BODY:
            self.log.add("body-cut", f"{part.mime_type} of {len(part.data()):,} bytes")
            part.cut(4 * LONGEST_BODY)
        text = part.text()
        if part.mime_type == "text/html" or _HTML_IN_PLAIN.match(text):
            return self.read_html(text, self.log)
        if part.mime_type in {"text/enriched", "text/richtext"}:
            return _ENRICHED_TAG.sub(lambda m: "<" if m[0] == "<<" else "", _ENRICHED_PARAM.sub("", text))
        return text

    def _multipart(self, part: Part, depth: int) -> str:
        default = "message/rfc822" if part.mime_type == "multipart/digest" else "text/plain"
        parts = [read_part(child, self.log, default) for child in enclosed(part.message)]
        if part.mime_type == "multipart/alternative":
            return self._alternative(parts, depth)
        if part.mime_type == "multipart/encrypted":
            for child in parts:
                self._attach(child)
            return ""
        if part.mime_type == "multipart/appledouble":  # a resource fork, then the file
            parts = parts[1:]
        texts = [self.render(child, depth + 1) for child in parts]
        return "\n\n".join(text.strip("\n") for text in texts if text.strip())

    def _alternative(self, parts: list[Part], depth: int) -> str:
        plain = ""
        html: list[Part] = []
        for part in parts:
            if part.mime_type == "text/plain" and part.is_shown():
                plain = plain if plain.strip() else self._text(part)
            elif part.mime_type == "text/html" or part.message.is_multipart():
                html.append(part)
            elif part.mime_type in {"text/enriched", "text/richtext"}:
                plain = plain if plain.strip() else self._text(part)
            else:
                self.render(part, depth + 1)
        rendered = ""
        for part in html:
            # A multipart is always read: its pictures and files are attachments.
            if part.message.is_multipart() or _may_say_more(plain, len(part.data())):
                text = self.render(part, depth + 1)
                rendered = text if len(text) > len(rendered) else rendered
        return rendered if _says_more(rendered, plain) else plain

    def _enclosed(self, part: Part, depth: int) -> str:
        if part.filename or part.disposition == "attachment":
            self._attach(part)
            return ""
        child = next(iter(enclosed(part.message)), None)
        encoding = "".join(part.fields.get("content-transfer-encoding", ())).strip().lower()
        if child is None or encoding in {"base64", "quoted-printable"}:
            # Not allowed, and done: the message itself is encoded, and `email` does not look inside.
            try:
                child = message_from_bytes(part.data(), policy=policy.compat32)
            except Exception as error:
                self.log.add("unreadable-structure", f"an enclosed message: {type(error).__name__}")
                return ""
        inner = read_part(child, self.log)
        lines = ["---------- Forwarded message ----------"]
        for name in _SUMMARY_FIELDS:
            value = "".join(inner.fields.get(name.lower(), ())[:1])
            if value.strip():
                lines.append(f"{name}: {decode_header(value[:2_000], self.log, where=name.lower())}")
        return "\n".join(lines) + "\n\n" + self.render(inner, depth + 1)


def _may_say_more(plain: str, html_size: int) -> bool:
    return len(plain) < _STUB_LENGTH or html_size > 4 * len(plain)


def _says_more(rendered: str, plain: str) -> bool:
    if not rendered.strip():
        return False
    if not plain.strip():
        return True
    if len(plain) < _STUB_LENGTH and _STUB.search(plain) and len(rendered) > len(plain) / 2:
        return True
    words, plain_words = len(rendered.split()), len(plain.split())
    # Text without spaces (Chinese) is measured in characters.
    return plain_words * 4 < words and words > 40 and len(plain) * 4 < len(rendered)


def _calendar_text(calendar: str) -> str:
    unfolded = re.sub(r"\n[ \t]", "", calendar)
    lines: dict[str, None] = {}
    for match in _CALENDAR_LINE.finditer(unfolded):
        value = re.sub(r"\\([,;\\nN])", lambda m: "\n" if m[1] in "nN" else m[1], match[2]).strip()
        if value:
            lines[value] = None
    return "\n".join(lines)
