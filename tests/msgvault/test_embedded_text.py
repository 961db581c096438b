"""The text that msgvault embedded, made again; and what is made of a vector whose text that is not."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.kit.archives import check_invariants
from tests.kit.msgvault import BUILDING, Embed, Mail, mail, write_pair
from tests.msgvault.cast import TOPICS
from tests.msgvault.test_adoption import stamped, with_outcome
from tests.msgvault.test_truth import planned_and_done
from vaultembed.msgvault.embedded_text import embedded_text
from vaultembed.service.searching import search_archive

ALL = "msgvault-p1-111111:c1200:e1"
OLDEST = "msgvault"


@pytest.mark.parametrize(
    ("body", "recipe", "made"),
    [
        (b"one  two \t\r\n\r\n\r\n\r\nthree ", ALL, "one two\n\nthree"),
        (b"one  two \n\n\n\nthree ", OLDEST, "one  two \n\n\n\nthree"),
        (b"a data:image/png;base64,iVBOR+/w== b", ALL, "a b"),
        (b"a " + b"Ab+9" * 50 + b"== b " + b"Ab/9" * 74 + b" c", ALL, "a b " + "Ab/9" * 74 + " c"),
        (b"a " + b"Ab/9" * 75 + b"= b", ALL, "a b"),
        (
            b"<style>p { x }</style>a<br/>b<a href='x y'>c</a> <B>d</B> <td nowrap>e &amp;&eacute;",
            ALL,
            "a b c <B>d</B> <td nowrap>e &é",
        ),
        (b"1 < 2 <me@example.org> <script>never closed", ALL, "1 < 2 <me@example.org> never closed"),
        (
            b"see http://x.org/?utm_source=a&b=2&a=1 and http://x.org/?b=2&a=1",
            ALL,
            "see http://x.org/?a=1&b=2 and http://x.org/?b=2&a=1",
        ),
        (b"yes\n\nOn Monday, Ada wrote:\n\n> so\n> what\nno\n> more\nend", ALL, "yes\n\nno\nend"),
        (b"On Monday, Ada wrote:\nnothing", ALL, "On Monday, Ada wrote:\nnothing"),
        (b"yes\n> no\n-- \nAda\nLondon", OLDEST, "yes"),
        (b"yes\n--- \nno", ALL, "yes\n---\nno"),
        (b"Sch\xf6n\xe9 \xe2\x82", ALL, "Sch\ufffdn\ufffd \ufffd\ufffd"),
        (b"yes\n> no", "msgvault-p1-000000:c9:e1", "yes\n> no"),
    ],
)
def test_what_is_made_of_a_body(body: bytes, recipe: str, made: str) -> None:
    assert embedded_text(b"", body, recipe) == made
    assert embedded_text(b"It", body, recipe) == f"Subject: It\n\n{made}"


@pytest.mark.parametrize(
    "part",
    [
        "<style",
        "<style>",
        "<a b=<a ",
        '<a b="',
        "<a\t",
        "&#",
        "On wrote:\n",
        "On wrote: ",
        "> ",
        ">\n",
        "--\n",
        "-- ",
        "data:",
        "data:;base64,",
        "http://?",
        "\n \n",
        "\t",
        "A" * 199 + "/",
        "&amp",
    ],
)
def test_a_message_made_to_be_slow(part: str) -> None:
    started = time.process_time()
    embedded_text(b"", (part * 200_000)[:400_000].encode(), ALL)
    assert time.process_time() - started < 4


def test_after_an_upgrade_all_is_taken_over(tmp_path: Path, embed: Embed, archive: Path) -> None:
    """It says of each message that it changed just then, after it was embedded."""
    mails = [
        mail(n, f"Subject {n}", f"Text number {n}", pending=n == 3, stamp=99 if n == 4 else "as embedded")
        for n in range(1, 9)
    ]
    pair = write_pair(tmp_path / "mv", "v3", mails, embed, upgraded=True, model="my-own")
    # no text of theirs is known: without a model, msgvault's word counts
    pair.write("UPDATE message_bodies SET body_text = 'A longer text, number 7' WHERE message_id = 7")
    pair.write("UPDATE message_bodies SET body_text = 'A longer text, number 8' WHERE message_id = 8")
    pair.write("UPDATE messages SET content_changed_at = '2026-06-01 00:00:00.000' WHERE id = 7")  # before the upgrade
    done = planned_and_done(archive, pair)
    assert done.data.msgvault[0].generations[0].again == {"changed": 1, "not certain": 1, "unknown stamp": 1}
    assert stamped(archive) == {1, 2, 5, 6, 7}


def test_a_model_is_asked_about_a_text_that_is_not_the_one_that_was_embedded(
    tmp_path: Path, embed: Embed, archive: Path
) -> None:
    letters = [mail(n, f"Subject {n}", f"{TOPICS[n % 8]}. And this is letter number {n}.") for n in range(1, 16)]
    pair = write_pair(tmp_path / "mv", "v3", letters, embed, upgraded=True)
    other, longer, nearly = ("Another text by now", f"{letters[2].body} {TOPICS[5]}.", f"{letters[3].body}.")
    for number, text in ((2, other), (3, longer), (4, nearly)):
        pair.write("UPDATE message_bodies SET body_text = ? WHERE message_id = ?", text, number)
    done = planned_and_done(archive, pair)
    assert done.data.msgvault[0].generations[0].again == {"changed": 2}
    assert with_outcome(archive) == {one.id for one in letters} - {2, 3}


@pytest.mark.parametrize("shape", ["v2", "v3"])
def test_of_the_other_generation_s_messages_the_text_tells(
    tmp_path: Path, embed: Embed, archive: Path, shape: str
) -> None:
    """They are stamped with the one being built: vectors in the one in use may be of an older text."""
    chats = [
        Mail(n, body=f"Message {n} of this chat", kind="teams", stamp=BUILDING, in_building=True) for n in range(1, 5)
    ]
    pair = write_pair(tmp_path / "mv", shape, chats, embed, building=True, model="my-own")  # type: ignore[arg-type]
    pair.write("UPDATE message_bodies SET body_text = 'Not that at all any more' WHERE message_id = 2")
    if shape == "v3":  # of the same length: only the time is against it
        pair.write("UPDATE messages SET content_changed_at = '2026-01-01 00:00:00.123' WHERE id IN (2, 3)")
        pair.write("UPDATE message_bodies SET body_text = 'Message 9 of this chat' WHERE message_id = 3")
    planned_and_done(archive, pair)
    doubted = {2, 3} if shape == "v3" else {2}
    assert with_outcome(archive, "AND o.generation_id = 2") == {1, 2, 3, 4} - doubted


def test_text_that_is_garbled_there_is_not_shown_as_what_matched(tmp_path: Path, embed: Embed, archive: Path) -> None:
    """Its vector counts, for msgvault vouches for it; the text here comes from what was sent."""
    letters = [mail(n, f"Subject {n}", f"{TOPICS[n % 8]}. And this is letter number {n}.") for n in range(1, 10)]
    garbled = "".join("\ufffd" if at % 3 else one for at, one in enumerate(letters[4].body or ""))
    mails = [Mail(one.id, one.subject, garbled if one.id == 5 else one.body, raw=one.raw) for one in letters]
    planned_and_done(archive, write_pair(tmp_path / "mv", "v3", mails, embed))
    assert len(with_outcome(archive)) == 9
    found = search_archive(archive, "letter", mode="vector").data.results
    assert {hit.subject: hit.passage.chunk_id is None for hit in found} == {
        f"Subject {n}": n == 5 for n in range(1, 10)
    }
    assert not any("\ufffd" in hit.passage.text for hit in found)
    check_invariants(archive)


def test_the_length_of_a_beginning_tells_nothing_of_a_text_that_changed_later(
    tmp_path: Path, embed: Embed, archive: Path
) -> None:
    """The oldest versions embedded the first so many characters: any longer text has them."""
    letters = [mail(n, f"Subject {n}", f"{TOPICS[n % 8]}. {'And so on. ' * 20}") for n in range(1, 4)]
    pair = write_pair(tmp_path / "mv", "v3", letters, embed, upgraded=True, model="my-own", cut=80)
    pair.write("DELETE FROM embeddings WHERE chunk_index > 0", name="vectors.db")
    pair.write("UPDATE embeddings SET truncated = 1", name="vectors.db")
    pair.write("UPDATE messages SET content_changed_at = '2026-07-07 00:00:00.321' WHERE id = 2")
    planned_and_done(archive, pair)
    assert with_outcome(archive) == {1, 3}
