"""A MIME tree to the one text a reader sees, and the files beside it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from email import message_from_bytes, policy
from typing import Final
from urllib.parse import unquote

from vaultembed.message import Attachment
from vaultembed.text.charsets import clean
from vaultembed.text.mime.headers import decode_header, unfold
from vaultembed.text.mime.parts import Part, enclosed, read_part
from vaultembed.text.mime.signed import signed_content
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

_BOUNDARY_LINE: Final = re.compile(
    rb"^--([^\s\"](?:[^\r\n\"]{0,198}[^\s\"])?)[ \t]*\r?\n(?=\r?\n|[!-9;-~]+:)", re.MULTILINE
)
_HTML_IN_PLAIN: Final = re.compile(r"(?i)^\s{0,100}<(?:!doctype html|html|head|body)\b")
_ENRICHED_TAG: Final = re.compile(r"<<|</?[A-Za-z][\w-]{0,60}>")
_ENRICHED_PARAM: Final = re.compile(r"(?i)<param>[^<]*</param>")
_MARKUP: Final = re.compile(r"\{[^{}]{0,4000}\}|</?[A-Za-z][A-Za-z0-9]{0,20}(?:\s[^<>]{0,500})?/?>")
_REPORTS: Final = frozenset(
    ["message/delivery-status", "message/global-delivery-status", "message/disposition-notification",
     "message/global-disposition-notification", "message/feedback-report", "text/rfc822-headers",
     "message/global-headers"]
)  # fmt: skip
_REPORT_LINE: Final = re.compile(
    r"(?im)^(?:final-recipient|original-recipient|action|status|diagnostic-code|disposition|from|to|date|subject)"
    r"[ \t]*:.*(?:\n[ \t].*)*"
)
_PICTURE: Final = re.compile(
    rb"(?i)(?:\bsrc|\bbackground)\s*=\s*[\"']?([^\"'\s<>]{1,500})|\burl\(\s*[\"']?([^\"'()<>]{1,500})"
)
_SIGNATURES: Final = frozenset(
    ["application/pgp-signature", "application/pkcs7-signature", "application/x-pkcs7-signature"]
)
_SIGNED_INSIDE: Final = frozenset(["application/pkcs7-mime", "application/x-pkcs7-mime"])
_UNREAD: Final = frozenset(["application/ms-tnef", "application/vnd.ms-tnef"])
# What clients put where the text should be.
_STUB: Final = re.compile(
    r"(?i)\b(?:html[ -]?(?:e-?mail|mail|format|version|compatible|capable|enabled|viewer|message|newsletter)"
    r"|(?:display|view|read|support|render)\w*[^.\n]{0,60}\bhtml"
    r"|view (?:it|this|the)[^.\n]{0,40}\b(?:online|browser)|multi-?part message)\b"
)
_SAMPLE: Final = 50_000
_STUB_LENGTH: Final = 600
_CALENDAR_LINE: Final = re.compile(r"(?im)^(SUMMARY|LOCATION|DESCRIPTION)(?:;[^:\n]*)?:(.*)$")
_CALENDAR_ESCAPE: Final = re.compile(r"\\([,;\\nN])")
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
    its header and its text. What an invitation says and the text does not comes last.
    """
    reader = _Reader(log, read_html)
    text = reader.render(top, 0)
    invitation = [line for part in reader.calendars for line in _calendar_lines(part.text())]
    said = " ".join(text.split())
    missing = [line for line in dict.fromkeys(invitation) if " ".join(line.split()) not in said]
    text = "\n\n".join(filter(None, [text.rstrip("\n"), "\n".join(missing)]))
    if not text.strip() and reader.unread:
        log.add("unread-text", f"the text is in {reader.unread[0]}, which cannot be read")
    if len(text) > LONGEST_BODY:
        log.add("body-cut", f"{len(text):,} characters of text, the first {LONGEST_BODY:,} kept")
        text = text[:LONGEST_BODY]
    return Body(clean(text).strip("\n"), reader.charset, reader.attachments())


