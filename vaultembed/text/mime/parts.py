"""One leaf of a MIME tree: its type, name, bytes and text."""

from __future__ import annotations

import mimetypes
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from email import policy
from email.message import Message
from hashlib import sha256
from typing import Final

from vaultembed.message import Attachment
from vaultembed.text.charsets import decode
from vaultembed.text.mime.flowed import unflow
from vaultembed.text.mime.headers import parameters
from vaultembed.text.mime.transfer import decode_transfer
from vaultembed.text.problems import ProblemLog

_TYPE: Final = re.compile(r"^[\w!#$&^.+-]{1,80}/[\w!#$&^.+-]{1,120}$", re.ASCII)
_META_CHARSET: Final = re.compile(rb"(?i)<meta[^<>]{0,300}?charset\s*=\s*[\"']?([\w.:-]{2,40})")
_PATH: Final = re.compile(r"^.*[\\/]", re.DOTALL)
_LONGEST_FILENAME: Final = 255


@dataclass(slots=True)
class Part:
    """A node of the tree with its header fields read."""

    message: Message
    fields: Mapping[str, Sequence[str]]
    """Lower-case name to raw values in order."""
    mime_type: str
    parameters: Mapping[str, str]
    disposition: str
    filename: str
    log: ProblemLog
    _data: bytes | None = field(default=None, repr=False)
    _behind: bytes = field(default=b"", repr=False)
    """Text behind the encoded bytes, which is no part of them."""

    def data(self) -> bytes:
        """The decoded bytes of a leaf."""
        if self._data is None:
            declared = self.fields.get("content-transfer-encoding", ())
            self._data, self._behind = decode_transfer(_raw(self.message), declared, log=self.log, where=self.mime_type)
        return self._data

    def cut(self, size: int) -> None:
        """Leaves only the first `size` decoded bytes, to bound what decoding text costs."""
        self._data = self.data()[:size]

    def text(self) -> str:
        """A text part as Unicode with LF line ends, soft breaks undone."""
        data = self.data()
        charset = self.parameters.get("charset")
        if charset is None and self.mime_type == "text/html":
            declared = _META_CHARSET.search(data[:4096])
            charset = declared[1].decode("ascii") if declared else None
        text = decode(data, charset, self.log, where=self.mime_type)
        if self._behind:
            text += "\n" + decode(self._behind, None, self.log, hint=charset, where=self.mime_type)
        if self.parameters.get("format", "").lower() == "flowed" and self.mime_type == "text/plain":
            text = unflow(text, delete_space=self.parameters.get("delsp", "").lower() == "yes")
        return text

    def is_text(self) -> bool:
        return self.mime_type in _SHOWN

    def is_shown(self) -> bool:
        """Whether it is part of the text a reader sees, not a file beside it."""
        if self.disposition == "attachment" or not self.is_text():
            return False
        # Clients name inline text ("ATT00001.txt"), but a text/plain named script.py is a file.
        named_as_text = self.filename.lower().endswith((".txt", ".htm", ".html", ".asc"))
        return not self.filename or self.disposition == "inline" or named_as_text

    def attachment(self, *, inline: bool) -> Attachment:
        data = self.data()
        return Attachment(self.filename, self.mime_type, len(data), sha256(data).digest(), inline)


_SHOWN: Final = frozenset(
    ["text/plain", "text/html", "text/enriched", "text/richtext", "text/markdown", "text/x-patch", "text/x-diff"]
)


def enclosed(message: Message) -> list[Message]:
    """The parts of a multipart, or the message inside of one."""
    payload = message.get_payload()
    return [part for part in payload if isinstance(part, Message)] if isinstance(payload, list) else []


def read_part(message: Message, log: ProblemLog, default_type: str = "text/plain") -> Part:
    fields: dict[str, list[str]] = {}
    for name, value in message.raw_items():
        fields.setdefault(name.lower().strip(), []).append(str(value))
    mime_type, params = parameters(fields.get("content-type", [""])[0], log)
    disposition, disposition_params = parameters(fields.get("content-disposition", [""])[0], log)
    if not _TYPE.match(mime_type):
        if mime_type and mime_type not in {"text", "plain", "html"}:
            log.add("bad-content-type", repr(mime_type))
        mime_type = "text/html" if "html" in mime_type else default_type
    filename = disposition_params.get("filename") or params.get("name") or ""
    filename = _PATH.sub("", filename).strip()[:_LONGEST_FILENAME]
    if mime_type == "application/octet-stream" and filename:
        mime_type = mimetypes.guess_type(filename, strict=True)[0] or mime_type
    return Part(message, fields, mime_type, params, disposition, filename, log)


def _raw(message: Message) -> bytes:
    """The bytes of a part as they stood; of an enclosed message, as it is written out again."""
    if message.is_multipart():
        try:
            return enclosed(message)[0].as_bytes(policy=policy.compat32)
        except Exception:  # the generator of `email` raises on what its parser lets through
            return b""
    # Without a transfer encoding (its field was read before), this is the public way to the raw bytes.
    del message["content-transfer-encoding"]
    payload = message.get_payload(decode=True)
    return payload if isinstance(payload, bytes) else b""
