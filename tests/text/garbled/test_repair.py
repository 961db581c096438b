"""Repair of texts that were stored wrongly, over texts garbled in known ways and texts that only look odd."""

from __future__ import annotations

import unicodedata

import pytest
from ftfy import fix_encoding
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.kit.encoding_set import clean, garbled
from tests.kit.garble import misread
from tests.kit.scale import scaled
from vaultembed.text.garbled.mojibake import undo
from vaultembed.text.garbled.repair import repair
from vaultembed.text.garbled.suspicion import Doubt, Kind, doubt_of

GARBLED = garbled()
CLEAN = clean()


def repaired(stored: bytes, kind: Kind, told: str | None = None) -> str:
    found = repair(stored, kind, lambda: told)
    return stored.decode("utf-8", "replace") if found is None else found.text


def test_the_set_is_as_wide_as_it_should_be() -> None:
    assert len(GARBLED) >= 200
    assert len(CLEAN) >= 300
    assert len({one.charset for one in GARBLED}) >= 25
    assert len({one.language for one in GARBLED}) >= 12


def test_more_is_repaired_exactly_than_by_the_undoing_of_wrong_readings_alone() -> None:
    def is_right(text: str, expected: str) -> bool:
        return unicodedata.normalize("NFC", text) == expected

    wrong = [one.id for one in GARBLED if not is_right(repaired(one.stored, one.kind, one.sent()), one.expected)]
    peer = sum(is_right(fix_encoding(one.stored.decode("utf-8", "replace")), one.expected) for one in GARBLED)
    right = len(GARBLED) - len(wrong)
    assert right >= 0.98 * len(GARBLED), wrong
    assert right >= peer


def test_without_the_messages_as_they_were_sent_more_is_repaired_too() -> None:
    alone = [one for one in GARBLED if one.raw is None]
    ours = sum(unicodedata.normalize("NFC", repaired(one.stored, one.kind)) == one.expected for one in alone)
    peer = sum(fix_encoding(one.stored.decode("utf-8", "replace")) == one.expected for one in alone)
    assert ours >= max(peer, 0.95 * len(alone))


def test_right_texts_are_left_alone_however_odd_they_look() -> None:
    changed = {}
    for one in CLEAN:
        # in a header that is no talk about headers
        kinds: tuple[Kind, ...] = ("body",) if "=?" in one.text else ("body", "header")
        for kind, told in ((kinds[-1], None), ("body", None), ("body", one.text)):
            found = repair(one.text.encode(), kind, lambda told=told: told)
            if found is not None:
                changed[one.id, kind, told is None] = (one.text, found.text)
    assert changed == {}


def test_twin_the_undoing_without_a_gate_harms_right_texts() -> None:
    assert sum(fix_encoding(one.text) != one.text for one in CLEAN) > 10


def test_what_is_repaired_stays_as_it_is() -> None:
    for one in GARBLED:
        found = repair(one.stored, one.kind, one.sent)
        if found is not None:
            again = repair(found.text.encode(), one.kind, one.sent)
            assert again is None, f"{one.id}: {found} and then {again}"


@pytest.mark.parametrize("times", [1, 2, 3])
@pytest.mark.parametrize("charset", ["cp1252", "latin-1"])
def test_whatever_was_read_wrongly_up_to_three_times_comes_back(charset: str, times: int) -> None:
    for text in ("Schöne Grüße aus Köln – „bis bald“", "C’est l’été à Nîmes, déjà", "Привет, как дела?", "30 €, 20 °C"):
        wrong = text
        for _ in range(times):
            wrong = misread(wrong, charset)
        undone = undo(wrong)
        assert undone is not None
        assert undone.text == text


def test_the_message_as_it_was_sent_is_read_for_suspects_alone() -> None:
    def never() -> str:
        raise AssertionError("it was read")

    for text in ("Hello, see you at nine.", "Grüße aus Köln", "Привет, как дела?", "“It’s fine” – really…"):
        assert repair(text.encode(), "body", never) is None


