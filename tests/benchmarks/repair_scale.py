"""What a look at every text of an archive costs: 100,000 messages, 100 of them garbled.

    python -m tests.benchmarks.repair_scale [--messages 100000] [--folder DIR]

Four of five messages are ASCII, the fifth is in one of 22 languages. Beside it, in the same run, ftfy's `fix_text`
and `fix_encoding` over the same texts, which read nothing as it was sent, and store nothing.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
import zlib
from collections.abc import Callable
from pathlib import Path

from ftfy import fix_encoding, fix_text

from tests.fixtures.encoding.make_first_half import SPOKEN
from tests.kit.archives import add_parsed, new_message
from tests.kit.garble import misread
from vaultembed.archive.database import open_archive, open_archive_readonly
from vaultembed.service.repair_runs import undo_repair
from vaultembed.service.repairing import RepairRequest, repair_encoding

ENGLISH = (
    "Hello Bob,\n\nthe ferry leaves at nine, and grandmother has packed the sandwiches. If it rains we take the bus"
    " instead; the driver knows us. Please bring the keys of the boat house, they hang beside the door. I have paid the"
    " bill of the plumber (214.50), who came on Tuesday and again on Friday.\n\nSee you at the harbour,\nAda\n\n"
    "> Do we need the large suitcase?\n> And who feeds the cat?\n"
)


def text_of(number: int) -> tuple[str, str]:
    if number % 5:
        return f"Harbour {number}", ENGLISH * (1 + number % 6)
    _, _, subject, body = SPOKEN[number // 5 % len(SPOKEN)]
    return f"{subject} {number}", f"{body}\n\n{body}"


def fill(path: Path, messages: int, bad: int) -> None:
    with open_archive(path) as archive:
        for start in range(0, messages, 5_000):
            with archive.transaction():
                for number in range(start, min(start + 5_000, messages)):
                    subject, body = text_of(number)
                    message_id = add_parsed(archive, new_message(subject, body, message_id=str(number)))
                    mime = f"Subject: {subject}\nContent-Type: text/plain; charset=utf-8\n\n{body}"
                    archive.db.execute(
                        "INSERT INTO message_raw VALUES (?, 'zlib', ?)", (message_id, zlib.compress(mime.encode(), 3))
                    )
        for number in range(0, messages, messages // bad):
            number -= number % 5  # one that is not ASCII
            archive.db.execute(
                "UPDATE message_bodies SET body_text = ? WHERE message_id = ?",
                (misread(text_of(number)[1]), number + 1),
            )


def seconds(what: Callable[[], object]) -> tuple[float, object]:
    started = time.perf_counter()
    found = what()
    return time.perf_counter() - started, found


def over_all(path: Path, function: Callable[[str], str]) -> None:
    with open_archive_readonly(path) as archive:
        for subject, body in archive.db.execute(
            "SELECT subject, body_text FROM messages JOIN message_bodies ON message_id = id"
        ):
            function(subject)
            function(body)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--bad", type=int, default=100)
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        path = Path(folder) / "a.db"
        fill(path, given.messages, given.bad)
        print(f"{given.messages:,} messages, {path.stat().st_size / 1e6:.0f} MB")
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        took, result = seconds(lambda: repair_encoding(path, RepairRequest(keep=20)))
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        data = result.data  # type: ignore[attr-defined]
        print(f"repair-encoding: {took:.1f} s, {given.messages / took:,.0f} messages a second")
        print(f"  repaired: {data.repaired_messages}, by field {data.changed}")
        print(f"  looked at more closely: {data.suspects / given.messages:.1%}")
        print(f"  read as they were sent: {data.raw_read / given.messages:.1%}")
        print(f"  memory: at most {after / 1024:.0f} MB, {(after - before) / 1024:.0f} MB more than before")
        again, result = seconds(lambda: repair_encoding(path, RepairRequest(keep=20)))
        print(f"again, with nothing to repair: {again:.1f} s, repaired {result.data.repaired_messages}")  # type: ignore[attr-defined]
        undoing, result = seconds(lambda: undo_repair(path, data.run))
        print(f"undoing it: {undoing:.2f} s, {result.data.undone} texts")  # type: ignore[attr-defined]
        for name, peer in (("fix_encoding", fix_encoding), ("fix_text", fix_text)):
            theirs, _ = seconds(lambda peer=peer: over_all(path, peer))  # type: ignore[misc]
            print(f"ftfy.{name} over subjects and bodies: {theirs:.1f} s; ours takes {took / theirs:.2f} times as long")


if __name__ == "__main__":
    main()
