"""kill -9 before every SQL statement of activate, rollback, discard and prune, while others search."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.kit.archives import add, check_invariants
from tests.kit.builds import verify
from tests.kit.embedder import WordHashEmbedder
from tests.kit.recount import check_coverage, nearest, states
from tests.kit.runner import Runners, times_embedded
from tests.kit.scale import scaled
from vaultembed.archive.database import open_archive, open_archive_readonly

pytestmark = pytest.mark.slow

COUNT = scaled(8)
SURVIVED = 0
KILLED = -9


@pytest.fixture(scope="module")
def runners(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runners]:
    found = Runners(tmp_path_factory.mktemp("runners"))
    yield found
    found.close()


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory, runners: Runners) -> Path:
    """With an active generation."""
    path = tmp_path_factory.mktemp("imported") / "a.db"
    with open_archive(path) as archive:
        for n in range(COUNT):
            add(archive, f"subject{n}", f"thing{n} lies in box{n % 7}", message_id=str(n))
    runners.succeed("build", path, "--model", "one")
    return path


@contextmanager
def searching(path: Path) -> Iterator[list[int]]:
    """Inside, somebody searches all the time, and finds what is right by whichever generation is active."""
    stop = threading.Event()
    found: list[int] = []
    errors: list[BaseException] = []

    def search() -> None:
        while not stop.wait(0.002):
            n = len(found) % COUNT
            try:
                assert nearest(path, f"subject{n} thing{n} lies in box{n % 7}")[0] == n + 1
                with open_archive_readonly(path) as archive:
                    assert archive.scalar("SELECT count(*) FROM generations WHERE state = 'active'") == 1
            except BaseException as error:
                errors.append(error)
                return
            found.append(n)

    thread = threading.Thread(target=search)
    thread.start()
    try:
        yield found
    finally:
        stop.set()
        thread.join()
    if errors:
        raise errors[0]
    assert found, "nobody searched"


def killed_at_each(
    runners: Runners,
    base: Path,
    folder: Path,
    *command: str | int,
    has_effect: Callable[[Path], bool],
    then: Callable[[Path, bool], None],
) -> None:
    """The command is killed before its 1st, 2nd, 3rd… statement, each time in a fresh copy, until it survives. `then`
    gets each archive, and whether the command had its effect."""
    action, *options = (str(part) for part in command)
    effects = []
    exit_code = KILLED
    while exit_code != SURVIVED:
        path = Path(shutil.copy(base, folder / f"{len(effects)}.db"))
        with searching(path):
            exit_code = runners.run(action, path, *options, "--statement", len(effects) + 1)
            assert exit_code in (KILLED, SURVIVED)
            assert list(states(path).values()).count("active") == 1
            check(path)
            effects.append(has_effect(path))
            then(path, effects[-1])
            assert list(states(path).values()).count("active") == 1
        check(path)
        path.unlink()
    assert len(effects) > 20, "the statements were not counted"
    # once it has had its effect, it has it
    assert effects == sorted(effects)
    assert effects[0] is False
    assert effects[-1] is True


def is_state(generation: int, state: str) -> Callable[[Path], bool]:
    return lambda path: states(path)[generation] == state


def is_pruning(path: Path) -> bool:
    with open_archive_readonly(path) as archive:
        return archive.scalar("SELECT pruned_at FROM generations WHERE id = 1") is not None


def check(path: Path) -> None:
    if not is_pruning(path):
        check_invariants(path)
    check_coverage(path)


def embeds_nothing(runners: Runners, path: Path, model: str) -> None:
    """All that the generation to be filled had is still current: a build has nothing to do."""
    log = path.with_suffix(".log")
    runners.succeed("build", path, "--model", model, "--log", log)
    assert not times_embedded(log)


def test_activate_killed_at_every_statement(runners: Runners, imported: Path, tmp_path: Path) -> None:
    base = Path(shutil.copy(imported, tmp_path / "base.db"))
    runners.succeed("build", base, "--model", "two", "--hold")
    with open_archive(base) as opened:
        verify(opened, 2, WordHashEmbedder("two"))
    assert states(base) == {1: "active", 2: "building"}

    def again(path: Path, has_effect: bool) -> None:
        assert states(path) == ({1: "retired", 2: "active"} if has_effect else {1: "active", 2: "building"})
        runners.succeed("activate", path, "--generation", 2)
        assert states(path) == {1: "retired", 2: "active"}
        embeds_nothing(runners, path, "two")

    killed_at_each(runners, base, tmp_path, "activate", "--generation", 2, has_effect=is_state(2, "active"), then=again)


def test_activating_a_retired_generation_killed_at_every_statement(
    runners: Runners, imported: Path, tmp_path: Path
) -> None:
    base = Path(shutil.copy(imported, tmp_path / "base.db"))
    runners.succeed("build", base, "--model", "two")
    assert states(base) == {1: "retired", 2: "active"}

    def again(path: Path, has_effect: bool) -> None:
        assert states(path) == ({1: "active", 2: "retired"} if has_effect else {1: "retired", 2: "active"})
        runners.succeed("activate", path, "--generation", 1)
        assert states(path) == {1: "active", 2: "retired"}
        embeds_nothing(runners, path, "one")

    killed_at_each(runners, base, tmp_path, "activate", "--generation", 1, has_effect=is_state(1, "active"), then=again)


def test_rollback_killed_at_every_statement(runners: Runners, imported: Path, tmp_path: Path) -> None:
    base = Path(shutil.copy(imported, tmp_path / "base.db"))
    runners.succeed("build", base, "--model", "two")

    def again(path: Path, has_effect: bool) -> None:
        assert states(path) == ({1: "active", 2: "retired"} if has_effect else {1: "retired", 2: "active"})
        if not has_effect:
            runners.succeed("rollback", path)
        assert states(path) == {1: "active", 2: "retired"}
        embeds_nothing(runners, path, "one")
        runners.succeed("rollback", path)
        assert states(path) == {1: "retired", 2: "active"}
        embeds_nothing(runners, path, "two")

    killed_at_each(runners, base, tmp_path, "rollback", has_effect=is_state(1, "active"), then=again)


def test_discard_killed_at_every_statement(runners: Runners, imported: Path, tmp_path: Path) -> None:
    base = Path(shutil.copy(imported, tmp_path / "base.db"))
    assert runners.run("build", base, "--model", "two", "--limit", COUNT // 2) == 3
    assert states(base) == {1: "active", 2: "building"}

    def again(path: Path, has_effect: bool) -> None:
        assert states(path) == {1: "active", 2: "discarded" if has_effect else "building"}
        assert runners.run("discard", path) == (2 if has_effect else 0)  # there is nothing left to discard
        assert states(path) == {1: "active", 2: "discarded"}
        embeds_nothing(runners, path, "one")

    killed_at_each(runners, base, tmp_path, "discard", has_effect=is_state(2, "discarded"), then=again)


def test_prune_killed_at_every_statement(runners: Runners, imported: Path, tmp_path: Path) -> None:
    base = Path(shutil.copy(imported, tmp_path / "base.db"))
    runners.succeed("build", base, "--model", "two")
    whole = remains(base)

    def again(path: Path, has_effect: bool) -> None:
        assert states(path) == {1: "retired", 2: "active"}
        if has_effect:  # on its way out, and nothing half can come into use
            assert runners.run("activate", path, "--generation", 1) == 1
        else:
            assert remains(path) == whole
        runners.succeed("prune", path)
        assert remains(path) == [0, 0, 0, 0, 0, 0]
        embeds_nothing(runners, path, "two")

    killed_at_each(runners, base, tmp_path, "prune", has_effect=is_pruning, then=again)


def remains(path: Path) -> list[int]:
    """Of the first generation."""
    tables = ("chunks", "embed_outcomes", "scope_members", "embed_watermark", "embed_coverage")
    with open_archive_readonly(path) as archive:
        counts = [archive.scalar(f"SELECT count(*) FROM {table} WHERE generation_id = 1") for table in tables]
        return [*counts, archive.scalar("SELECT count(*) FROM sqlite_schema WHERE name = 'vec_1'")]


def test_the_named_points_of_a_prune_of_many_batches(runners: Runners, imported: Path, tmp_path: Path) -> None:
    """What is deleted in several transactions, and messages deleted by the user with it."""
    base = tmp_path / "base.db"
    with open_archive(base) as archive:
        for n in range(600):
            add(archive, f"subject{n}", f"thing{n} lies in box{n % 7}", message_id=str(n))
    runners.succeed("build", base, "--model", "one")
    runners.succeed("build", base, "--model", "two")
    with open_archive(base) as archive:
        archive.db.execute("UPDATE messages SET deleted_at = 1 WHERE id % 50 = 49")
    number = 0
    exit_code = KILLED
    step = max(1, 4 // scaled(1))
    while exit_code != SURVIVED:
        number += step
        path = Path(shutil.copy(base, tmp_path / f"{number}.db"))
        with searching(path):
            exit_code = runners.run("prune", path, "--failpoint", f"prune.step:{number}")
            check(path)
            runners.succeed("prune", path)
        assert remains(path) == [0, 0, 0, 0, 0, 0]
        check(path)
        path.unlink()
    assert number > 20
