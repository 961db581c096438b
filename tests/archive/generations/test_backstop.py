from __future__ import annotations

import pytest

from tests.kit.archives import check_invariants
from tests.kit.builds import fill, run
from tests.kit.embedder import WordHashEmbedder
from vaultembed.archive.database import Archive
from vaultembed.archive.generations.backstop import WINDOW, Backstop, is_due
from vaultembed.archive.generations.records import coverage_of
from vaultembed.cli.embedding import render_build
from vaultembed.embeddings.worker import Limits
from vaultembed.errors import ModelError
from vaultembed.models.model_file import ModelFile
from vaultembed.service.embedding import build_embeddings


def fill_windows(archive: Archive, windows: int) -> None:
    """Two messages in each window of so many."""
    for _ in range(windows):
        fill(archive, 2, start=archive.scalar("SELECT count(*) FROM messages"))
        archive.db.execute("UPDATE sqlite_sequence SET seq = seq - seq % ?1 + ?1 WHERE name = 'messages'", (WINDOW,))


def lose(archive: Archive, message_id: int) -> None:
    """Make a message work behind the triggers' back: what no trigger saw, only the backstop finds."""
    archive.db.execute("UPDATE messages SET embed_gen = NULL WHERE id = ?", (message_id,))
    archive.db.execute("UPDATE embed_watermark SET watermark_id = (SELECT max(id) FROM messages)")


def last_backstop(archive: Archive, generation_id: int) -> int | None:
    found: int | None = archive.scalar(
        "SELECT last_backstop_at FROM embed_watermark WHERE generation_id = ?", (generation_id,)
    )
    return found


def test_an_incremental_build_passes_over_what_the_backstop_recovers(archive: Archive) -> None:
    fill(archive, 50)
    run(archive)
    lose(archive, 7)
    assert run(archive).run.embedded == 0
    built = run(archive, backstop=True)
    assert built.run.embedded == built.run.recovered == 1
    check_invariants(archive.path)


def test_it_clears_stamps_that_are_not_true(archive: Archive) -> None:
    fill(archive, 20)
    run(archive)
    trigger = archive.scalar("SELECT sql FROM sqlite_schema WHERE name = 'lost_outcome_clears_stamp'")
    archive.db.execute("DROP TRIGGER lost_outcome_clears_stamp")
    archive.db.execute("DELETE FROM embed_outcomes WHERE message_id = 3")
    archive.db.execute(trigger)
    assert run(archive).run.recovered == 1
    assert archive.scalar("SELECT outcome FROM embed_outcomes WHERE message_id = 3") == "embedded"
    check_invariants(archive.path)


@pytest.mark.parametrize("more", [0, 3])
def test_it_runs_at_once_where_something_is_missing_that_a_build_would_pass_over(archive: Archive, more: int) -> None:
    """Also beside work that it finds."""
    fill(archive, 10)
    run(archive, backstop_hours=24)
    run(archive, WordHashEmbedder("second"), hold=True, backstop_hours=24, limits=Limits(4))
    archive.db.execute("UPDATE embed_watermark SET watermark_id = 10")
    fill(archive, more, start=100)
    assert coverage_of(archive, 2).missing == 6 + more
    built = run(archive, WordHashEmbedder("second"), backstop_hours=24)
    assert built.run.embedded == 6 + more
    assert (built.coverage.missing, built.activated) == (0, True)
    check_invariants(archive.path)


def test_a_sick_model_embeds_nothing_of_what_was_recovered(archive: Archive) -> None:
    fill(archive, 10)
    run(archive)
    run(archive, WordHashEmbedder("second"), hold=True, limits=Limits(4))
    lose(archive, 4)
    with pytest.raises(ModelError, match="does not work"):
        run(archive, WordHashEmbedder("second", sick=True))
    assert coverage_of(archive, 2).failed == 0


