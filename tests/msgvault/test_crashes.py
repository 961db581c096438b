"""Adoption and backfill, killed anywhere, on a failing disk, and by two processes at once."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.kit.archives import check_invariants
from tests.kit.embedder import WordHashEmbedder
from tests.kit.msgvault import Mail, Pair, mail, write_pair
from tests.kit.processes import vaultembed, vaultembed_process
from tests.kit.runner import Runners
from tests.kit.scale import scaled
from vaultembed.archive.database import open_archive, open_archive_readonly
from vaultembed.msgvault import batches
from vaultembed.service.importing import import_mail
from vaultembed.service.searching import search_archive

pytestmark = pytest.mark.slow

PENDING: Final = {5, 25}
MAILS: Final = (
    *(mail(n, f"Subject {n}", f"Letter {n} about {'rain ' * (n % 9)}", pending=n in PENDING) for n in range(1, 41)),
    *(Mail(n, body=f"Message {n} of the chat", kind="teams", conversation=3) for n in range(41, 61)),
    mail(61, "Gone", "Deleted at its source", deleted="at source"),
    mail(62, "Unknown", "Never embedded", embedded=False),
)
COVERED: Final = 60 - len(PENDING)
STATE: Final = (
    "SELECT id, subject, embed_gen, content_rev, deleted_at FROM messages ORDER BY id",
    "SELECT message_id, outcome, content_rev, recipe FROM embed_outcomes ORDER BY message_id",
    "SELECT c.message_id, c.chunk_index, v.embedding FROM chunks c JOIN vectors v ON v.chunk_id = c.id ORDER BY 1, 2",
    "SELECT id, state FROM generations",
    "SELECT source_key, message_id, gone_at FROM message_sources ORDER BY 1",
    "SELECT source_key, digest FROM msgvault_messages ORDER BY 1",
    "SELECT name, detail FROM applied_steps",
)


@pytest.fixture(scope="module")
def runners(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runners]:
    found = Runners(tmp_path_factory.mktemp("runners"))
    yield found
    found.close()


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """Its model is none that is known here: what is tested is the archive."""
    embedder = WordHashEmbedder()
    folder = tmp_path_factory.mktemp("crashes") / "mv"
    return write_pair(folder, "v1", MAILS, lambda texts: embedder.embed(texts).vectors, model="word-hash")


@pytest.fixture(scope="module")
def whole(pair: Pair, runners: Runners, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Imported without interruption."""
    archive = tmp_path_factory.mktemp("whole") / "a.db"
    runners.succeed("import", archive, "--source", pair.folder, "--batch", 7)
    return archive


def state(archive: Path) -> list[list[tuple[object, ...]]]:
    with open_archive_readonly(archive) as opened:
        found = [opened.rows(query) for query in STATE]
    # the detail says how many a step stamped: in an import that went on, it stamped the rest itself
    found[-1] = [(row[0],) for row in found[-1]]
    return found


def go_on(archive: Path, pair: Pair, runners: Runners, whole: Path) -> None:
    """After a kill: nothing is broken as it stands, and the same import comes to the same end."""
    if archive.exists() and archive.stat().st_size:
        with open_archive(archive) as opened:
            assert opened.db.pragma("integrity_check") == "ok"
        check_invariants(archive)
    runners.succeed("import", archive, "--source", pair.folder, "--batch", 7)
    check_invariants(archive)
    assert state(archive) == state(whole)


def test_an_import_is_whole(whole: Path) -> None:
    check_invariants(whole)
    with open_archive_readonly(whole) as opened:
        assert opened.scalar("SELECT count(*) FROM messages WHERE embed_gen = 1") == COVERED


@pytest.mark.parametrize(
    "failpoint",
    [
        "import.before_transaction:3",
        "import.in_transaction:20",
        "adopt.in_transaction:2",
        "import.after_transaction:4",
        "import.before_backfill",
        "backfill.step:1",
        "backfill.step:2",
        "backfill.step:3",
    ],
)
def test_killed_at_a_named_moment(tmp_path: Path, pair: Pair, runners: Runners, whole: Path, failpoint: str) -> None:
    archive = tmp_path / "a.db"
    options = ("--source", pair.folder, "--batch", 7, "--failpoint", failpoint)
    assert runners.run("import", archive, *options) == -9
    check_invariants(archive)
    with open_archive_readonly(archive) as opened:
        assert opened.rows("SELECT name FROM applied_steps") == []
        assert opened.scalar("SELECT count(*) FROM messages WHERE embed_gen IS NOT NULL") == 0, "no stamp before"
    go_on(archive, pair, runners, whole)