def test_a_text_that_differs_from_what_was_sent_for_other_reasons_is_left_alone() -> None:
    mine = "Señor ýour text was edited by hand, and says something else now"
    assert repair(mine.encode(), "body", lambda: "Señor, this is what was sent") is None


@pytest.mark.parametrize(
    ("mine", "sent"),
    [
        ("Привет, ЃЃ мой текст здесь", "Совсем другой текст был послан, и длиннее"),
        ("שלום ð לכולם", "טקסט אחר לגמרי"),
        ("我自己写的堃话", "原来发送的完全是别的东西，没有关系"),
    ],
)
def test_of_a_text_without_a_letter_of_ascii_other_things_are_compared(mine: str, sent: str) -> None:
    assert repair(mine.encode(), "body", lambda: sent) is None


def test_the_senders_own_replacement_characters_stay() -> None:
    text = "what he wrote � was lost before it was sent"
    assert repair(text.encode(), "body", lambda: text) is None


@settings(max_examples=scaled(300), deadline=None)
@given(st.binary(max_size=200), st.sampled_from(["header", "body"]))
def test_any_bytes_are_repaired_to_text_or_left_alone(stored: bytes, kind: Kind) -> None:
    doubt = doubt_of(stored, kind)
    found = repair(stored, kind, lambda: None)
    if doubt is Doubt.NONE:
        assert found is None
    try:
        stored.decode("utf-8")
    except UnicodeDecodeError:
        assert found is not None, "what is no text must become one"
    if found is not None:
        found.text.encode("utf-8")
        assert "\0" not in found.text


@settings(max_examples=scaled(300), deadline=None)
@given(st.text(max_size=100))
def test_nothing_raises_and_nothing_grows(text: str) -> None:
    stored = text.encode("utf-8", "replace")
    found = repair(stored, "body", lambda: None)
    assert found is None or len(found.text) <= len(text) + 1


HOSTILE = {
    "letters and then a mark": (b"a" * 100_000 + b"!", None),
    "base64 and then a mark": ((b"QUJD" * 19 + b"\n") * 5_000 + b"!", None),
    "one letter a hundred thousand times": (("ð" + "a" * 100_000).encode(), "é" + "a" * 100_000),
    "the same letters in another order": (("ð" + "abcdefgh" * 20_000).encode(), "é" + "hgfedcba" * 20_000),
    "half-open encoded words": (b"=?a?q?" * 50_000, None),
    "escapes that were lost": (b"$B" * 200_000, None),
    "escapes that were lost, and one that ends": (b"$B" * 200_000 + b" (B", "何か"),
    "shifts to Chinese": (b"~{" * 200_000, "什么"),
    "mailbox names": (b"&AAA" * 100_000, None),
    "a parameter": (b"utf-8''" + b"%41a%" * 20_000, None),
    "UTF-7": (b"+AOk" * 50_000, None),
    "what begins characters": (("Ã" * 200_000).encode(), None),
    "lines of whole characters": (("Ã©" * 1_900 + "\n").encode() * 50, None),
    "a long garbled line": ("привет, мир! ".encode().decode("latin-1").encode() * 5_000, None),
    "bytes": (bytes(range(256)) * 1_000, None),
}


@pytest.mark.slow
@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", HOSTILE)
def test_no_mail_made_for_it_takes_long(name: str) -> None:
    """Two hundred letters and a mark once took longer than anybody would wait."""
    stored, told = HOSTILE[name]
    for kind in ("header", "body"):
        repair(stored, kind, lambda: told)  # type: ignore[arg-type]


def test_in_a_line_of_a_whole_page_what_is_garbled_is_repaired() -> None:
    """HTML has its paragraphs on one line each."""
    right = "Schöne Grüße aus Köln, sagt die Oma, und das Café hat geöffnet. " * 200
    assert repaired(misread(right).encode(), "body") == right
