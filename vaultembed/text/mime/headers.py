"""Header fields as people wrote them: RFC 2047 words, RFC 2231 parameters, addresses, message ids.

Values come in as `email` with compat32 keeps them: str, with undeclared 8-bit bytes as lone surrogates
(surrogateescape). Every function is linear in the length of its value.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote_to_bytes

from vaultembed.message import Person
from vaultembed.text.charsets import codec_of, decode
from vaultembed.text.mime.identity import normalise_message_id
from vaultembed.text.mime.transfer import decode_base64
from vaultembed.text.problems import ProblemLog

_LONGEST_TEXT: Final = 20_000  # of a decoded value; a subject of a megabyte is an attack
_LONGEST_NAME: Final = 500
_MOST_PARTS: Final = 200  # of one continued parameter

# Text may hold spaces and "?" although it must not ("=?utf-8?Q?Who? Me?="), up to the closing "?=".
_WORD: Final = re.compile(r"=\?([A-Za-z0-9_:.+'*-]{1,60})\?([bBqQ])\?((?:[^?]|\?(?!=))*)\?=")
_Q_ESCAPE: Final = re.compile(rb"=([0-9A-Fa-f]{2})")
_FOLD: Final = re.compile(r"[\r\n]+[ \t]*")
_CONTROL: Final = re.compile("[\x00-\x1f\x7f\x85\u2028\u2029]+")
_SURROGATES: Final = re.compile("[\udc80-\udcff]")


def to_bytes(value: str) -> bytes:
    """The bytes a compat32 string stands for."""
    try:
        return value.encode("ascii", "surrogateescape")
    except UnicodeEncodeError:
        return value.encode("utf-8", "surrogateescape")


def unfold(value: str) -> str:
    return _FOLD.sub(" ", value) if "\n" in value or "\r" in value else value


def decode_header(value: str, log: ProblemLog, *, hint: str | None = None, where: str = "header") -> str:
    """One line of text: RFC 2047 words and raw 8-bit decoded, white space collapsed."""
    value = unfold(value[:_LONGEST_TEXT])
    if "=?" in value:
        value = _decode_words(value, log, hint, where)
    elif "\x1b$" in value:  # raw ISO-2022-JP, which is ASCII to the eye
        value = decode(to_bytes(value), "iso-2022-jp", log, where=where)
    else:
        value = _decode_raw(value, log, hint, where)
    return " ".join(_CONTROL.sub(" ", value).split())


def decode_words(value: str) -> str:
    """A field of message ids with its RFC 2047 words undone: they have no place there, and some programs write long ids
    so, cut anywhere."""
    return _decode_words(unfold(value[: 10 * _LONGEST_TEXT]), ProblemLog(), None, "id") if "=?" in value else value


def _decode_raw(value: str, log: ProblemLog, hint: str | None, where: str) -> str:
    if value.isascii():
        return value
    if _SURROGATES.search(value):
        return decode(to_bytes(value), None, log, hint=hint, where=where)
    return decode(value.encode("utf-8", "replace"), "utf-8", log, where=where)


def _decode_words(value: str, log: ProblemLog, hint: str | None, where: str) -> str:
    out: list[str] = []
    pending = bytearray()  # bytes of adjacent words of one charset: senders cut characters in two
    pending_charset = ""
    end = 0

    def flush() -> None:
        if pending:
            charset = pending_charset.partition("*")[0]
            if codec_of(charset) is None:
                log.add("unknown-charset", f"{where}: {charset!r}")
                charset = ""
            out.append(decode(bytes(pending), charset or None, log, hint=hint, where=where))
            pending.clear()

    for match in _WORD.finditer(value):
        between = value[end : match.start()]
        if between.strip() or end == 0:
            flush()
            out.append(_decode_raw(between, log, hint, where))
        charset, encoding, text = match.groups()
        if charset.lower() != pending_charset:
            flush()
            pending_charset = charset.lower()
        pending += _word_bytes(encoding, text, log, where)
        end = match.end()
    flush()
    out.append(_decode_raw(value[end:], log, hint, where))
    return "".join(out)


def _word_bytes(encoding: str, text: str, log: ProblemLog, where: str) -> bytes:
    raw = to_bytes(text)
    if encoding in "qQ":
        return _Q_ESCAPE.sub(lambda m: bytes([int(m[1], 16)]), raw.replace(b"_", b" "))
    return decode_base64(raw, log, where)


# ---- parameters -------------------------------------------------------------------------------------------

_PARAMETER_TOKEN: Final = re.compile(r'"((?:[^"\\]|\\.)*)"|[^";]+|.', re.DOTALL)
_CONTINUED: Final = re.compile(r"^([^*]+)(?:\*(\d{1,4}))?(\*)?$")


def parameters(value: str, log: ProblemLog, hint: str | None = None) -> tuple[str, dict[str, str]]:
    """A structured field's main value (lower case) and its parameters, RFC 2231 and RFC 2047 undone."""
    value = unfold(value[:_LONGEST_TEXT])
    pieces = _split_parameters(value)
    # `text/plain charset=us-ascii`: the semicolon is missing.
    main, *missed = _main(pieces[0][0]).split()[:2] or [""]
    plain: dict[str, str] = {}
    parts: dict[str, dict[int, tuple[str, bool]]] = {}
    for text, quoted in [*((one, None) for one in missed), *pieces[1:]]:
        name, equals, bare = text.partition("=")
        name = name.strip().lower()
        if not equals or not name:
            continue
        content = quoted if quoted is not None else bare.strip().strip("\"'")
        continued = _CONTINUED.match(name)
        if continued and (continued[2] or continued[3]):
            numbered = parts.setdefault(continued[1], {})
            if len(numbered) < _MOST_PARTS:
                numbered.setdefault(int(continued[2] or 0), (content, bool(continued[3])))
        else:
            plain.setdefault(name, content)
    found = {name: decode_header(text, log, hint=hint, where=name) for name, text in plain.items()}
    for name, numbered in parts.items():
        found[name] = _joined(name, numbered, log, hint)
    return main, found


