from __future__ import annotations

from pathlib import Path

import pytest

from tests.kit.archives import add, check_invariants
from tests.kit.builds import run, search
from tests.kit.embedder import WordHashEmbedder
from vaultembed.archive.database import Archive
from vaultembed.archive.generations.records import coverage_of, list_generations
from vaultembed.archive.generations.scopes import EVERYTHING, Scope, source_id_of_path
from vaultembed.cli.embedding import render_build
from vaultembed.cli.generations import render_status
from vaultembed.cli.statistics import render as render_statistics
from vaultembed.embeddings.build import Wanted
from vaultembed.errors import UsageError
from vaultembed.service.doctor import examine
from vaultembed.service.embedding import BuildView, RunCounts
from vaultembed.service.generations import embeddings_status
from vaultembed.service.searching import Kept, search_archive
from vaultembed.service.statistics import archive_statistics

YEAR = 365 * 86400
SINCE_2001 = Scope(after=978307200)


@pytest.fixture
def mail(archive: Archive) -> Archive:
    for n in range(10):
        add(archive, f"old {n}", f"word{n}", message_id=f"old{n}", sent_at=900_000_000)
        add(archive, f"recent {n}", f"word{n} recent", message_id=f"recent{n}", sent_at=1_000_000_000)
    add(archive, "undated", "nobody knows when", message_id="undated", sent_at=None)
    return archive


def test_a_generation_covers_its_scope_and_says_so(mail: Archive) -> None:
    built = run(mail, wanted=Wanted(scope=SINCE_2001))
    assert built.activated
    assert (built.coverage.live, built.coverage.embedded) == (10, 10)
    assert list_generations(mail)[0].fingerprint.endswith(":after2001-01-01")
    assert mail.scalar("SELECT count(*) FROM messages WHERE embed_gen IS NOT NULL") == 10
    assert run(mail).run.embedded == 0
    check_invariants(mail.path)


def test_what_is_outside_the_scope_is_told_wherever_coverage_is(
    mail: Archive, capsys: pytest.CaptureFixture[str]
) -> None:
    run(mail, wanted=Wanted(scope=SINCE_2001))
    run(mail, WordHashEmbedder("second"), wanted=Wanted(model_named=True, scope=Scope(after=0)), hold=True)
    mail.db.execute("UPDATE messages SET deleted_at = 1 WHERE rfc822_message_id = 'old3'")
    status = embeddings_status(mail.path)
    found = archive_statistics(mail.path).data.vector_search
    kept = Kept(open_embedder=lambda generation: WordHashEmbedder(generation.model.name))
    searched = search_archive(mail.path, "word3", kept=kept).data
    counted = examine(mail.path).data.counted
    assert found is not None
    assert found.active_generation is not None
    assert found.building_generation is not None
    assert searched.building is not None
    assert counted is not None
    of_active = [status.data.generations[0].coverage, found.active_generation, searched.coverage]
    of_building = [status.data.generations[1].coverage, found.building_generation, searched.building.coverage]
    for reports, each, outside in ((of_active, 0, 10), (of_building, 1, 1)):
        for report in (*reports, counted.generations[each].coverage):
            assert (report.live + report.outside_scope, report.outside_scope) == (20, outside)
    render_status(status.data)
    assert "100 % covered (outside the scope: 10): 10 live" in " ".join(capsys.readouterr().out.split())
    render_statistics(archive_statistics(mail.path).data)
    assert " ".join(capsys.readouterr().out.split()).count("(outside the scope: 1") == 2
    render_build(build_view(mail.path, generation=1))
    assert "every message in the scope is covered" in " ".join(capsys.readouterr().out.split())


def build_view(path: Path, generation: int) -> BuildView:
    """Of a build that found nothing to do."""
    shown = embeddings_status(path).data.generations[generation - 1]
    return BuildView(
        path, shown, RunCounts(), activated=False, interrupted=False, verified=None, quality=None, collected=0
    )


def test_a_message_that_comes_into_scope_is_work(mail: Archive) -> None:
    run(mail, wanted=Wanted(scope=SINCE_2001))
    mail.db.execute("UPDATE messages SET sent_at = 1000000000 WHERE id = 1")
    assert coverage_of(mail, 1).missing == 1
    assert run(mail).run.embedded == 1
    mail.db.execute("UPDATE messages SET sent_at = 5 WHERE id = 1")
    assert coverage_of(mail, 1).live == 10
    mail.db.execute("UPDATE messages SET sent_at = 1000000000 WHERE id = 1")
    assert run(mail).run.embedded == 0
    check_invariants(mail.path)


def test_another_scope_is_another_generation(mail: Archive) -> None:
    run(mail, wanted=Wanted(scope=SINCE_2001))
    built = run(mail, wanted=Wanted(scope=EVERYTHING))
    assert built.generation.id == 2
    assert built.coverage.live == 21
    assert search(mail, "nobody knows when")[0] == 21
    check_invariants(mail.path)


def test_a_scope_may_name_sources_and_types(archive: Archive) -> None:
    archive.db.execute(
        "INSERT INTO sources(kind, identifier, added_at) VALUES ('mbox', '/mail/work', 0), ('mbox', '/mail/home', 0)"
    )
    for n in range(6):
        message_id = add(archive, f"s{n}", f"word{n}", message_id=str(n))
        archive.db.execute(
            "INSERT INTO message_sources VALUES (?, ?, ?, '', '', '', NULL, '[]', '')", (1 + n % 2, str(n), message_id)
        )
    archive.db.execute("UPDATE messages SET message_type = 'chat' WHERE id = 1")
    assert source_id_of_path(archive, "/mail/home") == source_id_of_path(archive, "home") == [2]
    with pytest.raises(UsageError, match="/mail/work"):
        source_id_of_path(archive, "attic")
    assert run(archive, wanted=Wanted(scope=Scope(sources=(1,)))).coverage.live == 3
    built = run(
        archive,
        WordHashEmbedder("second"),
        wanted=Wanted(model_named=True, scope=Scope(sources=(1,), types=("email",))),
    )
    assert built.coverage.live == 2
    assert built.generation.scope == "source1,typeemail"
    archive.db.execute("INSERT INTO message_sources VALUES (1, 'copy', 2, '', '', '', NULL, '[]', '')")
    assert coverage_of(archive, 2).missing == 1
    assert coverage_of(archive, 1).missing == 1
    check_invariants(archive.path)


def test_a_look_that_finds_nothing_is_not_taken_again_over_what_is_outside(archive: Archive) -> None:
    """An edit of an old message outside lowers the watermark; each build after it would walk over all of those."""
    for n in range(30):
        add(archive, f"old {n}", message_id=f"old{n}", sent_at=1000)
    add(archive, "new", message_id="new", sent_at=2_000_000_000)
    scope = Scope(after=1_999_987_200)
    run(archive, wanted=Wanted(model_named=True, scope=scope))
    archive.db.execute("UPDATE messages SET subject = 'edited' WHERE id = 1")
    assert archive.scalar("SELECT watermark_id FROM embed_watermark") == 0
    assert run(archive).run.messages == 0
    assert archive.scalar("SELECT watermark_id FROM embed_watermark") == 31
    check_invariants(archive.path)
