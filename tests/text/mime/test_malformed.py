"""Malformed mail that another project keeps with what its own parser finds in each: parts, bytes, header fields."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from email.utils import parseaddr, parsedate_to_datetime
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from vaultembed.message import ParsedMessage
from vaultembed.text.html.to_text import html_to_text
from vaultembed.text.mime.headers import parameters
from vaultembed.text.mime.mime import parse_message
from vaultembed.text.problems import ProblemLog

pytestmark = pytest.mark.corpus

UNLIKE = {
    # The other parser decodes what stands behind the base64 (a broken boundary), or leaves out a last piece.
    "frag",
    "multi-frag",
    # A boundary that ends in blanks, which no boundary may (RFC 2046, 5.1.1): its last line is not told from text.
    "weird-boundary",
    "very-long-boundary",
    "very-very-long-boundary",
    # The other parser throws away the line behind one that is no field; here it is text.
    "malformedHeaderStartsBody-nocrlfcrlf",
    # Python's `decode_header`, which the test asks, puts a blank between encoded words of two charsets.
    "intl",
}
TAG = re.compile(r"</?\w+>")


def words(text: str) -> str:
    return " ".join(text.split())


def text_of(data: bytes, charset: str | None) -> str:
    try:
        return data.decode(charset or "utf-8")
    except (LookupError, UnicodeDecodeError):
        return data.decode("cp1252", "replace")


def fields_of(node: ET.Element) -> dict[str, str]:
    fields: dict[str, str] = {}
    for field in node.findall("header/field"):
        name, _, value = (field.text or "").partition(":")
        if value.strip():
            fields.setdefault(name.strip().lower(), words(value))
    return fields


def decoded(value: str) -> str:
    try:
        return words(str(make_header(decode_header(value))))
    except (HeaderParseError, LookupError, UnicodeDecodeError):
        return value


def header_differences(expected: dict[str, str], found: ParsedMessage) -> Iterator[str | None]:
    if "subject" in expected:
        same = words(found.subject) == decoded(expected["subject"])
        yield None if same else f"subject {found.subject!r}, not {decoded(expected['subject'])!r}"
    if "@" in expected.get("from", ""):
        address = parseaddr(expected["from"])[1].lower()
        sender = found.sender.address if found.sender else None
        yield None if sender == address else f"sender {sender!r}, not {address!r}"
    if "date" in expected:
        try:
            sent = int(parsedate_to_datetime(expected["date"]).timestamp())
        except ValueError:
            return
        yield None if found.sent_at == sent else f"sent at {found.sent_at}, not {sent}"


def part_differences(node: ET.Element, folder: Path, found: ParsedMessage) -> Iterator[str | None]:
    """For each part that is to be found: nothing, or what is not."""
    body = words(found.body_text)
    files = Counter((file.filename, file.size) for file in found.attachments)
    alternatives: list[bool] = []
    sizes = Counter(file.size for file in found.attachments)
    for is_other, part in parts_of(node):
        leaf = next((child for child in part if child.tag in {"text-body", "binary-body"}), None)
        if leaf is None:
            continue
        data = (folder / leaf.attrib["name"]).read_bytes()
        fields = fields_of(part)
        kind, named = parameters(fields.get("content-type", ""), ProblemLog())
        name = parameters(fields.get("content-disposition", ""), ProblemLog())[1].get("filename") or named.get("name")
        name = name and re.split(r"[\\/]", name)[-1]
        text = text_of(data, named.get("charset"))
        if leaf.tag == "text-body":
            text = TAG.sub("", text) if kind == "text/richtext" else text
            text = words(html_to_text(text, ProblemLog()) if kind == "text/html" else text)
            if is_other:
                alternatives.append(text in body)
                continue
            if text in body:
                yield None
                continue
        is_there = files[name, len(data)] if name else sizes[len(data)]
        yield None if is_there else f"{kind or 'no type'} {name or ''} of {len(data)} bytes: {text[:70]!r}"
    if alternatives:
        yield None if any(alternatives) else "no alternative is the text"


def parts_of(node: ET.Element, is_other: bool = False) -> Iterator[tuple[bool, ET.Element]]:
    """The leaves, each with whether it is one of several alternatives, of which any may be the text."""
    is_other = is_other or fields_of(node).get("content-type", "").lower().startswith("multipart/alternative")
    for child in node:
        if child.tag == "multipart":
            for part in child.findall("body-part"):
                yield from parts_of(part, is_other)
        elif child.tag == "message":
            yield from parts_of(child, is_other)
        elif child.tag in {"text-body", "binary-body"}:
            yield is_other, node


def test_malformed_mail_is_read_as_another_parser_reads_it(shared_data: Path) -> None:
    agreed = Counter[str]()
    asked = Counter[str]()
    differing: dict[str, list[str]] = {}
    messages = sorted((shared_data / "eml" / "mime4j").rglob("*.msg"))
    for path in messages:
        expected = ET.parse(path.with_name(f"{path.stem}_decoded.xml")).getroot()  # noqa: S314
        found = parse_message(path.read_bytes())
        for what, answers in (
            ("header fields", list(header_differences(fields_of(expected), found))),
            ("parts", list(part_differences(expected, path.parent, found))),
        ):
            asked[what] += len(answers)
            agreed[what] += answers.count(None)
            if unlike := [answer for answer in answers if answer]:
                differing.setdefault(path.stem, []).extend(unlike)
    report = "\n".join(f"{name}: {'; '.join(unlike)}" for name, unlike in differing.items())
    assert set(differing) <= UNLIKE, report
    assert len(messages) == 80
    assert agreed["header fields"] >= 129, report  # of 130
    assert agreed["parts"] >= 150, report  # of 156