@pytest.mark.parametrize("moment", ["import.before_backfill", "backfill.step:1", "backfill.step:3"])
def test_what_the_import_did_not_come_to_is_done_by_the_next_that_may_write(
    tmp_path: Path, pair: Pair, runners: Runners, moment: str
) -> None:
    archive = tmp_path / "a.db"
    assert runners.run("import", archive, "--source", pair.folder, "--failpoint", moment) == -9
    before = archive.read_bytes()
    search_archive(archive, "rain", mode="text")
    assert archive.read_bytes() == before, "one that only reads does nothing of it"
    assert runners.run("open", archive, "--failpoint", "backfill.step:2") == -9
    with open_archive_readonly(archive) as opened:
        assert opened.rows("SELECT name FROM applied_steps") == [], "interrupted: nothing happened"
        assert opened.rows("SELECT state FROM generations") == [("retired",)]
    with open_archive(archive) as opened:
        assert opened.steps_taken == [f"generation 1 is active, {COVERED} messages stamped"]
        assert opened.scalar("SELECT count(*) FROM messages WHERE embed_gen = 1") == COVERED
    with open_archive(archive) as opened:
        assert opened.steps_taken == []
    check_invariants(archive)


def test_the_backfill_comes_before_the_work_of_the_command(tmp_path: Path, pair: Pair, runners: Runners) -> None:
    """What a command makes work must not be stamped afterwards."""
    archive = tmp_path / "a.db"
    assert runners.run("import", archive, "--source", pair.folder, "--failpoint", "import.before_backfill") == -9
    with open_archive(archive) as opened:
        opened.db.execute("UPDATE messages SET subject = 'Put right' WHERE id = 3")
    with open_archive(archive) as opened:
        assert opened.scalar("SELECT embed_gen FROM messages WHERE id = 3") is None
        assert opened.scalar("SELECT count(*) FROM messages WHERE embed_gen = 1") == COVERED - 1


def test_a_stamp_that_is_there_is_left_and_one_of_no_generation_is_cleared(
    tmp_path: Path, pair: Pair, runners: Runners
) -> None:
    archive = tmp_path / "a.db"
    assert runners.run("import", archive, "--source", pair.folder, "--failpoint", "import.before_backfill") == -9
    import apsw

    db = apsw.Connection(str(archive))  # as another program might: without foreign keys, and around our trigger
    ((trigger,),) = db.execute("SELECT sql FROM sqlite_schema WHERE name = 'stamp_needs_outcome'").fetchall()
    db.execute("DROP TRIGGER stamp_needs_outcome; UPDATE messages SET embed_gen = 99 WHERE id IN (5, 7)")
    db.execute(trigger)
    db.close()
    with open_archive(archive) as opened:
        assert "2 stamps of generations that do not exist cleared" in opened.steps_taken[0]
        assert opened.rows("SELECT id, embed_gen FROM messages WHERE id IN (5, 7) ORDER BY id") == [(5, None), (7, 1)]


def test_killed_before_any_statement(tmp_path: Path, pair: Pair, runners: Runners, whole: Path) -> None:
    counted = tmp_path / "count"
    options = ("--source", pair.folder, "--batch", 7)
    runners.succeed("import", tmp_path / "counting.db", *options, "--statement", -1, "--count", counted)
    total = int(counted.read_text())
    step = max(1, total // scaled(24))
    for number in range(step, total + 1, step):
        archive = tmp_path / f"{number}.db"
        assert runners.run("import", archive, *options, "--statement", number) == -9
        go_on(archive, pair, runners, whole)


def test_killed_again_and_again_it_comes_to_the_same_end(
    tmp_path: Path, pair: Pair, runners: Runners, whole: Path
) -> None:
    archive = tmp_path / "a.db"
    for number in range(300, 300 + 170 * scaled(6), 170):
        runners.run("import", archive, "--source", pair.folder, "--batch", 7, "--statement", number)
    go_on(archive, pair, runners, whole)


def test_killed_at_writes_to_the_log(tmp_path: Path, pair: Pair, runners: Runners, whole: Path) -> None:
    for number in range(30, 30 + 90 * scaled(8), 90):
        archive = tmp_path / f"{number}.db"
        options = ("--source", pair.folder, "--batch", 7, "--disk", f"kill:wal:{number}")
        if runners.run("import", archive, *options) == 0:
            break
        go_on(archive, pair, runners, whole)


def test_a_full_disk_stops_it_and_it_goes_on(tmp_path: Path, pair: Pair, runners: Runners, whole: Path) -> None:
    for size in (300_000, 900_000):
        archive = tmp_path / f"{size}.db"
        assert runners.run("import", archive, "--source", pair.folder, "--batch", 7, "--disk", f"full:{size}") == 74
        go_on(archive, pair, runners, whole)


def test_stopped_by_a_person_it_goes_on(tmp_path: Path, pair: Pair, runners: Runners, whole: Path) -> None:
    archive = tmp_path / "a.db"
    asked = iter(range(1_000))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batches, "BATCH_MESSAGES", 7)
        done = import_mail(archive, [pair.folder], should_stop=lambda: next(asked) > 4)
    assert (done.exit_code, done.data.interrupted) == (130, True)
    assert not any("For search by meaning" in note for note in done.notes)
    assert 0 < done.data.counts.added < len(MAILS)
    with open_archive_readonly(archive) as opened:
        assert opened.rows("SELECT name FROM applied_steps") == []
    go_on(archive, pair, runners, whole)


