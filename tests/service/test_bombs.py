"""A few bytes that stand for very many: what no import would take is not unpacked, and fails alone."""

from __future__ import annotations

import tracemalloc
import zlib
from pathlib import Path

import apsw
import pytest

from tests.kit.mail import many, mbox
from tests.kit.processes import vaultembed, vaultembed_json
from vaultembed.message import MESSAGE_LIMIT
from vaultembed.service.importing import import_mail
from vaultembed.service.repairing import RepairRequest, repair_encoding
from vaultembed.text.mime import packed
from vaultembed.text.mime.packed import unpack


def make_bomb(megabytes: int) -> bytes:
    packer = zlib.compressobj()
    first, again = (packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
    return first + again * (megabytes - 1)


BOMB = make_bomb(3_000)


def test_what_is_larger_than_an_import_takes_is_not_unpacked() -> None:
    assert len(BOMB) < 4_000_000
    tracemalloc.start()
    with pytest.raises(ValueError, match="it expands beyond 268 MB"):
        unpack(BOMB)
    assert tracemalloc.get_traced_memory()[1] < 2.2 * MESSAGE_LIMIT
    tracemalloc.stop()
    assert len(unpack(zlib.compress(bytes(MESSAGE_LIMIT), 1))) == MESSAGE_LIMIT  # the twin: this an import takes


@pytest.mark.parametrize("cut", [-1, -5, 3, 0])
def test_what_is_cut_off_is_told(cut: int) -> None:
    with pytest.raises(ValueError, match="cut off"):
        unpack(zlib.compress(b"Subject: a\n\nhello" * 9)[:cut])


def test_one_such_message_is_named_and_the_others_go_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "MESSAGE_LIMIT", 10_000_000)  # of a second to unpack, what comes to that
    path = tmp_path / "a.db"
    wrong = "Gr\u00c3\u00bc\u00c3\u009fe aus M\u00c3\u00bcnchen"
    import_mail(path, [mbox(tmp_path / "box", [m.replace(b"subject", f"{wrong} subject".encode()) for m in many(3)])])
    db = apsw.Connection(str(path))
    db.execute("UPDATE message_raw SET mime = ? WHERE message_id = 1", (BOMB,))
    db.execute("UPDATE message_raw SET mime = substr(mime, 1, 60) WHERE message_id = 2")
    db.close()
    for number, why in ((1, "expands beyond 10 MB"), (2, "is cut off")):
        done = vaultembed("show", number, "--raw", archive=path)
        assert done.returncode == 5
        assert f"the stored original of message {number} cannot be read: it {why}" in done.stderr
    assert b"subject 2" in vaultembed("show", 3, "--raw", archive=path).stdout.encode()
    (finding,) = vaultembed_json("doctor", archive=path, exit_code=5)["findings"]
    assert (finding["kind"], finding["count"]) == ("raw", 2)
    repaired = repair_encoding(path, RepairRequest())
    assert [(failure.message_id, repaired.exit_code) for failure in repaired.data.failures] == [(1, 3), (2, 3)]
    assert repaired.data.changed["subject"] == 3
