"""`delete --forever` that is killed, or interrupted, anywhere: the same command goes on, and leaves nothing."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import pytest

from tests.kit.archives import add, check_invariants, new_archive
from tests.kit.builds import run
from tests.kit.processes import vaultembed, vaultembed_process
from vaultembed.archive.database import open_archive, open_archive_readonly
from vaultembed.archive.mail.labels import add_labels
from vaultembed.archive.upkeep.erasing import delete_forever
from vaultembed.message import Person

MARK = "zqsecret"
DOOMED = [str(number) for number in range(2, 122)]
COMMANDS = (("from:doomed",), tuple(DOOMED), ("--deleted",))


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """More messages than one transaction removes, and two that stay."""
    path = tmp_path_factory.mktemp("base") / "a.db"
    with new_archive(path) as archive:
        add(archive, "kept", "first")
        for number in range(120):
            secret = f"{MARK}{number}"
            sender = Person(f"{secret}@doomed.example", "Doomed")
            message = add(archive, f"subject {secret}", f"body {secret}", message_id=secret, sender=sender)
            with archive.transaction():
                add_labels(archive, message, "label", [f"label {secret}"])
        add(archive, "kept as well", "last")
        run(archive)
    return path


def deleted(base: Path, folder: Path, command: tuple[str, ...]) -> Path:
    path = Path(shutil.copy(base, folder / "a.db"))
    if command == ("--deleted",):
        vaultembed("delete", "--yes", "from:doomed", archive=path)
    return path


def check_goes_on(path: Path, command: tuple[str, ...]) -> None:
    check_invariants(path)
    again = vaultembed("delete", "--forever", "--yes", *command, archive=path)
    assert again.returncode == 0, again.stderr
    assert not path.with_name("a.db-wal").exists()
    check_invariants(path)
    with open_archive_readonly(path) as archive:
        assert archive.rows("SELECT subject FROM messages") == [("kept",), ("kept as well",)]
        names = archive.rows("SELECT name FROM sqlite_schema WHERE type = 'table' AND sql NOT GLOB 'CREATE VIRTUAL*'")
        assert [name for (name,) in names if MARK in repr(archive.rows(f'SELECT * FROM "{name}"'))] == []


@pytest.mark.slow
def test_killed_at_any_step_it_is_finished_by_the_same_command(base: Path, tmp_path: Path) -> None:
    for step in range(1, 40):
        command = COMMANDS[step % 3]
        folder = tmp_path / str(step)
        folder.mkdir()
        path = deleted(base, folder, command)
        arguments = ("delete", "--forever", "--yes", *command)
        killed = vaultembed_process(*arguments, archive=path, failpoint=f"delete.step:{step}")
        assert killed.returncode in (0, -signal.SIGKILL), killed.stderr
        check_goes_on(path, command)
        if killed.returncode == 0:
            break
    assert step > 8  # two transactions, names, and at least one merge of the text index


@pytest.mark.parametrize("batches", [0, 1, 2])
@pytest.mark.parametrize("command", COMMANDS[:2], ids=["query", "ids"])
def test_interrupted_it_is_finished_by_the_same_command(
    base: Path, tmp_path: Path, command: tuple[str, ...], batches: int
) -> None:
    path = deleted(base, tmp_path, command)
    stops = iter([False] * batches)
    with open_archive(path) as archive:
        archive.load_vec()
        delete_forever(archive, [int(number) for number in DOOMED], lambda: next(stops, True))
    check_goes_on(path, command)


def test_what_never_was_is_no_message_that_is_gone(base: Path, tmp_path: Path) -> None:
    path = deleted(base, tmp_path, ())
    assert vaultembed("delete", "--forever", "--yes", "2", archive=path).returncode == 0
    gone = vaultembed("delete", "--yes", "2", archive=path)
    assert (gone.returncode, gone.stdout) == (0, "0 messages deleted.\n")
    assert "They are gone already." in gone.stderr
    for never in ("123", "0", str(2**63)):
        assert vaultembed("delete", "--yes", "2", never, archive=path).returncode == 2
