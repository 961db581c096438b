"""One message of every kind that a msgvault archive may hold, and what is to become of each."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from tests.kit.msgvault import ACTIVE, Embed, Mail, Pair, Shape, mail, write_pair

TOPICS: Final = (
    "The roof of the barn is leaking again after the storm",
    "Minutes of the board meeting about the budget",
    "Lentil soup with cumin, as grandmother made it",
    "Your flight to Lisbon is confirmed",
    "The cat needs its vaccination on Friday",
    "Traceback in the nightly import script",
    "Choir rehearsal moved to Thursday",
    "Invoice for the new bicycle",
)
PLAIN: Final = tuple(range(1, 25))
NEW, CHANGED, EMPTY, DUPLICATE, GONE, CHAT, REPLY, BYTES, LONG, HTML, MEETING, LOST, ODD_STAMP, BODYLESS, SENT_ONLY = (
    range(41, 56)
)
DELETED: Final = {DUPLICATE, GONE}
CAST: Final = (
    *(mail(n, TOPICS[n % 8], f"{TOPICS[n % 8]}, for the {n}. time. Have a look, please.") for n in PLAIN),
    mail(NEW, "Not embedded yet", "This one came after the last run.", embedded=False, labels=("Inbox", "Work")),
    mail(CHANGED, "Changed since", "This one was changed after it had been embedded.", pending=True),
    Mail(EMPTY),
    mail(DUPLICATE, "Hidden", "A duplicate that was hidden.", deleted="duplicate"),
    mail(GONE, "Gone", "Deleted at its source.", deleted="at source"),
    Mail(
        CHAT,
        body="See you at the station at nine",
        kind="whatsapp",
        sender=("+49170", "Mo"),
        to=(("to", "+49171", "Jo"), ("mention", "+49172", "Lou")),
        conversation=7,
        attachments=("timetable.png",),
    ),
    Mail(REPLY, body="I bring the tent", kind="whatsapp", sender=("+49171", "Jo"), conversation=7),
    Mail(BYTES, subject=b"Viele Gr\xfc\xdfe", body=b"Sch\xf6ne Gr\xfc\xdfe aus K\xf6ln, wo es regnet"),
    mail(LONG, "The long way round", "Then the wind turned, and we sailed on to the next island. " * 60),
    Mail(HTML, subject="Newsletter", body=None, html="<p>Tomatoes are <b>ripe</b> now</p>", embedded=False),
    Mail(MEETING, subject="Standup", body="Ada: the release is on Monday. Bob: good.", kind="meeting_transcript"),
    mail(LOST, "Lost vectors", "It is stamped, and its vectors went missing in a crash.", embedded=False, stamp=ACTIVE),
    mail(ODD_STAMP, "Odd stamp", "It is stamped with a generation that nobody has.", stamp=99),
    Mail(BODYLESS, subject="Only a subject, no body at all"),
    Mail(
        SENT_ONLY, body=None, raw=mail(SENT_ONLY, "Kept as sent", "Its text is in what was sent.").raw, embedded=False
    ),
)


def write_cast(folder: Path, shape: Shape, embed: Embed, **more: object) -> Pair:
    return write_pair(folder, shape, CAST, embed, **more)  # type: ignore[arg-type]


def ids() -> set[int]:
    return {one.id for one in CAST}


def again(shape: Shape) -> dict[str, set[int]]:
    """Live messages that are to be embedded again, by reason."""
    if shape in ("v2", "v3"):
        return {
            "never embedded": {NEW, HTML, SENT_ONLY},
            "changed": {CHANGED},
            "vectors missing": {LOST},
            "unknown stamp": {ODD_STAMP},
        }
    return {"never embedded": {NEW, HTML, SENT_ONLY, LOST, EMPTY}, "changed": {CHANGED}}


def blank(shape: Shape) -> set[int]:
    """Messages without text, known as such."""
    return {EMPTY} if shape in ("v2", "v3") else set()


def embedded(shape: Shape) -> set[int]:
    return ids() - DELETED - blank(shape) - set().union(*again(shape).values())
