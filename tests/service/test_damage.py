"""Damaged archives: whatever the command, it ends by itself, with a documented exit code and a sentence."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from tests.kit.corrupt import PAGE, Tried, Trier, flip, random_offsets, trier
from tests.kit.mail import mail, many, mbox
from tests.kit.processes import vaultembed, vaultembed_json
from tests.kit.scale import scaled
from vaultembed.archive.damage import damage_behind
from vaultembed.archive.database import open_archive, open_archive_readonly
from vaultembed.errors import DamageError
from vaultembed.models.model_file import ModelFile

pytestmark = pytest.mark.slow

READING = (
    ("search", "text word3", "--mode", "text"),
    ("search", "thing from:ada", "--mode", "vector"),
    ("search", "the harbour", "--mode", "hybrid", "--json"),
    ("show", "7"),
    ("show", "7", "--raw"),
    ("stats",),
    ("problems",),
    ("embeddings",),
)
CHECKING = (
    ("embeddings", "list"),
    ("embeddings", "failures"),
    ("embeddings", "verify"),
    ("repair-encoding", "--dry-run"),
    ("doctor",),
)
DELETING = (
    ("delete", "9", "--yes"),
    ("undelete", "9"),
    ("delete", "harbour", "--yes"),
    ("embeddings", "prune", "--yes"),
    ("repair-encoding",),
    ("doctor", "--fix"),
)


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Path:
    long = " ".join(f"sentence number {n} speaks of the harbour." for n in range(200))
    return mbox(tmp_path_factory.mktemp("mail") / "box", [*many(150), mail("long", long), mail("ä€", "grüße 漢字")])


@pytest.fixture(scope="module")
def whole(box: Path, tmp_path_factory: pytest.TempPathFactory, model: ModelFile) -> Path:
    archive = tmp_path_factory.mktemp("whole") / "a.db"
    vaultembed_json("import", box, archive=archive)
    vaultembed_json("embeddings", "build", archive=archive)
    return archive


@pytest.fixture(scope="module")
def commands() -> Iterator[Trier]:
    with trier() as opened:
        yield opened


@pytest.fixture
def archive(whole: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return shutil.copy(whole, tmp_path / "a.db")


def every_command(box: Path, folder: Path) -> list[tuple[str, ...]]:
    backup = ("backup", str(folder / "copy.db"))
    return [*READING, *CHECKING, backup, ("import", str(box)), ("embeddings", "build"), *DELETING]


def check(tried: list[Tried], what: str) -> None:
    assert tried
    complaints = [one.complaint for one in tried if one.complaint]
    assert not complaints, f"{what}: " + "\n".join(complaints)


def test_every_command_works_on_the_archive_that_is_going_to_be_damaged(
    box: Path, archive: Path, tmp_path: Path, commands: Trier
) -> None:
    """Else the others would prove nothing."""
    tried = commands.try_all(archive, every_command(box, tmp_path))
    assert [one.exit_code for one in tried] == [0] * len(tried), tried


def test_no_command_crashes_hangs_or_shows_a_traceback_where_a_byte_is_flipped(
    box: Path, whole: Path, tmp_path: Path, commands: Trier
) -> None:
    codes = set()
    for number, offset in enumerate(random_offsets(whole, scaled(40), seed=8)):
        folder = tmp_path / str(offset)
        folder.mkdir()
        archive = shutil.copy(whole, folder / "a.db")
        flip(archive, offset)
        every = every_command(box, folder)
        # for speed every third of them, in turns; all of them at once when there is time
        tried = commands.try_all(archive, every if scaled(1) > 1 else every[number % 3 :: 3])
        check(tried, f"byte {offset % PAGE} of page {offset // PAGE + 1}")
        codes |= {one.exit_code for one in tried}
        shutil.rmtree(folder)
    assert 5 in codes, "not one flip was noticed"


def test_no_command_crashes_hangs_or_shows_a_traceback_where_much_is_damaged(
    box: Path, whole: Path, tmp_path: Path, commands: Trier
) -> None:
    """Many flips, near the ends of pages: there are the rows, and what describes them."""
    choice = random.Random(5)
    pages = whole.stat().st_size // PAGE
    for number in range(scaled(8)):
        folder = tmp_path / str(number)
        folder.mkdir()
        archive = shutil.copy(whole, folder / "a.db")
        for page in choice.sample(range(1, pages), 10):
            for _ in range(5):
                flip(archive, page * PAGE + PAGE - 1 - choice.randrange(400))
        check(commands.try_all(archive, every_command(box, folder)), f"seed 5, number {number}")
        shutil.rmtree(folder)


@pytest.mark.parametrize("left", [50, 100, 4096, PAGE, PAGE + 1, 10 * PAGE, 0.5, 0.99])
def test_no_command_crashes_hangs_or_shows_a_traceback_where_the_file_is_cut_off(
    box: Path, archive: Path, tmp_path: Path, commands: Trier, left: float
) -> None:
    size = archive.stat().st_size
    with archive.open("r+b") as file:
        file.truncate(int(left * size) if isinstance(left, float) else left)
    tried = commands.try_all(archive, every_command(box, tmp_path))
    check(tried, f"cut to {left}")
    assert 5 in {one.exit_code for one in tried}


@pytest.mark.parametrize("content", ["", "Dear Ada,\n\nthis is no archive.\n", "\0" * 20_000])
def test_a_file_that_is_no_archive_is_refused_by_name(box: Path, tmp_path: Path, commands: Trier, content: str) -> None:
    archive = tmp_path / "a.db"
    archive.write_text(content)
    tried = commands.try_all(archive, [*READING, *CHECKING])
    check(tried, repr(content[:20]))
    for one in tried:
        assert one.exit_code not in (0, 74), one
    if content:
        tried = commands.try_all(archive, [("import", str(box)), ("embeddings", "build")])
        assert [one.exit_code for one in tried] == [5, 5], tried
        assert archive.read_text() == content, "it was somebody's"


def test_a_real_command_names_the_damage_and_the_way_out(archive: Path) -> None:
    for page in range(1, archive.stat().st_size // PAGE):
        flip(archive, page * PAGE)  # what kind of page it is
    done = vaultembed("search", "thing", "--mode", "text", archive=archive)
    assert done.returncode == 5
    assert done.stderr.startswith(f"Error: {archive} is damaged")
    assert "vaultembed doctor" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_text_that_is_no_utf8_is_shown_as_far_as_it_goes_found_by_doctor_and_repaired(archive: Path) -> None:
    db = apsw.Connection(str(archive))
    db.execute("UPDATE messages SET subject = CAST(x'61ff62' AS TEXT) WHERE id = 7")
    db.close()
    done = vaultembed("show", 7, archive=archive)
    assert (done.returncode, "a\ufffdb" in done.stdout) == (0, True), done.stderr
    found = vaultembed("doctor", archive=archive)
    assert (found.returncode, "vaultembed repair-encoding" in found.stderr) == (5, True), found.stdout
    assert vaultembed("repair-encoding", archive=archive).returncode == 0
    assert vaultembed("doctor", archive=archive).returncode == 0
    assert "subject 6" in vaultembed("show", 7, archive=archive).stdout


def test_a_stored_message_that_cannot_be_decompressed_is_damage(archive: Path) -> None:
    db = apsw.Connection(str(archive))
    db.execute("UPDATE message_raw SET mime = CAST(x'00' || substr(mime, 2) AS BLOB) WHERE message_id = 7")
    db.close()
    done = vaultembed("show", 7, "--raw", archive=archive)
    assert (done.returncode, "cannot be decompressed" in done.stderr) == (5, True)


def test_a_bug_of_ours_is_not_taken_for_damage(archive: Path) -> None:
    """The twin: a sound file explains no error."""
    assert damage_behind(archive, TypeError("unsupported operand")) is None
    with pytest.raises(TypeError), open_archive_readonly(archive):
        raise TypeError("a bug")
    flip(archive, 20 * PAGE)
    with pytest.raises(DamageError), open_archive_readonly(archive):
        raise TypeError("from a damaged row")


BROKEN_COARSE_INDEX = (
    "UPDATE vec_1_chunks SET validity = x''",
    "UPDATE vec_1_chunks SET rowids = x'00'",
    "UPDATE vec_1_vector_chunks00 SET vectors = zeroblob(100)",
    "DELETE FROM vec_1_vector_chunks00",
    "DELETE FROM vec_1_chunks",
    "UPDATE vec_1_rowids SET chunk_id = NULL",
    "UPDATE vec_1_rowids SET chunk_offset = 99999999",
    "DROP TABLE vec_1_rowids",  # sqlite-vec itself crashes at this
    "DROP TABLE vec_1_chunks",
)


@pytest.mark.parametrize("damage", BROKEN_COARSE_INDEX)
def test_a_damaged_coarse_index_crashes_nothing_and_is_said_to_be_no_loss(archive: Path, damage: str) -> None:
    db = apsw.Connection(str(archive))
    db.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 0)
    db.execute(damage)
    db.close()
    with pytest.raises(DamageError, match="doctor --fix"), open_archive(archive) as opened:  # noqa: PT012
        opened.load_vec()
        opened.db.execute("DELETE FROM vec_1 WHERE rowid = 7")
    found = vaultembed("search", "thing", "--mode", "vector", archive=archive)
    assert found.returncode in (0, 5), found.stderr