def _split_parameters(value: str) -> list[tuple[str, str | None]]:
    """The pieces between semicolons outside of quotes, each with the text of its first quoted string."""
    pieces: list[tuple[str, str | None]] = []
    words: list[str] = []
    quoted: str | None = None
    for match in _PARAMETER_TOKEN.finditer(value):
        if match[0] == ";":
            pieces.append(("".join(words), quoted))
            words, quoted = [], None
        else:
            words.append(match[0])
            if match[1] is not None and quoted is None:
                quoted = re.sub(r"\\([\"\\])", r"\1", match[1])
    pieces.append(("".join(words), quoted))
    return pieces


def _main(text: str) -> str:
    return _CONTROL.sub("", text).strip().strip("\"'").lower()[:200].encode("ascii", "ignore").decode()


def _joined(name: str, pieces: dict[int, tuple[str, bool]], log: ProblemLog, hint: str | None) -> str:
    ordered = [pieces[number] for number in sorted(pieces)]
    charset = ""
    if ordered[0][1] and ordered[0][0].count("'") >= 2:
        charset, _language, first = ordered[0][0].split("'", 2)
        ordered[0] = (first, True)
    raw = b"".join(unquote_to_bytes(to_bytes(text)) if encoded else to_bytes(text) for text, encoded in ordered)
    if not charset and b"=?" in raw:  # RFC 2047 words inside RFC 2231 pieces: some senders do both
        return decode_header(raw.decode("ascii", "surrogateescape"), log, hint=hint, where=name)
    text = decode(raw, charset or None, log, hint=hint, where=name)
    return " ".join(_CONTROL.sub(" ", text).split())


# ---- addresses --------------------------------------------------------------------------------------------

