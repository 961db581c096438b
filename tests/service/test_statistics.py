"""One set of numbers: what `stats` has from counters is what counting from scratch gives."""

from __future__ import annotations

import dataclasses
import json
import random
from pathlib import Path

import pytest

from tests.kit.archives import add, new_archive
from tests.kit.builds import fill, run
from tests.kit.embedder import WordHashEmbedder
from tests.kit.processes import vaultembed, vaultembed_json
from vaultembed.archive.database import Archive, open_archive
from vaultembed.archive.doctor.counting import Counted, count_coverage
from vaultembed.archive.engine.opening import PAGE_SIZE
from vaultembed.archive.generations.scopes import Scope
from vaultembed.archive.generations.transitions import activate
from vaultembed.cli.statistics import render
from vaultembed.deadline import Deadline, within
from vaultembed.embeddings.build import Wanted
from vaultembed.embeddings.worker import Limits
from vaultembed.service.importing import import_mail
from vaultembed.service.result import plain
from vaultembed.service.showing import show_message
from vaultembed.service.statistics import VectorSearchView, archive_statistics

NEW = Wanted(model_named=True)


def vector_search(path: Path) -> VectorSearchView:
    found = archive_statistics(path).data.vector_search
    assert found is not None
    return found


def counted_again(archive: Archive) -> Counted:
    with archive.snapshot():
        return count_coverage(archive)


def check(archive: Archive) -> VectorSearchView:
    """The statistics, after a comparison with what counting from scratch gives."""
    found, counted = vector_search(archive.path), counted_again(archive)
    assert found.missing_embeddings_total == counted.missing_embeddings_total
    views = {view.id: view for view in (found.active_generation, found.building_generation) if view is not None}
    assert set(views) == {generation.id for generation in counted.generations}
    for generation in counted.generations:
        view, coverage = views[generation.id], generation.coverage
        assert (view.live, view.embedded, view.blank, view.failed, view.missing) == (
            coverage.live,
            coverage.embedded,
            coverage.blank,
            coverage.failed,
            coverage.missing,
        )
    return found


def test_without_a_generation_every_live_message_is_missing(tmp_path: Path) -> None:
    with new_archive(tmp_path / "a.db") as archive:
        assert check(archive).missing_embeddings_total == 0
        fill(archive, 3)
        found = check(archive)
    assert found.missing_embeddings_total == 3
    assert found.problem is not None
    assert (found.enabled, found.problem.code) == (False, "no_active_generation")
    assert (found.active_generation, found.building_generation) == (None, None)


def test_a_message_that_both_generations_miss_counts_once(tmp_path: Path) -> None:
    with new_archive(tmp_path / "a.db") as archive:
        fill(archive, 10)
        run(archive)
        new = WordHashEmbedder("newer")
        run(archive, new, wanted=NEW, hold=True, limits=Limits(messages=4))
        fill(archive, 5, start=10)
        found = check(archive)
    assert found.active_generation is not None
    assert found.building_generation is not None
    assert (found.active_generation.missing, found.building_generation.missing) == (5, 11)
    # not 16: the five new ones are missing in both
    assert found.missing_embeddings_total == 11
    progress = found.building_generation.progress
    assert (progress.done, progress.total, progress.rate, progress.eta_seconds) == (4, 15, None, None)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("scoped", [False, True])
def test_the_total_is_right_whatever_two_generations_cover(tmp_path: Path, seed: int, scoped: bool) -> None:
    chance = random.Random(seed)
    with new_archive(tmp_path / "a.db") as archive:
        for n in range(30):
            add(archive, f"subject {n}", f"word{n} text", message_id=str(n), sent_at=1_000_000_000 + n * 86_400)
        run(archive, WordHashEmbedder(refused=["word3"]), hold=True, limits=Limits(messages=chance.randint(1, 30)))
        archive.load_vec()
        activate(archive, 1, 0, force=True)
        scope = Scope(after=1_000_000_000 + chance.randint(0, 15) * 86_400) if scoped else None
        wanted = Wanted(model_named=True, scope=scope)
        newer = WordHashEmbedder("newer", refused=["word5"])
        run(archive, newer, wanted=wanted, hold=True, limits=Limits(messages=chance.randint(1, 30)))
        fill(archive, chance.randint(0, 4), start=30)
        with archive.transaction():
            for _ in range(chance.randint(0, 6)):
                change = chance.choice(
                    [
                        "UPDATE messages SET subject = subject || '!' WHERE id = ?",
                        "UPDATE messages SET deleted_at = 1 WHERE id = ?",
                        "UPDATE messages SET deleted_at = NULL WHERE id = ?",
                        "UPDATE messages SET embed_gen = NULL WHERE id = ?",
                        "UPDATE messages SET sent_at = 1 WHERE id = ?",
                    ]
                )
                archive.db.execute(change, (chance.randint(1, 30),))
        check(archive)


def last_build(path: Path) -> tuple[str | None, str]:
    """Its outcome, and the line of `stats` about it."""
    found = vector_search(path)
    generation = found.building_generation or found.active_generation
    assert generation is not None
    assert generation.last_build is not None
    (line,) = [line for line in vaultembed("stats", archive=path).stdout.splitlines() if line.startswith("Last build:")]
    return generation.last_build.outcome, line.rpartition(", ")[2]