@pytest.mark.parametrize("moment", ["adopt.bind:1", "adopt.bind:2", "adopt.take_over"])
def test_killed_while_the_generation_in_use_takes_over(
    tmp_path: Path, cast_of: Callable[..., Pair], moment: str
) -> None:
    """After the adopted one was compared, or half way through what it has: the same import goes on."""
    archive, letter = tmp_path / "a.db", tmp_path / "own.eml"
    letter.write_bytes(mail(900, "My own", "Something that I embedded myself before").raw or b"")
    assert vaultembed("import", letter, archive=archive).returncode == 0
    assert vaultembed("embeddings", "build", archive=archive).returncode == 0
    pair = cast_of("v2")
    assert vaultembed_process("import", pair.folder, archive=archive, failpoint=moment).returncode == -9
    check_invariants(archive)
    with open_archive_readonly(archive) as opened:
        assert opened.rows("SELECT state FROM generations ORDER BY id") == [("active",), ("retired",)]
        assert opened.scalar("SELECT count(*) FROM messages WHERE embed_gen = 1") == 1
    assert vaultembed("import", pair.folder, archive=archive).returncode == 0
    check_invariants(archive)
    with open_archive_readonly(archive) as opened:
        adopted = opened.scalar("SELECT count(*) FROM embed_outcomes WHERE generation_id = 2")
        assert opened.scalar("SELECT count(*) FROM messages WHERE embed_gen = 1") == adopted + 1


def test_two_at_once(tmp_path: Path, pair: Pair, runners: Runners, whole: Path) -> None:
    for number in range(scaled(3)):
        archive = tmp_path / f"{number}.db"
        options = ("--source", pair.folder, "--batch", 5)
        runs = [runners.start("import", archive, *options) for _ in range(2)]
        for run in runs:
            assert run.wait() == 0, run.errors.read_text()
        check_invariants(archive)
        with open_archive_readonly(archive) as opened:
            assert opened.rows("SELECT name FROM applied_steps") == [("msgvault_backfill_1",)]
            assert opened.scalar("SELECT count(*) FROM generations") == 1
            assert opened.scalar("SELECT count(*) FROM messages WHERE embed_gen = 1") == COVERED
            assert opened.scalar("SELECT count(*) FROM messages") == len(MAILS)


def test_two_that_open_at_once_backfill_once(tmp_path: Path, pair: Pair, runners: Runners) -> None:
    killed = tmp_path / "killed.db"
    assert runners.run("import", killed, "--source", pair.folder, "--failpoint", "import.before_backfill") == -9
    for number in range(scaled(8)):
        archive = tmp_path / f"{number}.db"
        for suffix in ("", "-wal"):
            shutil.copy(f"{killed}{suffix}", f"{archive}{suffix}")
        runs = [runners.start("open", archive) for _ in range(3)]
        for run in runs:
            assert run.wait() == 0, run.errors.read_text()
        with open_archive_readonly(archive) as opened:
            assert opened.rows("SELECT detail FROM applied_steps") == [
                (f"generation 1 is active, {COVERED} messages stamped",)
            ]
        check_invariants(archive)


def test_an_import_while_another_process_opens_it_in_between(
    tmp_path: Path, pair: Pair, runners: Runners, whole: Path
) -> None:
    """The backfill then runs early; the rest is stamped as it comes."""
    archive = tmp_path / "a.db"
    options = ("--source", pair.folder, "--batch", 7)
    assert runners.run("import", archive, *options, "--failpoint", "import.after_transaction:3") == -9
    runners.succeed("open", archive)
    with open_archive_readonly(archive) as opened:
        early = opened.scalar("SELECT count(*) FROM messages WHERE embed_gen = 1")
    assert 0 < early < COVERED
    import_mail(archive, [pair.folder])
    check_invariants(archive)
    assert state(archive) == state(whole)