_ADDRESS_TOKEN: Final = re.compile(
    r"""(?P<word>=\?[^?\s]{1,60}\?[bBqQ]\?[^?]*\?=)
      | "(?P<quoted>(?:[^"\\]|\\.)*)"
      | <(?P<angle>[^<>]*)>
      | (?P<comment>\((?:[^()\\]|\\.|\((?:[^()\\]|\\.)*\))*\))
      | (?P<stop>[,;])
      | (?P<colon>:)
      | (?P<text>[^"<(,;:=]+|.)""",
    re.VERBOSE | re.DOTALL,
)
_ROUTE: Final = re.compile(r"^@[^:]*:")
_SCHEME: Final = re.compile(r"(?i)^(?:mailto|smtp|internet|e-?mail)\s*:\s*")
_BARE: Final = re.compile(r"[^\s<>\"',;:()\[\]]+@[^\s<>\"',;:()]+")
# How list archives hide addresses from robots: `joe at example dot org`, `joe (at) example.org`, …
_SPELT_OUT: Final = re.compile(
    r"(?i)(?<![\w.+-])([\w.+-]{1,64}(?:\s+dot\s+[\w.+-]{1,64}){0,3})(?:\s+at\s+|\s*[\[({<]at?[\])}>]\s*)"
    r"([\w-]{1,63}(?:(?:\.|\s+dot\s+|\s*[\[({]dot[\])}]\s*)[\w-]{1,63}){1,8})"
)
_DOT: Final = re.compile(r"(?i)\s+dot\s+|\s*[\[({]dot[\])}]\s*")
# … and `pd@me@ @end|ng |rom cb@@dk`, which cannot be undone.
_HIDDEN: Final = re.compile(r"[^\s()<>]{1,100}\s+@end(?:\||i)ng\s+(?:\||f)rom\s+[^\s()<>]{1,100}")
_UNQUOTE: Final = re.compile(r"\\(.)", re.DOTALL)


def addresses(value: str, log: ProblemLog, hint: str | None = None) -> list[Person]:
    """The people of an address field, in order, without repeats, however it was written.

    Counter-examples that a grammar refuses and people send: `Doe, John <j@d.org>` without quotes, an open
    quote, `john@d.org (John)`, `a at b.c (Name)` (pipermail), `<mailto:a@b.c>`, groups, and "=?q?,?=". An address
    that is spelt out so that robots do not find it is what it stands for.
    """
    people: dict[Person, None] = {}
    words: list[str] = []
    comments: list[str] = []
    angle: str | None = None
    loose = ""  # `Doe` of `Doe, John <j@d.org>`

    def finish() -> None:
        nonlocal angle, loose
        phrase = "".join(words)
        if angle is None and not comments and phrase.strip() and not _is_address(phrase) and not loose:
            loose = phrase.strip()
        else:
            person = _person(phrase, comments, angle, loose if angle is not None else "", log, hint)
            if loose and (angle is None or not phrase.strip() or _is_address(phrase)):
                _add(people, _person(loose, [], None, "", log, hint))
                person = _person(phrase, comments, angle, "", log, hint)
            _add(people, person)
            loose = ""
        words.clear()
        comments.clear()
        angle = None

    value = unfold(value)
    if "@" not in value:
        value = _SPELT_OUT.sub(lambda m: f"{_DOT.sub('.', m[1])}@{_DOT.sub('.', m[2])}", value)
    for match in _ADDRESS_TOKEN.finditer(value):
        kind, text = match.lastgroup, match[0]
        if kind == "stop":
            finish()
        elif kind == "angle":
            if angle is not None:  # "A <a@b> B <c@d>": the comma is missing
                finish()
            angle = match["angle"]
        elif kind == "comment":
            comments.append(text[1:-1])
        elif kind == "quoted":
            words.append(_UNQUOTE.sub(r"\1", match["quoted"]))
        elif kind == "colon":
            # The name of a group; but a ":" after an "@" is part of an odd address.
            if not any("@" in word for word in words) and not _SCHEME.match("".join(words).strip() + ":"):
                words.clear()
            else:
                words.append(text)
        else:
            words.append(text)
    finish()
    if loose:
        _add(people, _person(loose, [], None, "", log, hint))
    return list(people)