def test_what_no_look_finds_is_not_called_covered(
    archive: Archive, model: ModelFile, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(archive, 3)
    archive.db.execute("INSERT INTO sources(kind, identifier, added_at) VALUES ('mbox', '/mail', 0)")
    build_embeddings(archive.path)
    archive.db.execute("UPDATE embed_coverage SET live = live + 1")  # a counter that is wrong
    result = build_embeddings(archive.path)
    render_build(result.data)
    assert "covered:" in (said := capsys.readouterr().out)
    assert "every message" not in said
    assert result.exit_code == 3
    assert any("1 messages count as missing" in note and "vaultembed doctor" in note for note in result.notes)


def test_it_runs_by_itself_when_the_last_one_is_old(archive: Archive) -> None:
    fill(archive, 10)
    run(archive, backstop_hours=24)
    assert last_backstop(archive, 1) is not None
    lose(archive, 5)
    assert run(archive, backstop_hours=24).run.recovered == 0
    archive.db.execute("UPDATE embed_watermark SET last_backstop_at = unixepoch() - 24 * 3600 - 1")
    assert run(archive, backstop_hours=0).run.recovered == 0
    assert run(archive, backstop_hours=24).run.recovered == 1
    lose(archive, 6)
    archive.db.execute("UPDATE embed_watermark SET last_backstop_at = unixepoch() + 1000000")  # a clock was wrong
    assert run(archive, backstop_hours=24).run.recovered == 1


def test_a_new_generation_gets_its_own_first_one(archive: Archive) -> None:
    fill(archive, 10)
    run(archive, backstop_hours=24)
    run(archive, WordHashEmbedder("second"), should_stop=lambda: True)
    assert not is_due(archive, 1, 24)
    assert is_due(archive, 2, 24)


def test_twin_with_one_time_for_all_generations_a_new_one_would_go_without(archive: Archive) -> None:
    fill(archive, 10)
    run(archive, backstop_hours=24)
    run(archive, WordHashEmbedder("second"), hold=True)
    lose(archive, 4)
    before = archive.rows("SELECT generation_id, last_backstop_at FROM embed_watermark")
    # the naive way: whatever generation had the last one
    archive.db.execute(
        "UPDATE embed_watermark SET last_backstop_at = (SELECT max(last_backstop_at) FROM embed_watermark)"
    )
    assert run(archive, WordHashEmbedder("second"), hold=True, backstop_hours=24).run.recovered == 0
    for generation_id, at in before:
        archive.db.execute(
            "UPDATE embed_watermark SET last_backstop_at = ? WHERE generation_id = ?", (at, generation_id)
        )
    assert run(archive, WordHashEmbedder("second"), hold=True, backstop_hours=24).run.recovered == 1


def test_one_that_was_interrupted_is_not_recorded_as_done(archive: Archive) -> None:
    fill_windows(archive, 5)
    run(archive)
    lose(archive, archive.scalar("SELECT max(id) FROM messages"))
    seen: list[bool] = []

    def stop() -> bool:
        seen.append(True)
        return len(seen) > 2

    assert run(archive, backstop=True, should_stop=stop).run.recovered == 0
    assert last_backstop(archive, 1) is None
    assert run(archive, backstop=True).run.recovered == 1
    assert last_backstop(archive, 1) is not None


def test_it_rolls_in_windows(archive: Archive) -> None:
    fill_windows(archive, 5)
    run(archive)
    rolling = Backstop(archive, 1)
    assert sum(rolling.step() for _ in range(10)) == 5


def test_it_looks_at_every_message_wherever_the_watermark_is(archive: Archive) -> None:
    """After an undelete of the first message the watermark is 0 and nothing raises it: there is no work."""
    fill(archive, 10)
    run(archive)
    trigger = archive.scalar("SELECT sql FROM sqlite_schema WHERE name = 'chunk_deleted'")
    archive.db.execute("DROP TRIGGER chunk_deleted")
    archive.db.execute("DELETE FROM chunks WHERE message_id = 8")
    archive.db.execute("UPDATE embed_coverage SET chunks = chunks - 1")
    archive.db.execute("INSERT INTO vec_orphans VALUES (1, 8)")
    archive.db.execute(trigger)
    archive.db.execute("UPDATE messages SET deleted_at = 1 WHERE id = 1")
    archive.db.execute("UPDATE messages SET deleted_at = NULL WHERE id = 1")
    assert run(archive, backstop=True).run.recovered == 1
    check_invariants(archive.path)


def test_an_edit_of_the_first_message_while_it_rolls_does_not_end_it(archive: Archive) -> None:
    fill_windows(archive, 5)
    run(archive)
    rolling = Backstop(archive, 1)
    assert rolling.step()
    archive.db.execute("UPDATE messages SET subject = 'edited' WHERE id = 1")
    assert rolling.step()
    assert sum(rolling.step() for _ in range(10)) == 3
