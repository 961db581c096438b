"""Archives that msgvault itself made, where the folder `shared` stands beside the checkout: what each of them gives."""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import Final

import numpy as np
import pytest

from tests.kit.archives import check_invariants
from tests.kit.msgvault import Embed
from vaultembed.archive.database import open_archive_readonly
from vaultembed.archive.generations.records import coverage_of
from vaultembed.service.embedding import build_embeddings
from vaultembed.service.import_plan import plan_import
from vaultembed.service.importing import Imported, import_mail
from vaultembed.service.result import Result
from vaultembed.service.searching import search_archive

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "msgvault"

pytestmark = [
    pytest.mark.corpus,
    pytest.mark.skipif(not DATA.is_dir(), reason="msgvault's archives are not beside this checkout"),
]

GIVES: Final[dict[str, dict[str, tuple[int, int, int]]]] = {
    "1-first": {"active": (80, 40, 210)},
    "2-deduplicated": {"active": (80, 40, 210)},
    "3-garbled": {"active": (120, 0, 316)},
    "4-repaired": {"active": (110, 10, 277)},
    "5-embedded-again": {"active": (120, 0, 314)},
    "6-building": {"building": (64, 56, 211), "active": (120, 0, 314)},
    "7-activated": {"active": (120, 0, 428)},
    "v0.14": {"active": (74, 46, 74)},
    "v0.14-upgraded": {"active": (74, 46, 74)},
    "v0.16": {"active": (74, 46, 202)},
    "v0.16-upgraded": {"active": (74, 46, 202)},
    "v0.18": {"active": (74, 46, 202)},
    "v0.18-upgraded": {"active": (74, 46, 202)},
    "chats": {"active": (20, 0, 20)},
}
"""By state of each generation: messages embedded, messages missing, vectors."""
IN_PART: Final = {
    "3-garbled": 2,
    "4-repaired": 1,
    "5-embedded-again": 1,
    "6-building": 1,
    "7-activated": 6,
    "v0.14": 32,
    "v0.14-upgraded": 32,
}
"""Messages of the active one of which msgvault left out the end."""
TOLD: Final = {"3-garbled": 110}
"""Messages of the active one whose text is known, where that is not all: of ten, garbled text was embedded."""
ONE_AFTER_THE_OTHER: Final = (
    (
        "1-first",
        "2-deduplicated",
        "3-garbled",
        "4-repaired",
        "5-embedded-again",
        "6-building",
        "7-activated",
    ),
    ("5-embedded-again", "7-activated"),
    ("v0.14", "v0.14-upgraded"),
    ("v0.16", "v0.16-upgraded"),
    ("v0.18", "v0.18-upgraded"),
)
"""Moments of one archive."""


def unpacked(name: str, folder: Path) -> Path:
    """Always at the same place: an archive is known by its path."""
    with tarfile.open(DATA / f"{name}.tar.gz") as packed:
        packed.extractall(folder, filter="data")
    there = folder / "msgvault"
    if there.exists():
        for path in there.iterdir():
            path.unlink()
        there.rmdir()
    return (folder / name).rename(there)


def check_gives(archive: Path, name: str) -> None:
    with open_archive_readonly(archive) as opened:
        found = {
            state: numbers
            for state, *numbers in opened.rows(
                "SELECT g.state, c.embedded, c.live - c.embedded - c.blank - c.failed, c.chunks"
                " FROM generations g JOIN embed_coverage c ON c.generation_id = g.id WHERE g.state <> 'retired'"
            )
        }
        assert {state: tuple(numbers) for state, numbers in found.items()} == GIVES[name]
        told = opened.scalar(
            "SELECT count(*) FROM embed_outcomes o JOIN generations g ON g.id = o.generation_id AND g.state = 'active'"
            " JOIN message_texts t ON t.message_id = o.message_id AND t.preparation GLOB 'msgvault*'"
            " WHERE o.outcome = 'embedded'"
        )
        assert told == TOLD.get(name, GIVES[name]["active"][0])
        assert opened.scalar("SELECT count(*) FROM messages WHERE deleted_at IS NOT NULL") == 0
        active = opened.scalar("SELECT id FROM generations WHERE state = 'active'")
        assert coverage_of(opened, active).in_part == IN_PART.get(name, 0)
    check_invariants(archive)


def check_same_model(done: Result[Imported]) -> None:
    assert all(view.same and view.least_cosine is not None and view.least_cosine > 0.999 for view in done.data.compared)
    assert done.exit_code == 0


@pytest.mark.parametrize("name", GIVES)
def test_into_an_empty_archive(archive: Path, tmp_path: Path, name: str) -> None:
    there = unpacked(name, tmp_path)
    plan = plan_import(archive, [there]).data.plans[0].msgvault
    done = import_mail(archive, [there])
    check_same_model(done)
    assert len(done.data.compared) == len(GIVES[name])
    for planned, became in zip(plan.generations, done.data.msgvault[0].generations, strict=True):
        assert (planned.embedded, planned.vectors, planned.again) == (became.embedded, became.vectors, became.again)
    check_gives(archive, name)


@pytest.mark.parametrize("names", ONE_AFTER_THE_OTHER)
def test_one_after_the_other(archive: Path, tmp_path: Path, names: tuple[str, ...]) -> None:
    for name in names:
        there = unpacked(name, tmp_path)
        plan = plan_import(archive, [there]).data.plans[0].msgvault
        done = import_mail(archive, [there])
        check_same_model(done)
        check_gives(archive, name)
        for planned, became in zip(plan.generations, done.data.msgvault[0].generations, strict=True):
            assert (planned.embedded, planned.here_already, planned.again) == (
                became.embedded,
                became.here_already,
                became.again,
            )
    built = build_embeddings(archive)
    assert built.data.run.messages == GIVES[names[-1]]["active"][1], "nothing that is covered is embedded again"


@pytest.mark.parametrize(
    "name", [n if n in ("chats", "v0.14") else pytest.param(n, marks=pytest.mark.slow) for n in GIVES]
)
def test_vectors_are_of_the_texts_that_were_told_and_hits_show_them(
    archive: Path, tmp_path: Path, embed: Embed, name: str
) -> None:
    import_mail(archive, [unpacked(name, tmp_path)])
    with open_archive_readonly(archive) as opened:
        rows = opened.rows(
            "SELECT substr(t.text, c.char_start + 1, c.char_end - c.char_start), v.embedding FROM chunks c"
            " JOIN generations g ON g.id = c.generation_id AND g.state IN ('active', 'building')"
            " JOIN vectors v ON v.chunk_id = c.id JOIN message_texts t ON t.message_id = c.message_id"
        )
    for text, stored in rows:
        assert embed([text])[0] @ np.frombuffer(stored, "<f2").astype(np.float32) >= 0.999
    found = search_archive(archive, "a question about the software", mode="vector", limit=200).data.results
    embedded = GIVES[name]["active"][0]
    assert len(found) == embedded
    assert sum(hit.passage.chunk_id is not None for hit in found) == TOLD.get(name, embedded)
