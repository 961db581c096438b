from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import apsw
import pytest
import typer

from tests.kit.archives import add, new_archive
from tests.service.test_searching import Models, fill
from vaultembed.archive.database import open_archive, open_archive_readonly
from vaultembed.archive.generations.transitions import activate
from vaultembed.cli import evaluating
from vaultembed.errors import DamageError, IncompleteError, NotReadyError, UsageError
from vaultembed.search.query import plain_query
from vaultembed.service.evaluating import (
    MODES,
    Run,
    all_runs,
    compare_runs,
    run_set,
    show_run,
    write_corpus,
)
from vaultembed.service.importing import import_mail
from vaultembed.service.searching import Kept, search_archive

COUNT = 20
Judged = dict[str, tuple[str, dict[str, int]]]
THREE: Judged = {
    "1": ("thing3 lies", {"m3@x": 1}),
    "2": ('box1 -thing5 from:"nobody', {"m5@x": 2, "m9@x": 1}),
    "3": ("words of no message", {"m7@x": 1}),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Twenty messages, embedded."""
    with new_archive(tmp_path / "a.db") as archive:
        for n in range(COUNT):
            add(archive, f"subject{n}", f"thing{n} lies in box{n % 4}", message_id=f"m{n}@x", sent_at=n)
        fill(archive, "old", hold=False)
    return tmp_path / "a.db"


def judged(path: Path, queries: Judged) -> Path:
    folder = path.with_name("judged")
    (folder / "qrels").mkdir(parents=True, exist_ok=True)
    asked = [json.dumps({"_id": name, "text": text}) for name, (text, _) in queries.items()]
    (folder / "queries.jsonl").write_text("\n".join(asked))
    rows = [f"{name}\t{doc}\t{grade}\n" for name, (_, grades) in queries.items() for doc, grade in grades.items()]
    (folder / "qrels" / "test.tsv").write_text("".join(rows))
    return folder


def run(path: Path, queries: Judged, mode: Any = "text", **options: Any) -> Run:
    return run_set(path, judged(path, queries), modes=(mode,), open_embedder=Models(), **options).data.runs[0]


def kept(path: Path, sql: str) -> list[tuple[Any, ...]]:
    db = apsw.Connection(f"{path}.eval", flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return db.execute(sql).fetchall()
    finally:
        db.close()


def test_a_query_finds_what_search_finds_in_each_mode(path: Path) -> None:
    models = Models()
    result = run_set(path, judged(path, THREE), setting="as it is", open_embedder=models)
    assert [(found.id, found.mode, found.generation) for found in result.data.runs] == [
        (1, "text", None),
        (2, "vector", 1),
        (3, "hybrid", 1),
    ]
    for run_id, mode in enumerate(MODES, 1):
        for name, (text, _) in THREE.items():
            rows = kept(
                path,
                "SELECT message_id, score FROM results JOIN queries q ON q.id = query_id"
                f" WHERE run_id = {run_id} AND q.name = '{name}' ORDER BY rank",
            )
            found = search_archive(path, plain_query(text), mode=mode, limit=100, kept=Kept(Models())).data.results
            assert rows == [(one.id, one.score) for one in found]
    assert models.opened == ["old"], "a model stays open from query to query"
    assert all_runs(path).data.runs == result.data.runs
    assert result.data.runs[0].setting == "as it is"


def test_the_means_are_those_of_the_queries(path: Path) -> None:
    found = run(path, {"1": ("thing3", {"m3@x": 1}), "2": ("thing4", {"m5@x": 1}), "3": ("subject6", {"m6@x": 1})})
    assert (found.queries, found.answered, found.messages, found.absent) == (3, 3, COUNT, 0)
    assert (found.measures.recall_1, found.measures.mrr_10) == (pytest.approx(2 / 3), pytest.approx(2 / 3))
    details = show_run(path, found.id, each_query=True).data
    assert [(answer.query, answer.ranks) for answer in details.queries] == [("2", ()), ("1", (1,)), ("3", (1,))]
    assert show_run(path, found.id).data.queries == ()


def test_documents_are_message_ids_or_ids_of_the_archive(path: Path) -> None:
    assert run(path, {"1": ("thing3", {"4": 1})}).measures.recall_1 == 1
    assert run(path, {"1": ("thing3", {"<m3@x>": 1})}).measures.recall_1 == 1
    with open_archive(path) as archive:
        add(archive, "numbered", "thing99", message_id="7")
    # the number of a document that has its own Message-ID is never that of whatever message stands there
    found = run(path, {"1": ("thing99", {"7": 1}), "2": ("thing3", {"4": 1})})
    assert (found.measures.recall_1, found.absent) == (0.5, 1)


def test_what_is_not_in_the_archive_counts_as_not_found(path: Path) -> None:
    with open_archive(path) as archive:
        archive.execute("UPDATE messages SET deleted_at = 1 WHERE rfc822_message_id = 'm4@x'")
    result = run_set(
        path, judged(path, {"1": ("thing3", {"m3@x": 1, "m4@x": 1, "gone@x": 1, "bad@x": 0})}), modes=("text",)
    )
    found = result.data.runs[0]
    assert found.absent == 2
    assert found.measures.recall_100 == pytest.approx(1 / 3)
    assert found.measures.conversation_recall_5 == pytest.approx(1 / 3)
    assert any("2 documents" in note for note in result.notes)
    with pytest.raises(UsageError, match="nothing that judged judges"):
        run(path, {"1": ("thing3", {"gone@x": 1})})


def test_a_message_may_be_named_in_two_ways(path: Path) -> None:
    assert run(path, {"1": ("thing3", {"m3@x": 1}), "2": ("thing3", {"4": 1})}).measures.recall_1 == 1


def test_where_nothing_can_be_kept_nothing_is_asked(path: Path) -> None:
    Path(f"{path}.eval").mkdir()
    with pytest.raises(OSError, match="directory"):
        run(path, THREE, on_query=lambda *_: pytest.fail("a query was asked"))


def test_of_several_copies_the_first_counts(path: Path) -> None:
    with open_archive(path) as archive:
        add(archive, "thing30", "thing30 thing30", message_id="twice@x")
        add(archive, "thing30", "thing30 once more", message_id="twice@x")
        add(archive, "thing30", "and thing30 somewhere in a longer text", message_id="m30@x")
    found = run(path, {"1": ("thing30", {"twice@x": 1, "m30@x": 1})})
    assert (found.measures.recall_1, found.measures.recall_3, found.measures.ndcg_10) == (0.5, 1, 1)
    assert show_run(path, found.id, each_query=True).data.queries[0].ranks == (1, 2)


def test_a_query_does_not_find_the_message_that_it_is(path: Path) -> None:
    with open_archive(path) as archive:
        add(archive, "Re: subject3", "thing3 was mine", message_id="reply@x", references=("m3@x",))
    text = "thing3 was mine"
    assert run(path, {"reply": (text, {"m3@x": 1})}).measures.recall_1 == 0
    found = run(path, {"<reply@x>": (text, {"m3@x": 1})})
    assert (found.measures.recall_1, found.measures.conversation_recall_5) == (1, 1)


def test_any_message_of_a_conversation_finds_it(path: Path) -> None:
    with open_archive(path) as archive:
        add(archive, "Re: subject3", "gone with the wind", message_id="reply@x", references=("m3@x",))
    found = run(path, {"1": ("wind", {"m3@x": 1})}).measures
    assert (found.recall_100, found.conversation_recall_5) == (0, 1)


@pytest.mark.parametrize("mode", ["vector", "hybrid"])
def test_what_cannot_be_asked_is_no_run(tmp_path: Path, mode: Any) -> None:
    """A hybrid search without embeddings goes by words, and says so; a run would not."""
    path = tmp_path / "a.db"
    with new_archive(path) as archive:
        add(archive, "subject3", "thing3", message_id="m3@x")
    with pytest.raises(NotReadyError):
        run(path, {"1": ("thing3", {"m3@x": 1})}, mode)
    assert all_runs(path).data.runs == ()
    with pytest.raises(UsageError, match="nothing was evaluated"):
        show_run(path, 1)
    assert not Path(f"{path}.eval").exists()
    assert run(path, {"1": ("thing3", {"m3@x": 1})}).measures.recall_1 == 1


def test_a_run_that_is_stopped_keeps_what_was_answered(path: Path) -> None:
    asked: list[int] = []
    result = run_set(
        path,
        judged(path, THREE),
        open_embedder=Models(),
        on_query=lambda done, total, _: asked.append(done) if total == 9 else None,
        should_stop=lambda: len(asked) >= 4,
    )
    assert result.exit_code == 130
    assert [(found.mode, found.answered, found.queries) for found in result.data.runs] == [
        (mode, 2, 3) for mode in MODES
    ]
    whole = run(path, THREE)
    compared = compare_runs(path, result.data.runs[0].id, whole.id)
    assert compared.data.cohorts[0].queries == 2
    assert any("2 queries" in note for note in compared.notes)
    nothing = run_set(path, judged(path, THREE), modes=("text",), should_stop=lambda: True)
    assert (nothing.data.runs, nothing.exit_code) == ((), 130)


def test_a_run_in_which_the_generation_changes_is_not_kept(path: Path) -> None:
    with open_archive(path) as archive:
        fill(archive, "new")

    def switch(done: int, _total: int, _seconds: float) -> None:
        if done == 1:
            with open_archive(path) as archive:
                activate(archive, 2, 0, force=True)

    with pytest.raises(IncompleteError, match="another generation"):
        run(path, THREE, "vector", on_query=switch)
    assert all_runs(path).data.runs == ()


def test_comparison_is_of_one_set(path: Path) -> None:
    run(path, THREE)
    run(path, THREE, "hybrid")
    other = run(path, THREE | {"3": ("words of no message", {"m8@x": 1})})
    assert len(kept(path, "SELECT 1 FROM sets")) == 2
    data = compare_runs(path, 1, 2).data
    assert (data.first.mode, data.second.mode) == ("text", "hybrid")
    everything = data.cohorts[0]
    assert (everything.name, everything.queries) == ("", 3)
    found = everything.differences["recall_100"]
    assert (found.first, found.second) == (data.first.measures.recall_100, data.second.measures.recall_100)
    with pytest.raises(UsageError, match="of another edition"):
        compare_runs(path, 1, other.id)
    with pytest.raises(UsageError, match="no run 99"):
        compare_runs(path, 1, 99)


def test_runs_are_told_apart_by_cohort(path: Path, tmp_path: Path) -> None:
    document = {"_id": "d1", "title": "a boat", "text": "From here the boat\n\nFrom there it is red"}
    queries: Judged = {str(n): (f"thing{n}", {f"m{n}@x": 1}) for n in range(3)}
    folder = judged(path, queries | {name: ("where is the red boat now", {"d1": 1}) for name in ("8", "9")})
    (folder / "corpus.jsonl").write_text(json.dumps(document))
    assert write_corpus(folder, tmp_path / "corpus.mbox").data.documents == 1
    import_mail(path, [tmp_path / "corpus.mbox"])
    found = run_set(path, folder, modes=("text",)).data.runs[0]
    cohorts = {(of.name, of.value): of.queries for of in show_run(path, found.id).data.cohorts}
    assert cohorts == {
        ("length", "1-3 words"): 3,
        ("length", "4-9 words"): 2,
        ("source", str(tmp_path / "corpus.mbox")): 2,
    }
    assert found.measures.recall_1 == 1
    with open_archive_readonly(path) as archive:
        assert archive.scalar("SELECT body_text FROM message_bodies ORDER BY message_id DESC") == document["text"]


def test_the_file_is_its_owners_and_nobody_elses(path: Path) -> None:
    run(path, THREE)
    file = Path(f"{path}.eval")
    assert file.stat().st_mode & 0o777 == 0o600
    db = apsw.Connection(str(file))
    db.execute("CREATE TRIGGER odd AFTER INSERT ON runs BEGIN DELETE FROM sets; END")
    db.close()
    with pytest.raises(DamageError, match="not as this vaultembed makes it"):
        all_runs(path)
    file.write_bytes(b"something else" * 100)
    with pytest.raises(DamageError, match="not as this vaultembed makes it"):
        run(path, THREE)
    assert file.read_bytes() == b"something else" * 100


def test_what_a_person_sees(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        run(path, {"1": ("thing3", {"m3@x": 1}), "2": ("\x1b[31mwhere is thing4 now", {"m5@x": 1})})
    with pytest.raises(typer.Exit):
        evaluating.run_eval(path.with_name("judged"), path, "text", None, "once more", as_json=True)
    assert json.loads(capsys.readouterr().out)["data"]["runs"][0]["setting"] == "once more"
    with pytest.raises(typer.Exit):
        evaluating.run_list(path, as_json=False)
    listed = capsys.readouterr().out
    assert re.search(r"^1  .*judged, text, 2 queries, \d+ ms each\n +R@1 0\.500 ", listed)
    with pytest.raises(typer.Exit):
        evaluating.run_show(1, path, each_query=True, as_json=False)
    shown = capsys.readouterr().out
    assert "2: not found" in shown
    assert "\x1b[31mwhere" not in shown
    with pytest.raises(typer.Exit):
        evaluating.run_compare(1, 2, path, as_json=False)
    assert "R@1       0.500 → 0.500  +0.000" in capsys.readouterr().out