class _Reader:
    def __init__(self, log: ProblemLog, read_html: ReadHtml) -> None:
        self.log = log
        self.read_html = read_html
        self.charset: str | None = None
        self.files: list[tuple[Attachment, set[str]]] = []
        """Each with the names by which HTML may show it."""
        self.pictures: set[str] = set()
        """What the HTML shows, by the names that it uses."""
        self.calendars: list[Part] = []
        self.unread: list[str] = []
        """What holds text in a form that is not read here."""

    def attachments(self) -> list[Attachment]:
        return [
            replace(file, inline=True) if file.mime_type.startswith("image/") and self.pictures & names else file
            for file, names in self.files
        ]

    def _note_pictures(self, part: Part) -> None:
        for match in _PICTURE.finditer(part.data()):
            name = unquote((match[1] or match[2]).decode("utf-8", "replace"))
            self.pictures.add(name[4:] if name[:4].lower() == "cid:" else name)

    def render(self, part: Part, depth: int) -> str:
        if part.mime_type.startswith("multipart/") and not part.message.is_multipart():
            part = self._told_apart(part)
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
        if part.is_shown() or (depth == 0 and part.is_text()):
            if part.filename:
                self._attach(part)
            return self._text(part)
        if part.mime_type == "text/calendar":
            self.calendars.append(part)
        if part.mime_type in _REPORTS:
            return self._report(part)
        self._attach(part)
        if part.mime_type in _SIGNED_INSIDE:
            return self._signed_inside(part, depth)
        if part.mime_type in _UNREAD:
            self.unread.append(part.filename or part.mime_type)
        return ""

    def _report(self, part: Part) -> str:
        """What a delivery report says to people, or the header of the message that it is about."""
        text = "\n\n".join(str(each) for each in enclosed(part.message)) or part.text()
        return "\n".join(match[0].strip() for match in _REPORT_LINE.finditer(text))

    def _signed_inside(self, part: Part, depth: int) -> str:
        inner = signed_content(part.data())
        if inner is None:
            return ""  # encrypted
        if not inner:
            self.unread.append(part.filename or part.mime_type)
            return ""
        return self.render(read_part(message_from_bytes(inner, policy=policy.compat32), self.log), depth + 1)

    def _told_apart(self, part: Part) -> Part:
        """A multipart whose boundary is not the one that it names, or that is encoded as a whole. The first line of
        dashes with a header below it names the boundary."""
        found = _BOUNDARY_LINE.search(part.data())
        if found is None:
            return part
        header = b'Content-Type: %b; boundary="%b"\n\n' % (part.mime_type.encode(), found[1])
        try:
            message = message_from_bytes(header + part.data(), policy=policy.compat32)
        except Exception:  # as of the whole message: what `email` cannot take apart is text
            return part
        return replace(part, message=message) if message.is_multipart() else part

    def _attach(self, part: Part) -> None:
        if len(self.files) < _MOST_ATTACHMENTS:
            named = [value for field in ("content-id", "content-location") for value in part.fields.get(field, ())]
            file = part.attachment(inline=part.mime_type in _SIGNATURES)
            self.files.append((file, {unfold(value).strip(" <>") for value in named}))
        else:
            self.log.add("attachments-left-out", f"all behind the first {_MOST_ATTACHMENTS:,}")

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
        for child in parts:
            if child.mime_type == "text/html":
                self._note_pictures(child)
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
                plain = _joined(plain, self._text(part))
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


def _joined(text: str, more: str) -> str:
    """Of several plain alternatives, all that they say."""
    return text if more.strip() in text else "\n\n".join(filter(None, [text.strip("\n"), more]))


def _is_markup(text: str) -> bool:
    """Whether more of a text is style rules and tags than words: some programs put that in place of plain text."""
    sample = text[:_SAMPLE]
    found = (match[0] for match in _MARKUP.finditer(sample))
    return 2 * sum(len(each) for each in found if each[0] == "<" or ":" in each) > len(sample)


def _may_say_more(plain: str, html_size: int) -> bool:
    return len(plain) < _STUB_LENGTH or html_size > 4 * len(plain) or _is_markup(plain)


def _says_more(rendered: str, plain: str) -> bool:
    if not rendered.strip():
        return False
    if not plain.strip():
        return True
    if len(plain) < _STUB_LENGTH and _STUB.search(plain) and len(rendered) > len(plain) / 2:
        return True
    if _is_markup(plain) and not _is_markup(rendered):
        return True
    words, plain_words = len(rendered.split()), len(plain.split())
    # Text without spaces (Chinese) is measured in characters.
    return plain_words * 4 < words and words > 40 and len(plain) * 4 < len(rendered)


def _calendar_lines(calendar: str) -> list[str]:
    unfolded = re.sub(r"\n[ \t]", "", calendar)
    values = (
        _CALENDAR_ESCAPE.sub(lambda m: "\n" if m[1] in "nN" else m[1], m[2]) for m in _CALENDAR_LINE.finditer(unfolded)
    )
    return [value.strip() for value in values if value.strip()]
