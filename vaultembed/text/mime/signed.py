"""The message inside of an S/MIME signature that encloses what it signs: it stands there in clear (CMS, RFC 5652).

Only as much of BER (X.690 8.1) is read as leads to it; the signature is not checked.
"""

from __future__ import annotations

from typing import Final

_SIGNED_DATA: Final = bytes.fromhex("06092a864886f70d010702")
_DATA: Final = bytes.fromhex("06092a864886f70d010701")
_OCTETS: Final = 0x04
_IN_PARTS: Final = 0x20
_MOST_PIECES: Final = 1_000_000


def signed_content(cms: bytes) -> bytes | None:
    """None where it is no signed data, but encrypted; empty where it cannot be read."""
    if _SIGNED_DATA not in cms[:64]:
        return None
    start = cms.find(_DATA, 0, 4096) + len(_DATA)
    found = _value(cms, start)
    if found is None or cms[start] != 0xA0:  # eContent [0]
        return b""
    position, end, pieces = found[0], found[1], []
    for _ in range(_MOST_PIECES):
        piece = _value(cms, position) if position < end else None
        if piece is None or cms[position] & ~_IN_PARTS != _OCTETS:
            break
        if cms[position] & _IN_PARTS:  # the pieces follow
            position, end = piece[0], piece[1]
            continue
        pieces.append(cms[piece[0] : piece[1]])
        position = piece[1]
    return b"".join(pieces)


def _value(data: bytes, at: int) -> tuple[int, int] | None:
    """Where the value of the element at `at` begins and ends; the end of `data` where its length is not told."""
    if at + 2 > len(data):
        return None
    length, begin = data[at + 1], at + 2
    if length == 0x80:
        return begin, len(data)
    if length > 0x80:
        size = length - 0x80
        length, begin = int.from_bytes(data[begin : begin + size], "big"), begin + size
    return (begin, begin + length) if begin + length <= len(data) else None