def test_a_build_that_paused_at_its_limit_is_told_from_one_that_had_nothing_left_to_do(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with open_archive(path) as archive:
        fill(archive, 10)
        run(archive, limits=Limits(messages=4))
        assert last_build(path) == ("limited", "paused at --limit; 4 embedded")
        run(archive, limits=Limits(messages=6))  # all that was left
        assert last_build(path) == ("complete", "complete; 6 embedded")
        fill(archive, 2, start=10)  # mail that came later takes nothing back
        assert last_build(path) == ("complete", "complete; 6 embedded")
        run(archive, limits=Limits(messages=1))
        assert last_build(path) == ("limited", "paused at --limit; 1 embedded")
        stopped: list[bool] = []
        run(archive, on_batch=lambda _: stopped.append(True), should_stop=lambda: bool(stopped))
        assert last_build(path)[0] == "interrupted"


def test_a_part_that_cannot_be_computed_does_not_hide_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with open_archive(path) as archive:
        fill(archive, 3)
        run(archive)
        root = archive.scalar("SELECT rootpage FROM sqlite_schema WHERE name = 'embed_runs'")
    with path.open("r+b") as file:
        file.seek((root - 1) * PAGE_SIZE)
        file.write(bytes(PAGE_SIZE))
    done = vaultembed("stats", "--json", archive=path)
    document = json.loads(done.stdout)
    assert done.returncode == document["exit_code"] == 5
    assert document["data"]["totals"]["messages"] == 3
    assert document["data"]["vector_search"] is None
    assert [(part["part"], part["code"]) for part in document["data"]["unavailable"]] == [
        ("vector_search", "archive_damaged")
    ]
    shown = vaultembed("stats", archive=path)
    assert "Messages:       3" in shown.stdout
    assert "Not known: vector search." in shown.stderr


def test_parts_for_which_there_is_no_time_left_are_told(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with open_archive(path) as archive:
        fill(archive, 1)
    with within(Deadline(0)):
        found = archive_statistics(path).data
    assert (found.vector_search, found.totals) == (None, None)
    parts = [
        "vector_search",
        "text_search",
        "sources",
        "types",
        "labels",
        "totals",
    ]  # the quickest first: they may still be known
    assert [(part.part, part.code) for part in found.unavailable] == [(part, "timed_out") for part in parts]


def test_a_model_that_is_not_here_is_told_and_the_counts_stand(tmp_path: Path) -> None:
    with new_archive(tmp_path / "a.db") as archive:
        fill(archive, 3)
        run(archive)
    found = vector_search(tmp_path / "a.db")
    assert found.problem is not None
    assert (found.enabled, found.problem.code) == (False, "model_unavailable")
    assert found.active_generation is not None
    assert found.active_generation.message_count == 3


def test_the_command_prints_the_object_of_the_service(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with open_archive(path) as archive:
        fill(archive, 3)
        run(archive)
    said = vaultembed_json("stats", archive=path)
    assert said == json.loads(json.dumps(plain(archive_statistics(path).data)))
    assert set(said) == {field.name for field in dataclasses.fields(archive_statistics(path).data)}


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("search", "zoo", "--mode", "vector"), "no_active_generation"),
        (("search", "before:someday"), "invalid_query"),
        (("show", "99"), "message_not_found"),
        (("embeddings", "activate", "9"), "invalid_request"),
    ],
)
def test_errors_carry_a_code_to_go_by(tmp_path: Path, arguments: tuple[str, ...], code: str) -> None:
    with new_archive(tmp_path / "a.db") as archive:
        fill(archive, 1)
    error = json.loads(vaultembed(*arguments, "--json", archive=tmp_path / "a.db").stdout)["error"]
    assert (error["code"], bool(error["hint"])) == (code, True)


def test_a_missing_archive_has_a_code(tmp_path: Path) -> None:
    done = vaultembed("stats", "--json", archive=tmp_path / "none.db")
    assert json.loads(done.stdout)["error"]["code"] == "archive_missing"


def test_a_first_generation_with_nothing_in_it_yet_does_not_answer(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with open_archive(path) as archive:
        fill(archive, 3)
        run(archive, WordHashEmbedder(), hold=True, limits=Limits(messages=1))
        with archive.transaction():
            archive.db.execute("DELETE FROM embed_outcomes")
    error = json.loads(vaultembed("search", "x", "--mode", "vector", "--json", archive=path).stdout)["error"]
    assert error["code"] == "index_building"


def test_folders_and_labels_are_listed_by_the_names_that_people_know(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mail = "From: a@example.org\nMessage-ID: <{0}@example.org>\nX-Gmail-Labels: Wichtig\n\nhello {0}\n"
    for number, folder in enumerate(("INBOX.Entw&APw-rfe", "INBOX.Entw&APw-rfe", "Messages envoy&AOk-s", "R&D")):
        file = tmp_path / "mail" / folder / "cur" / f"{number}.host:2,S"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(mail.format(number))
    archive = tmp_path / "a.db"
    import_mail(archive, [tmp_path / "mail"])
    found = archive_statistics(archive)
    assert [(label.kind, label.name, label.messages) for label in found.data.labels or ()] == [
        ("label", "Wichtig", 4),
        ("folder", "INBOX/Entwürfe", 2),
        ("folder", "Messages envoyés", 1),
        ("folder", "R&D", 1),
    ]
    assert show_message(archive, 1).data.labels == ("INBOX/Entwürfe", "Wichtig")
    render(found.data)
    said = capsys.readouterr().out
    assert "Folders:        INBOX/Entwürfe 2, Messages envoyés 1, R&D 1\nLabels:         Wichtig 4\n" in said