def _add(people: dict[Person, None], person: Person | None) -> None:
    if person is not None:
        people[person] = None


def _is_address(text: str) -> bool:
    return "@" in text or " at " in text


def _person(
    phrase: str, comments: list[str], angle: str | None, surname: str, log: ProblemLog, hint: str | None
) -> Person | None:
    name = phrase
    if angle is None:
        bare = _HIDDEN.search(phrase[:_LONGEST_NAME]) or _BARE.search(phrase[:_LONGEST_NAME])
        address = bare[0] if bare else phrase
        name = phrase.replace(address, " ", 1) if bare else ""
    else:
        address = angle
        if not address.strip() and not name.strip():
            return None
        if surname:
            name = f"{surname}, {name.strip()}"
    if not name.strip(" '\"\\") and comments:
        name = " ".join(comments)
    name = decode_header(name[: 4 * _LONGEST_NAME], log, hint=hint, where="name")[:_LONGEST_NAME].strip()
    name = _trim_quotes(name)
    address = _SCHEME.sub("", address.strip())
    address = _ROUTE.sub("", address).strip().strip("'\"`")
    address = decode_header(address[:_LONGEST_NAME], log, hint=hint, where="address").strip()
    if "@" in address and not _HIDDEN.fullmatch(address):
        address = re.sub(r"\s*([@.])\s*", r"\1", address).lower()
    if not address:
        address, name = name, ""
    if name.lower() == address.lower():
        name = ""
    return Person(address, name) if address else None


def _trim_quotes(name: str) -> str:
    while len(name) > 1 and name[0] == name[-1] and name[0] in "'\"":
        name = name[1:-1].strip()
    return name.strip('" ')


# ---- message ids ------------------------------------------------------------------------------------------

_ANGLE_ID: Final = re.compile(r"<([^<>]*)>")
_MOST_REFERENCES: Final = 1_000
# `Your message of "..." from Joe <joe@x.org>` without an id names a person, not a message.
_PERSON_BEFORE: Final = re.compile(r"(?i)\b(?:from|by|of)\b[^<>]*$")


def message_ids(value: str) -> list[str]:
    """All message ids of a References field, in order, without repeats."""
    value = unfold(value)
    found = [match[1] for match in _ANGLE_ID.finditer(value)]
    if not found:
        found = [word for word in re.split(r"[\s,;]+", value) if "@" in word]
    ids = (normalise_message_id(text) for text in found)
    return list(dict.fromkeys(one for one in ids if one))[-_MOST_REFERENCES:]


def replied_to(value: str) -> str | None:
    """The message id an In-Reply-To field means, in any of its dialects.

    `<id> from "Joe" at Oct 1` (elm), `Your message of "Mon" <id>` (mh), `Message from Joe <joe@x.org> of
    "Mon" <id>`: the first id where the field begins with one, else the last. `Joe's mail of Mon` has none.
    """
    value = unfold(value).strip()
    found = list(_ANGLE_ID.finditer(value[:_LONGEST_TEXT]))
    if not found:
        bare = [word for word in value[:_LONGEST_TEXT].split() if "@" in word]
        return normalise_message_id(bare[0]) if len(bare) == 1 == len(value.split()) else None
    if value.startswith("<"):
        return normalise_message_id(found[0][1])
    last = found[-1]
    if len(found) == 1 and _PERSON_BEFORE.search(value[max(0, last.start() - 200) : last.start()]):
        quoted_date = value[: last.start()].rstrip().endswith('"')
        if not quoted_date and re.search(r"(?i)\bfrom\b", value[: last.start()]):
            return None
    return normalise_message_id(last[1])
