from __future__ import annotations

import math
import shutil
import zlib
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from tests.kit.archives import check_invariants, new_archive
from tests.kit.mail import mail, mbox
from vaultembed.archive.database import open_archive
from vaultembed.archive.engine import opening
from vaultembed.cli.generations import render_status
from vaultembed.errors import DamageError, ModelError, NotReadyError, UsageError, VaultembedError
from vaultembed.models.model_file import ModelFile
from vaultembed.service.embedding import BuildRequest, Options, build_embeddings
from vaultembed.service.generations import embeddings_status, list_recorded_runs
from vaultembed.service.importing import import_mail
from vaultembed.service.searching import search_archive
from vaultembed.service.transitions import activate_generation, roll_back
from vaultembed.service.verifying import verify_embeddings


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    messages = [
        mail("Water everywhere", "The pipe under the sink burst and the whole kitchen is flooded."),
        mail("Sunday", "Shall we take the children to the zoo? The penguins hatched."),
    ]
    import_mail(tmp_path / "a.db", [mbox(tmp_path / "box", messages)])
    return tmp_path / "a.db"


def test_a_gguf_given_by_path_is_remembered_with_its_prefixes(archive: Path, tmp_path: Path, model: ModelFile) -> None:
    path = tmp_path / "my model.gguf"
    shutil.copy(model.path, path)
    built = build_embeddings(archive, BuildRequest(str(path), document_prefix="passage: ", query_prefix="query: "))
    assert built.data.activated
    assert search_archive(archive, "plumbing disaster", mode="vector").data.results[0].subject == "Water everywhere"
    import_mail(archive, [mbox(tmp_path / "more", [mail("Choir", "We sing on Thursday.")])])
    again = build_embeddings(archive)
    assert again.data.generation.id == built.data.generation.id
    assert again.data.generation.coverage.embedded == 3
    check_invariants(archive)


def test_a_model_file_that_changed_under_its_name_is_refused(archive: Path, tmp_path: Path, model: ModelFile) -> None:
    path = tmp_path / "m.gguf"
    shutil.copy(model.path, path)
    build_embeddings(archive, BuildRequest(str(path)))
    content = bytearray(path.read_bytes())
    content[-100] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(NotReadyError, match="not the one generation 1 was made with"):
        search_archive(archive, "zoo", mode="vector")
    path.unlink()
    with pytest.raises(ModelError, match=r"m\.gguf"):
        search_archive(archive, "zoo", mode="vector")
    assert search_archive(archive, "zoo", mode="text").data.results


def test_status_says_what_to_do_next_at_every_stage(archive: Path, tmp_path: Path, model: ModelFile) -> None:
    assert "vaultembed embeddings build" in embeddings_status(archive).notes[0]
    build_embeddings(archive)
    assert embeddings_status(archive).notes == ("Everything is covered; nothing to do.",)
    import_mail(archive, [mbox(tmp_path / "more", [mail("Choir", "We sing on Thursday.")])])
    assert "misses 1 of 3 messages" in embeddings_status(archive).notes[0]


def test_status_says_when_every_message_was_looked_at_and_when_again(
    archive: Path, model: ModelFile, capsys: pytest.CaptureFixture[str]
) -> None:
    build_embeddings(archive, BuildRequest(options=Options(backstop_hours=0)))
    (never,) = embeddings_status(archive).data.generations
    assert (never.last_backstop_at, never.next_backstop_at) == (None, never.created_at)
    assert embeddings_status(archive, backstop_hours=0).data.generations[0].next_backstop_at is None
    build_embeddings(archive)
    (shown,) = embeddings_status(archive, backstop_hours=2).data.generations
    assert shown.last_backstop_at is not None
    assert shown.next_backstop_at is not None
    last, following = (datetime.fromisoformat(at) for at in (shown.last_backstop_at, shown.next_backstop_at))
    assert following - last == timedelta(hours=2)
    for hours in (0, 1e300, math.inf):
        shown_too = embeddings_status(archive, backstop_hours=hours).data
        assert shown_too.generations[0].last_backstop_at == shown.last_backstop_at
        assert shown_too.generations[0].next_backstop_at is None
        render_status(shown_too)
        assert f"last backstop {shown.last_backstop_at}\n" in capsys.readouterr().out
    build_embeddings(archive, BuildRequest(chunk_tokens=100, options=Options(hold=True)))
    beside, filled = embeddings_status(archive).data.generations
    assert beside.next_backstop_at is None  # no build fills it now
    assert filled.next_backstop_at is not None


