"""`vaultembed doctor` as a person runs it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from pathlib import Path

import apsw
import pytest

from tests.kit.archives import check_invariants
from tests.kit.corrupt import PAGE, flip, random_offsets, trier
from tests.kit.later import upgrade
from tests.kit.mail import mail, many, mbox
from tests.kit.processes import start, vaultembed, vaultembed_json
from tests.kit.scale import scaled
from vaultembed.archive.database import open_archive
from vaultembed.models.cache import FOLDER_VARIABLE
from vaultembed.models.model_file import ModelFile
from vaultembed.service.doctor import examine


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, model: ModelFile) -> Path:
    folder = tmp_path_factory.mktemp("built")
    box = mbox(folder / "box", [*many(40), mail("blank", ""), mail("grüße", "漢字 and some text")])
    vaultembed_json("import", box, archive=folder / "a.db")
    vaultembed_json("embeddings", "build", archive=folder / "a.db")
    return folder / "a.db"


@pytest.fixture
def archive(built: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(built, tmp_path / "a.db"))


def write(path: Path, *statements: str) -> None:
    db = apsw.Connection(str(path))
    for statement in statements:
        db.execute(statement)
    db.close()


def test_an_archive_that_the_commands_made_is_sound(archive: Path) -> None:
    coverage = {"live": 42, "embedded": 42, "blank": 0, "failed": 0, "missing": 0, "in_part": 0, "outside_scope": 0}
    assert vaultembed_json("doctor", archive=archive) == {
        "archive": str(archive),
        "healthy": True,
        "findings": [],
        "repaired": [],
        "counted": {
            "live": 42,
            "generations": [{"id": 1, "state": "active", "coverage": coverage}],
            "missing_embeddings_total": 0,
        },
    }
    done = vaultembed("doctor", archive=archive)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{archive} is sound.\n", "")
    check_invariants(archive)


def test_a_lie_is_an_exit_code_and_a_way_out_and_the_way_out_works(archive: Path) -> None:
    write(archive, "UPDATE live_count SET live = 7", "UPDATE vectors SET checksum = 1 WHERE chunk_id = 3")
    done = vaultembed("doctor", archive=archive)
    assert done.returncode == 5
    assert "Wrong: live messages are 42; the counter says 7" in done.stdout
    assert "Damage: vectors of generation 1 do not match their checksum" in done.stdout
    assert "chunk 3 of message" in done.stdout
    assert "vaultembed doctor --fix" in done.stderr

    done = vaultembed("doctor", "--fix", archive=archive)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Counted the counters again" in done.stdout
    assert "is sound now" in done.stdout
    check_invariants(archive)
    built = vaultembed_json("embeddings", "build", archive=archive)
    assert built["run"]["embedded"] == 1
    assert vaultembed_json("doctor", archive=archive)["findings"] == []


def test_what_is_only_left_over_is_no_error(archive: Path) -> None:
    write(archive, "UPDATE messages SET deleted_at = 5 WHERE id = 2")
    data = vaultembed_json("doctor", archive=archive)
    assert data["healthy"]
    assert [(f["kind"], f["severity"]) for f in data["findings"]] == [("deleted", "leftover")]
    assert vaultembed_json("doctor", "--fix", archive=archive)["findings"] == []
    check_invariants(archive)


def test_mail_that_cannot_be_repaired_is_told_with_what_can_be_done(archive: Path) -> None:
    write(archive, "UPDATE message_bodies SET body_text = CAST(x'80ff' AS TEXT) WHERE message_id = 4")
    done = vaultembed("doctor", "--fix", archive=archive)
    assert done.returncode == 5
    assert "message 4" in done.stdout
    assert "vaultembed repair-encoding" in done.stderr
    write(archive, "INSERT OR REPLACE INTO message_raw VALUES (5, 'zlib', x'0011')")
    assert "vaultembed restore" in vaultembed("doctor", "--fix", archive=archive).stderr


def test_a_missing_model_has_an_exit_code_of_its_own(archive: Path) -> None:
    write(archive, "UPDATE models SET path = '/nowhere/model.gguf'")
    done = vaultembed("doctor", "--json", archive=archive)
    document = json.loads(done.stdout)
    assert (done.returncode, document["exit_code"]) == (4, 4)
    assert [(f["kind"], f["generation"]) for f in document["data"]["findings"]] == [("model", 1)]
    assert not document["data"]["healthy"]


def test_an_altered_model_is_told(
    archive: Path, model: ModelFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = Path(shutil.copy(model.path, tmp_path))
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    assert examine(archive).data.findings == ()
    flip(copy, copy.stat().st_size // 2)
    [found] = examine(archive).data.findings
    assert (found.kind, found.generation) == ("model", 1)
    assert "has been altered" in found.what


@pytest.mark.skipif(os.geteuid() == 0 and not Path("/proc/self/ns").exists(), reason="root may write anywhere")
def test_an_archive_in_a_folder_that_cannot_be_written_can_be_examined(archive: Path) -> None:
    archive.chmod(0o400)
    archive.parent.chmod(0o500)
    try:
        assert vaultembed_json("doctor", archive=archive)["healthy"]
    finally:
        archive.parent.chmod(0o700)


def test_an_older_archive_is_repaired_and_brought_up_to_date(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(archive, "CREATE TRIGGER evil AFTER UPDATE ON messages BEGIN DELETE FROM message_raw; END")
    later = upgrade(tmp_path, monkeypatch)
    looked = vaultembed("doctor", archive=archive)
    assert (looked.returncode, "evil" in looked.stdout) == (5, True)
    data = vaultembed_json("doctor", "--fix", archive=archive)
    assert data["healthy"]
    assert data["repaired"][0] == "Took out the trigger evil"
    assert data["repaired"][1].startswith(
        f"The archive was brought from schema version {later - 1} to {later}. Before:"
    )
    assert vaultembed("stats", archive=archive).returncode == 0


def test_there_must_be_an_archive(tmp_path: Path) -> None:
    for arguments in (["doctor"], ["doctor", "--fix"]):
        done = vaultembed(*arguments, archive=tmp_path / "none.db")
        assert (done.returncode, "there is no archive" in done.stderr) == (1, True)
    assert not (tmp_path / "none.db").exists()


def test_a_file_that_cannot_be_opened_is_not_sent_to_the_doctor_again(archive: Path) -> None:
    for offset in range(100, 300):
        flip(archive, offset)
    done = vaultembed("doctor", archive=archive)
    assert done.returncode == 5
    assert "vaultembed restore" in done.stderr
    assert "vaultembed doctor" not in done.stderr


@pytest.mark.slow
def test_it_can_be_interrupted(archive: Path) -> None:
    with open_archive(archive) as opened, opened.transaction():
        opened.db.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000)"
            " INSERT INTO messages(subject) SELECT hex(randomblob(20)) FROM n"
        )
    for seconds in (1, 3, 9, 27):  # on a busy machine it may not have begun to look after a second
        process = start("doctor", archive=archive)
        time.sleep(seconds)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
        if "Interrupted" in errors:
            break
    assert "Interrupted" in errors
    assert process.returncode == 130


@pytest.mark.slow
def test_bytes_flipped_anywhere_end_in_a_documented_way_and_repairs_never_delete_mail(
    archive: Path, tmp_path: Path
) -> None:
    codes = set()
    with trier() as commands:
        for offset in random_offsets(archive, scaled(24), seed=5):
            damaged = Path(shutil.copy(archive, tmp_path / "damaged.db"))
            flip(damaged, offset)
            tried = commands.try_all(damaged, [("doctor",), ("doctor", "--fix"), ("doctor",)])
            where = f"byte {offset % PAGE} of page {offset // PAGE + 1}"
            assert not [one.complaint for one in tried if one.complaint], where
            codes |= {(tried[0].exit_code, tried[2].exit_code)}
            if tried[2].exit_code == 0:
                db = apsw.Connection(str(damaged))
                assert db.execute("SELECT count(*) FROM messages").fetchone() == (42,), where
                db.close()
                check_invariants(damaged)
            for left in tmp_path.glob("damaged.db*"):
                left.unlink()
    assert (5, 0) in codes, "nothing was repaired"