def test_runs_are_listed_with_what_they_did_the_last_first(archive: Path, tmp_path: Path, model: ModelFile) -> None:
    assert list_recorded_runs(archive, limit=20).data.runs == ()
    build_embeddings(archive)
    import_mail(archive, [mbox(tmp_path / "more", [mail("Choir", "We sing on Thursday.")])])
    build_embeddings(archive)
    build_embeddings(archive, BuildRequest(chunk_tokens=100, options=Options(hold=True)))
    found = list_recorded_runs(archive, limit=20)
    assert [(run.generation, run.embedded, run.outcome) for run in found.data.runs] == [
        (2, 3, "complete"),
        (1, 1, "complete"),
        (1, 2, "complete"),
    ]
    assert found.notes == ()
    assert [run.embedded for run in list_recorded_runs(archive, 1, limit=1).data.runs] == [1]
    assert "There are more" in list_recorded_runs(archive, limit=2).notes[0]
    with pytest.raises(UsageError, match="no generation 9"):
        list_recorded_runs(archive, 9, limit=1)


def write_noise(archive: Path, generation_id: int) -> None:
    noise = np.full(384, 384**-0.5).astype("<f2").tobytes()
    with open_archive(archive) as opened:
        opened.execute(
            "UPDATE vectors SET embedding = ?, checksum = ? WHERE chunk_id IN"
            " (SELECT id FROM chunks WHERE generation_id = ?)",
            (noise, zlib.crc32(noise), generation_id),
        )


def test_what_is_put_to_use_is_verified_first(archive: Path, tmp_path: Path, model: ModelFile) -> None:
    build_embeddings(archive, BuildRequest(options=Options(hold=True)))
    assert embeddings_status(archive).data.generations[0].verification is None
    assert activate_generation(archive, 1, max_failed=0).data.generation.verification == "passed"
    build_embeddings(archive, BuildRequest(chunk_tokens=100))
    assert roll_back(archive).data.generation.id == 1
    write_noise(archive, 2)
    with pytest.raises(DamageError, match="generation 2 did not pass") as refused:
        roll_back(archive)
    assert verify_embeddings(archive, 2, sample=False).data.sound  # and is not taken for a verification
    (status,) = embeddings_status(archive, every=True).data.generations[1:]
    assert (status.state, status.verification) == ("retired", "failed")
    assert refused.value.hint is not None
    assert "activate 2 --force" in refused.value.hint
    assert activate_generation(archive, 2, max_failed=0, force=True).data.changed
    assert "verify 2" in embeddings_status(archive).notes[0]


def test_what_cannot_be_verified_because_its_model_is_gone_is_put_to_use_by_force_alone(
    archive: Path, tmp_path: Path, model: ModelFile
) -> None:
    path = Path(shutil.copy(model.path, tmp_path / "m.gguf"))
    build_embeddings(archive, BuildRequest(str(path), options=Options(hold=True)))
    path.unlink()
    with pytest.raises(ModelError, match="generation 1 cannot be verified") as refused:
        activate_generation(archive, 1, max_failed=0)
    assert refused.value.hint is not None
    assert "build --model PATH" in refused.value.hint
    assert "activate 1 --force" in refused.value.hint
    assert activate_generation(archive, 1, max_failed=0, force=True).data.changed


def test_verification_of_an_archive_that_takes_no_writes_says_what_it_found(
    archive: Path, model: ModelFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_embeddings(archive)
    monkeypatch.setattr(opening, "BUSY_TIMEOUT_MS", 20)
    with open_archive(archive) as other, other.transaction():
        assert verify_embeddings(archive).data.sound


def test_search_by_meaning_without_embeddings_says_how_to_get_them(archive: Path) -> None:
    with pytest.raises(NotReadyError, match="vaultembed embeddings build"):
        search_archive(archive, "zoo", mode="vector")
    hybrid = search_archive(archive, "zoo")
    assert hybrid.data.results[0].subject == "Sunday"
    assert "By words only" in hybrid.notes[0]


def test_a_build_of_nothing_creates_nothing_and_is_no_success(tmp_path: Path) -> None:
    with pytest.raises(VaultembedError, match="no archive"):
        build_embeddings(tmp_path / "typo.db")
    assert not (tmp_path / "typo.db").exists()
    with new_archive(tmp_path / "empty.db"):
        pass
    with pytest.raises(NotReadyError, match="no messages"):
        build_embeddings(tmp_path / "empty.db")


def test_another_file_of_a_model_is_another_model_and_can_be_gone_back_from(
    archive: Path, tmp_path: Path, model: ModelFile
) -> None:
    build_embeddings(archive)
    path = tmp_path / "copy.gguf"
    shutil.copy(model.path, path)
    built = build_embeddings(archive, BuildRequest(str(path), document_prefix="passage: "))
    assert built.data.activated
    assert built.data.verified
    assert roll_back(archive).data.active.id == 1  # type: ignore[union-attr]
    assert build_embeddings(archive).data.run.embedded == 0
    assert verify_embeddings(archive).data.sound
    assert roll_back(archive).data.active.id == 2  # type: ignore[union-attr]
    assert search_archive(archive, "plumbing disaster", mode="vector").data.results[0].subject == "Water everywhere"
    check_invariants(archive)
