"""Whatever a person does to an archive and its generations, in whatever order: everything is right after each step."""

from __future__ import annotations

import multiprocessing
import os
import re
import shutil
import tempfile
from collections.abc import Callable
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import apsw
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from tests.kit.archives import add_parsed, check_invariants, new_message
from tests.kit.builds import run, verify
from tests.kit.embedder import WordHashEmbedder
from tests.kit.garble import misread
from tests.kit.query_oracle import Tree, holds, leaves, read_mails, written
from tests.kit.scale import scaled
from tests.kit.truth import check_surfaced
from vaultembed.archive.database import Archive, open_archive, open_archive_readonly
from vaultembed.archive.doctor.fixes import fix_findings
from vaultembed.archive.doctor.inspect import inspect_archive
from vaultembed.archive.generations import transitions
from vaultembed.archive.generations.records import coverage_of, list_generations
from vaultembed.archive.generations.runs import RunCounts
from vaultembed.archive.generations.scopes import EVERYTHING, Scope
from vaultembed.archive.upkeep import pruning
from vaultembed.embeddings import ahead, worker
from vaultembed.embeddings.build import Wanted
from vaultembed.embeddings.worker import Limits
from vaultembed.errors import IncompleteError, ModelError, UsageError, VaultembedError
from vaultembed.failpoints import VARIABLE
from vaultembed.service.deletion import delete_messages, select_messages
from vaultembed.service.repair_runs import undo_repair
from vaultembed.service.repairing import RepairRequest, repair_encoding

pytestmark = pytest.mark.slow

OLD, RECENT = 900_000_000, 1_600_000_000
BETWEEN = 1_200_000_000
LATE_MAIL = Scope(after=BETWEEN - BETWEEN % 86_400)
BAD = "mushroom"
"""A word that breaks the model, unless it is well."""
MODELS = ["one", "two"]

KINDS = st.sampled_from(["plain", "plain", "plain", "long", "blank", "bad"])
PICK = st.integers(0, 40)
POINTS = st.sampled_from(
    [
        "build.after_read",
        "build.after_embedding",
        "build.before_transaction",
        "build.in_transaction",
        "build.before_commit",
        "build.after_transaction",
        "transition.step",
        "transition.restamp",
        "prune.step",
    ]
)

NOT_TAKEN = st.sampled_from(
    [
        "INSERT OR REPLACE INTO messages(id, subject) VALUES (:id, 'other')",
        "REPLACE INTO messages SELECT * FROM messages WHERE id = :id",
        "UPDATE OR REPLACE messages SET id = :id WHERE id = (SELECT id FROM messages WHERE id <> :id)",
        "UPDATE messages SET id = 1000 + id WHERE id = :id",
        "UPDATE messages SET content_rev = content_rev - 1 WHERE id = :id",
        "UPDATE messages SET embed_gen = 999 WHERE id = :id",
        "UPDATE generations SET state = 'active' WHERE (SELECT count(*) FROM generations) > 1",
        "DELETE FROM generations",
    ]
)
"""Refused, where they change anything at all."""
DAMAGE = st.sampled_from(
    [
        "DELETE FROM embed_outcomes WHERE message_id = :id",
        "DELETE FROM embed_outcomes WHERE message_id >= :id",
        "DELETE FROM chunks WHERE message_id = :id",
        "DELETE FROM chunks WHERE message_id = :id AND chunk_index = 0",
        "DELETE FROM vectors WHERE chunk_id IN (SELECT id FROM chunks WHERE message_id = :id)",
        "DELETE FROM message_texts WHERE message_id = :id",
        "DELETE FROM scope_members WHERE message_id = :id",
        "UPDATE embed_outcomes SET content_rev = content_rev - 1 WHERE message_id = :id",
        "UPDATE embed_coverage SET embedded = embedded + 1, live = 0",
        "UPDATE embed_watermark SET watermark_id = 1000",
        "UPDATE messages SET embed_gen = NULL WHERE id = :id",
        "UPDATE live_count SET live = live - 1",
    ]
)
"""Taken, and found and mended: what it hits may be work again, nothing else is lost."""

WORDS = st.one_of(
    st.integers(1, 60).map(lambda n: ("word", f"unique{n}")),
    st.sampled_from([("word", "more"), ("word", BAD), ("phrase", "more words"), ("prefix", "unique1")]),
    st.sampled_from([("before", "2010-01-01"), ("after", "2010-01-01")]),
)
QUERIES = st.one_of(
    WORDS.map(lambda part: ("not", part)),
    st.tuples(st.just("and"), WORDS, WORDS.map(lambda part: ("not", part))),
    st.tuples(st.just("not"), st.tuples(st.just("or"), WORDS, WORDS)),
    st.tuples(st.sampled_from(["and", "or"]), WORDS, WORDS),
)


@dataclass(frozen=True)
class Mail:
    subject: str
    body: str | None
    sent_at: int
    is_deleted: bool = False

    def outcome(self, *, is_well: bool) -> str:
        if not self.subject and not self.body:
            return "blank"
        return "failed" if not is_well and BAD in f"{self.subject} {self.body}" else "embedded"

    def words(self) -> set[str]:
        """Those that no other message has."""
        return set(re.findall(r"unique\d+", f"{self.subject} {self.body}"))


@dataclass
class Gen:
    model: str
    chunk_tokens: int
    scope: Scope
    state: str
    current: dict[int, str]
    """What became of each message, as far as that is of its present text."""
    is_pruned: bool = False
    place: int = 0
    """In the order in which they were retired; 0 where it never was active."""
    vouched: frozenset[tuple[int, bytes]] | None = None
    """Its vectors when it was last verified, or last went out of use."""

    def covers(self, mail: Mail) -> bool:
        return not mail.is_deleted and (self.scope == EVERYTHING or mail.sent_at >= (self.scope.after or 0))


def make_batches_small(patch: pytest.MonkeyPatch) -> None:
    """So that a handful of messages makes several of everything."""
    patch.setattr(worker, "BATCH_MESSAGES", 2)
    patch.setattr(ahead, "LEASE_MESSAGES", 3)
    patch.setattr(transitions, "_RESTAMP_BATCH", 3)
    patch.setattr(pruning, "_BATCH", 3)


def prune_all(archive: Archive) -> None:
    prunable = pruning.find_prunable(archive)
    for generation in (*prunable.generations, *prunable.begun):
        pruning.prune_generation(archive, generation.id)
    pruning.collect_garbage(archive)
    pruning.remove_unused_texts(archive)


def go_back(archive: Archive) -> None:
    transitions.rollback(archive)
    transitions.restamp(archive)


def abandon(archive: Archive) -> None:
    transitions.discard(archive, None)
    transitions.restamp(archive)


KILLED: dict[str, Callable[[Archive], object]] = {
    "build one": lambda archive: run(archive, WordHashEmbedder("one", [BAD]), max_failed=1000),
    "build two": lambda archive: run(archive, WordHashEmbedder("two", [BAD]), max_failed=1000),
    "rollback": go_back,
    "discard": abandon,
    "prune": prune_all,
}


def in_a_process(path: Path, what: str, failpoint: str) -> None:
    """Entry point: does something and is killed on the way, if it comes there."""
    os.environ[VARIABLE] = failpoint
    make_batches_small(pytest.MonkeyPatch())
    try:
        with open_archive(path) as archive:
            archive.load_vec()
            KILLED[what](archive)
    except VaultembedError:
        pass  # a refusal; those are tested by the rules that see them


class Lifecycle(RuleBasedStateMachine):
    """An archive, and in `mails` and `gens` what must be true of it. No precondition asks for a generation: how far a
    killed process came differs from run to run, and which rules may follow must not."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        make_batches_small(self.patch)
        self.folder = Path(tempfile.mkdtemp(prefix="lifecycle"))
        self.stack = ExitStack()
        self.archive = self.stack.enter_context(open_archive(self.folder / "a.db"))
        self.archive.load_vec()
        self.mails: dict[int, Mail] = {}
        self.gens: dict[int, Gen] = {}
        self.retirements = 0
        self.is_dark = False
        """The active one was retired, by force."""
        self.counter = 0
        self.repairs: dict[int, dict[int, tuple[str, str]]] = {}
        """By run: subjects before and after, of each message whose repair stands."""
        self.put_back: set[tuple[int, str]] = set()
        """Subjects whose repair was undone."""

    def teardown(self) -> None:
        self.stack.close()
        self.patch.undo()
        shutil.rmtree(self.folder)

    # Mail

    @initialize()
    def some_mail(self) -> None:
        self.import_mail(["plain", "plain", "long", "plain"], recent=True)

    @rule(kinds=st.lists(KINDS, min_size=1, max_size=4), recent=st.booleans())
    def import_mail(self, kinds: list[str], recent: bool) -> None:
        with self.archive.transaction():
            for kind in kinds:
                subject, body = self._text(kind), self._text(kind)
                sent_at = RECENT if recent else OLD
                new = new_message(subject, body, message_id=str(self._next()), sent_at=sent_at)
                self.mails[add_parsed(self.archive, new)] = Mail(subject, body, sent_at)
        self.check()

    @precondition(lambda self: self.mails)
    @rule(pick=PICK, kind=KINDS, what=st.sampled_from(["subject", "body", "body", "no body"]))
    def edit(self, pick: int, kind: str, what: str) -> None:
        message_id = self._pick(pick)
        text = self._text(kind)
        mail = self.mails[message_id]
        if what == "subject":
            changed = replace(mail, subject=text)
            self.archive.db.execute("UPDATE messages SET subject = ? WHERE id = ?", (text, message_id))
        elif what == "body":
            changed = replace(mail, body=text)
            self.archive.db.execute(
                "INSERT INTO message_bodies VALUES (?, ?) ON CONFLICT DO UPDATE SET body_text = excluded.body_text",
                (message_id, text),
            )
        else:
            changed = replace(mail, body=None)
            self.archive.db.execute("DELETE FROM message_bodies WHERE message_id = ?", (message_id,))
        self.mails[message_id] = changed
        if changed != mail:
            for gen in self.gens.values():
                gen.current.pop(message_id, None)
        self.check()

    @precondition(lambda self: self.mails)
    @rule(pick=PICK)
    def edit_metadata(self, pick: int) -> None:
        message_id = self._pick(pick)
        before = self.archive.row("SELECT content_rev, embed_gen FROM messages WHERE id = ?", (message_id,))
        mail = self.mails[message_id]
        changed = replace(mail, sent_at=OLD if mail.sent_at == RECENT else RECENT)
        self.archive.db.execute(
            "UPDATE messages SET sent_at = ?, snippet = ?, list_id = 'list' WHERE id = ?",
            (changed.sent_at, str(self._next()), message_id),
        )
        self.mails[message_id] = changed
        after = self.archive.row("SELECT content_rev, embed_gen FROM messages WHERE id = ?", (message_id,))
        assert after == before
        self.check()

    @precondition(lambda self: self.mails)
    @rule(pick=PICK)
    def delete_or_undelete(self, pick: int) -> None:
        message_id = self._pick(pick)
        mail = self.mails[message_id]
        self.archive.db.execute(
            "UPDATE messages SET deleted_at = ? WHERE id = ?", (None if mail.is_deleted else 1, message_id)
        )
        self.mails[message_id] = replace(mail, is_deleted=not mail.is_deleted)
        self.check()

    @precondition(lambda self: len(self.mails) > 3)
    @rule(pick=PICK)
    def delete_for_ever(self, pick: int) -> None:
        message_id = self._pick(pick)
        self.archive.db.execute("DELETE FROM messages WHERE id = ?", (message_id,))
        del self.mails[message_id]
        for gen in self.gens.values():
            gen.current.pop(message_id, None)
        self.check()

    # What a query selects

    @precondition(lambda self: len(self.mails) > 3)
    @rule(tree=QUERIES)
    def delete_by_query(self, tree: Tree) -> None:
        """What it says, by brute force over the rows, and nothing else. What is stale is indexed first."""
        live, deleted = (
            [replace(mail, is_stale=False) for mail in read_mails(self.archive, deleted=state)]
            for state in (False, True)
        )
        meant = {mail.id for mail in live if holds(tree, mail)}
        excluded = leaves(tree) if tree[0] == "not" else leaves(tree[2]) if tree[2][0] == "not" else []
        words = [leaf for leaf in excluded if leaf[0] not in ("before", "after")]
        if not all(any(holds(leaf, mail) for mail in live + deleted) for leaf in words):
            with pytest.raises(UsageError, match="excludes nothing"):
                select_messages(self.archive.path, [written(tree)], as_query=True)
            return
        selection = select_messages(self.archive.path, [written(tree)], as_query=True)
        assert set(selection.ids) == meant
        if 0 < len(meant) <= 2:
            delete_messages(self.archive.path, selection)
            for message_id in meant:
                self.mails[message_id] = replace(self.mails[message_id], is_deleted=True)
        self.check()

    # What somebody writes at the sqlite3 shell, with foreign keys off

    def _at_the_shell(self, statement: str, message_id: int) -> None:
        # of the same library: two of them in a process take each other's locks away
        with closing(apsw.Connection(str(self.archive.path))) as db, db:
            db.execute(statement, {"id": message_id})

    @precondition(lambda self: len(self.mails) > 3)
    @rule(pick=PICK, what=st.sampled_from(["message", "message", "body", "bodies", "insert", "subject"]))
    def write_at_the_shell(self, pick: int, what: str) -> None:
        message_id = self._pick(pick)
        changed = [message_id]
        if what == "message":
            self._at_the_shell("DELETE FROM messages WHERE id = :id", message_id)
            del self.mails[message_id]
        elif what in ("body", "bodies"):
            changed = [message_id] if what == "body" else [i for i in self.mails if i >= message_id]
            self._at_the_shell(
                f"DELETE FROM message_bodies WHERE message_id {'=' if what == 'body' else '>='} :id", message_id
            )
            changed = [i for i in changed if self.mails[i].body is not None]
            for i in changed:
                self.mails[i] = replace(self.mails[i], body=None)
        elif what == "insert":
            subject = self._text("plain")
            self._at_the_shell(f"INSERT INTO messages(subject, sent_at) VALUES ('{subject}', {OLD})", message_id)
            self.mails[self.archive.scalar("SELECT max(id) FROM messages")] = Mail(subject, None, OLD)
            changed = []
        else:
            subject = self._text("plain")
            self._at_the_shell(f"UPDATE messages SET subject = '{subject}' WHERE id = :id", message_id)
            self.mails[message_id] = replace(self.mails[message_id], subject=subject)
        for gen in self.gens.values():
            for i in changed:
                gen.current.pop(i, None)
        self.check()

    @precondition(lambda self: len(self.mails) > 3)
    @rule(pick=PICK, statement=NOT_TAKEN)
    def refuse_at_the_shell(self, pick: int, statement: str) -> None:
        before = self.archive.rows("SELECT * FROM messages"), self.archive.rows("SELECT * FROM generations")
        with suppress(apsw.ConstraintError):
            self._at_the_shell(statement, self._pick(pick))
        assert before == (self.archive.rows("SELECT * FROM messages"), self.archive.rows("SELECT * FROM generations"))
        self.check()

    @precondition(lambda self: self.mails)
    @rule(pick=PICK, statement=DAMAGE)
    def damage_at_the_shell(self, pick: int, statement: str) -> None:
        message_id = self._pick(pick)
        self._at_the_shell(statement, message_id)
        for _ in range(3):  # as the command does
            with open_archive_readonly(self.archive.path) as archive:
                findings = inspect_archive(archive)
            if not any(finding.fix for finding in findings):
                break
            with open_archive(self.archive.path) as archive:
                archive.load_vec_unchecked()
                fix_findings(archive, findings)
        for generation_id, gen in self.gens.items():
            now = {} if gen.is_pruned else self._outcomes(generation_id)
            lost = set(gen.current) - set(now)
            assert now == {i: outcome for i, outcome in gen.current.items() if i not in lost}
            hit = {i for i in self.mails if i == message_id or (">= :id" in statement and i > message_id)}
            gone = {i for i in self.mails if self.mails[i].is_deleted}  # collected by the way
            assert lost <= hit | gone, "more is lost than was hit"
            gen.current = now
        self.check()

    # Repairs

    @precondition(lambda self: self.mails)
    @rule(pick=PICK, times=st.integers(1, 3))
    def garble(self, pick: int, times: int) -> None:
        message_id = self._pick(pick)
        text = f"Größe unique{self._next()} für Äpfel"
        for _ in range(times):
            text = misread(text)
        self.archive.db.execute("UPDATE messages SET subject = ? WHERE id = ?", (text, message_id))
        self._subject_is(message_id, text)
        self.check()

    @rule(limit=st.sampled_from([None, None, 1]))
    def repair(self, limit: int | None) -> None:
        wrong = {
            i: (mail.subject, right)
            for i, mail in self.mails.items()
            if not mail.is_deleted
            and (right := _repaired(mail.subject)) != mail.subject
            and (i, mail.subject) not in self.put_back
        }
        data = repair_encoding(self.archive.path, RepairRequest(limit=limit)).data
        expected = dict(sorted(wrong.items())[:limit])
        assert {line.message_id: (line.before, line.after) for line in data.changes} == expected
        if expected:
            assert data.run is not None
            self.repairs[data.run] = expected
        for message_id, (_, right) in expected.items():
            self._subject_is(message_id, right)
        self.check()

    @rule(pick=PICK)
    def undo(self, pick: int) -> None:
        if not self.repairs:
            return
        run_id = sorted(self.repairs)[pick % len(self.repairs)]
        stands = self.repairs.pop(run_id)
        there = {i: texts for i, texts in stands.items() if i in self.mails}
        same = {i: texts for i, texts in there.items() if self.mails[i].subject == texts[1]}
        data = undo_repair(self.archive.path, run_id).data
        assert (data.undone, data.changed_since) == (len(same), len(there) - len(same))
        if len(same) < len(there):
            self.repairs[run_id] = {i: texts for i, texts in there.items() if i not in same}
        for message_id, (before, _) in same.items():
            self.put_back.add((message_id, before))
            self._subject_is(message_id, before)
        self.check()

    def _subject_is(self, message_id: int, subject: str) -> None:
        changed = replace(self.mails[message_id], subject=subject)
        if changed != self.mails[message_id]:
            for gen in self.gens.values():
                gen.current.pop(message_id, None)
        self.mails[message_id] = changed

    # Builds

    @rule(
        model=st.sampled_from(MODELS),
        stop=st.sampled_from(["", "", "", "limit", "interrupt"]),
        count=st.integers(1, 4),
        is_well=st.sampled_from([False, False, True]),
        retry=st.booleans(),
        hold=st.sampled_from([False, False, False, True]),
        backstop=st.booleans(),
    )
    def build(self, model: str, stop: str, count: int, is_well: bool, retry: bool, hold: bool, backstop: bool) -> None:
        self._build(model, Wanted(model_named=True), stop, count, is_well, retry, hold, backstop)

    @rule(
        model=st.sampled_from(MODELS),
        wanted=st.sampled_from(
            [
                Wanted(model_named=True, new=True),
                Wanted(model_named=True, chunk_tokens=16),
                Wanted(model_named=True, scope=LATE_MAIL),
                Wanted(model_named=True, scope=EVERYTHING),
            ]
        ),
        stop=st.sampled_from(["", "limit", "interrupt"]),
        count=st.integers(1, 4),
    )
    def build_something_else(self, model: str, wanted: Wanted, stop: str, count: int) -> None:
        self._build(model, wanted, stop, count, False, False, False, False)

    def _build(
        self, model: str, wanted: Wanted, stop: str, count: int, is_well: bool, retry: bool, hold: bool, backstop: bool
    ) -> None:
        embedder = WordHashEmbedder(model, refused=[] if is_well else [BAD])
        batches: list[int] = []
        texts: list[str] = []

        def on_batch(counts: RunCounts) -> None:
            batches.append(counts.messages)
            texts[:] = embedder.texts

        def build() -> object:
            return run(
                self.archive,
                embedder,
                wanted=wanted,
                on_batch=on_batch,
                should_stop=lambda: stop == "interrupt" and len(batches) >= count,
                limits=Limits(messages=count if stop == "limit" else None),
                max_failed=1000,
                retry_failed=retry,
                hold=hold,
                backstop=backstop,
            )

        target = self._chosen(model, wanted)
        if target == "refused":
            with pytest.raises(ModelError, match="discard"):
                build()
            self.check()
            return
        if (
            target is None
            and wanted.scope not in (None, EVERYTHING)
            and not any(self._is_in(wanted.scope, i) for i in self.mails)
        ):
            with pytest.raises(UsageError, match="no message in the scope"):
                build()
            self.check()
            return
        former = {i: dict(gen.current) for i, gen in self.gens.items()}
        built = build()
        assert built.generation.id == target or target is None  # type: ignore[attr-defined]
        target = built.generation.id  # type: ignore[attr-defined]
        if target not in self.gens:
            assert target == max(self.gens, default=0) + 1
            scope = wanted.scope or EVERYTHING
            self.gens[target] = Gen(model, wanted.chunk_tokens or 128, scope, "building", {})
        gen = self.gens[target]
        if gen.state == "retired":
            gen.state = "building"
        known = former.get(target, {})
        in_scope = {i for i, mail in self.mails.items() if gen.covers(mail)}
        work = {i for i in in_scope if i not in known or (retry and known[i] == "failed")}
        done = built.run.messages  # type: ignore[attr-defined]
        assert built.run.recovered == 0, "something was lost below a watermark"  # type: ignore[attr-defined]
        embedded_again = {i for i in self.mails if known.get(i) == "embedded" and self.mails[i].words() & _words(texts)}
        assert embedded_again == set(), "embedded again although current"
        gen.current = self._outcomes(target)
        for message_id, outcome in known.items():
            if message_id not in work:
                assert gen.current.get(message_id) == outcome, "an outcome that was current is gone"
        new = {i for i in gen.current if i not in known or i in work}
        assert new <= work | set(known), "what was not to be embedded was"
        if stop == "limit":
            assert done <= count
            assert done == min(count, len(work)), "a build with a limit stopped before it"
        elif not stop:
            assert done == len(work), "not exactly the work was done"
            assert in_scope <= set(gen.current), "a complete build left something out"
        for message_id in new:
            expected = self.mails[message_id].outcome(is_well=is_well)
            if message_id in work and (stop == "" or message_id not in known):
                assert gen.current[message_id] == expected or self._was_given_up(target, message_id)
        if not hold and gen.state == "building" and in_scope and in_scope <= set(gen.current):
            assert built.activated  # type: ignore[attr-defined]
            gen.vouched = self._vectors(target)
            self._activated(target)
        else:
            assert not built.activated  # type: ignore[attr-defined]
        self.check()

    def _is_in(self, scope: Scope, message_id: int) -> bool:
        return Gen("", 0, scope, "building", {}).covers(self.mails[message_id])

    def _chosen(self, model: str, wanted: Wanted) -> int | str | None:
        """The generation that a build must choose; None is a new one."""
        present_id = self._in_state("building") or self._in_state("active")
        if present_id is not None:
            present = self.gens[present_id]
            if (
                not wanted.new
                and present.model == model
                and wanted.chunk_tokens in (None, present.chunk_tokens)
                and wanted.scope in (None, present.scope)
            ):
                return present_id
            if present.state == "building":
                return "refused"
        if not wanted.new:
            for former in sorted(self.gens, reverse=True):
                gen = self.gens[former]
                key = (model, wanted.chunk_tokens or 128, wanted.scope or EVERYTHING)
                if gen.state == "retired" and not gen.is_pruned and (gen.model, gen.chunk_tokens, gen.scope) == key:
                    return former
        return None

    @rule(what=st.sampled_from([*KILLED, "build one", "build two"]), point=POINTS, count=st.integers(1, 5))
    def kill(self, what: str, point: str, count: int) -> None:
        """A real process, and SIGKILL: its leases stay behind. It may also come to its end, or be refused."""
        context = multiprocessing.get_context("forkserver")
        process = context.Process(target=in_a_process, args=(self.archive.path, what, f"{point}:{count}"))
        process.start()
        process.join()
        assert process.exitcode in (0, -9), process.exitcode
        self._accept_what_is_there()
        self.check()

    def _accept_what_is_there(self) -> None:
        """After something that may have come anywhere: nothing is gone that was current, unless it was deleted; nothing
        has become what it could not."""
        active = self._in_state("active")
        for generation in list_generations(self.archive):
            gen = self.gens.get(generation.id)
            if gen is None:
                tokens = int(re.findall(r":t(\d+)", generation.recipe)[0])
                gen = Gen(generation.model.name, tokens, EVERYTHING, "building", {})
                self.gens[generation.id] = gen
            if generation.pruned_at is not None:
                assert gen.is_pruned or gen.state in ("retired", "discarded") or generation.state == "discarded"
                gen.is_pruned, gen.current = True, {}
            else:
                now = self._outcomes(generation.id)
                for message_id, outcome in gen.current.items():
                    if message_id not in now:
                        assert self.mails[message_id].is_deleted, "an outcome that was current is gone"
                    elif outcome != "failed":
                        assert now[message_id] == outcome
                gen.current = now
            if generation.is_vouched_for:
                gen.vouched = self._vectors(generation.id)
            gen.state = generation.state
        now_active = self._in_state("active")
        if now_active is not None:
            self.is_dark = False
        if active is not None and self.gens[active].state == "retired":
            self._retire(active)

    # Changes of mind

    @rule(pick=PICK, force=st.booleans())
    def activate(self, pick: int, force: bool) -> None:
        if not self.gens:
            return
        generation_id = sorted(self.gens)[pick % len(self.gens)]
        gen = self.gens[generation_id]
        if gen.state == "active":
            assert not transitions.activate(self.archive, generation_id, 1000, force=force)
            return
        in_scope = {i for i, mail in self.mails.items() if gen.covers(mail)}
        is_empty = not in_scope & set(gen.current)
        is_complete = in_scope <= set(gen.current) and self._is_vouched_for(generation_id)
        if gen.state == "discarded" or gen.is_pruned or is_empty or not (is_complete or force):
            with pytest.raises(VaultembedError):
                transitions.activate(self.archive, generation_id, 1000, force=force)
        else:
            assert transitions.activate(self.archive, generation_id, 1000, force=force)
            self._activated(generation_id)
        self.check()

    @rule(finish=st.booleans())
    def rollback(self, finish: bool) -> None:
        former = sorted(
            (i for i, gen in self.gens.items() if gen.state == "retired" and gen.place and not gen.is_pruned),
            key=lambda i: self.gens[i].place,
        )
        if not former:
            with pytest.raises(VaultembedError, match="no earlier generation"):
                transitions.rollback(self.archive)
        elif not self._is_vouched_for(former[-1]):
            with pytest.raises(IncompleteError, match="has not passed verification"):
                transitions.rollback(self.archive)
        else:
            assert transitions.rollback(self.archive).id == former[-1], "not the one before"
            self._activated(former[-1])
        if finish:
            transitions.restamp(self.archive)
        self.check()

    @rule(pick=PICK)
    def verify(self, pick: int) -> None:
        if not self.gens:
            return
        generation_id = sorted(self.gens)[pick % len(self.gens)]
        gen = self.gens[generation_id]
        if not gen.is_pruned:
            try:
                verify(self.archive, generation_id, WordHashEmbedder(gen.model, refused=[BAD]))
                gen.vouched = self._vectors(generation_id)
            except IncompleteError:  # it vouches for nothing then; what was verified before stays so
                assert not self._can_be_compared(generation_id)
        self.check()

    def _can_be_compared(self, generation_id: int) -> bool:
        """Whether there is a vector of a text that is still kept, and not refused."""
        texts = self.archive.rows(
            "SELECT substr(t.text, c.char_start + 1, c.char_end - c.char_start) FROM chunks c"
            " JOIN messages m ON m.id = c.message_id AND m.deleted_at IS NULL"
            " JOIN embed_outcomes o ON o.generation_id = c.generation_id AND o.message_id = m.id"
            " AND o.content_rev = m.content_rev JOIN message_texts t ON t.message_id = m.id"
            " JOIN vectors v ON v.chunk_id = c.id WHERE c.generation_id = ?",
            (generation_id,),
        )
        return any(BAD not in text for (text,) in texts)

    def _vectors(self, generation_id: int) -> frozenset[tuple[int, bytes]]:
        query = "SELECT c.id, v.embedding FROM chunks c JOIN vectors v ON v.chunk_id = c.id WHERE c.generation_id = ?"
        return frozenset(self.archive.rows(query, (generation_id,)))

    def _is_vouched_for(self, generation_id: int) -> bool:
        """Whether each vector is one that was verified, or was in use."""
        vouched = self.gens[generation_id].vouched
        return vouched is not None and self._vectors(generation_id) <= vouched

    @rule(really=st.sampled_from([False, False, True]))
    def retire(self, really: bool) -> None:
        active = self._in_state("active")
        if active is None:
            return
        if really:
            assert transitions.retire(self.archive, active, force=True)
            self._retire(active)
            self.is_dark = True
        else:
            with pytest.raises(VaultembedError, match="search by meaning uses"):
                transitions.retire(self.archive, active)
        self.check()

    @rule(finish=st.booleans())
    def discard(self, finish: bool) -> None:
        building = self._in_state("building")
        if building is None:
            with pytest.raises(VaultembedError, match="no generation is being built"):
                transitions.discard(self.archive, None)
        else:
            assert transitions.discard(self.archive, None).id == building
            # one that was in use once and was only being completed can still be gone back to
            self.gens[building].state = "retired" if self.gens[building].place else "discarded"
        if finish:
            transitions.restamp(self.archive)
        self.check()

    @rule()
    def prune(self) -> None:
        prune_all(self.archive)
        for gen in self.gens.values():
            if gen.state in ("retired", "discarded"):
                gen.is_pruned, gen.current = True, {}
        self._forget_deleted()
        assert self.archive.scalar("SELECT count(*) FROM vec_orphans") == 0
        self.check()

    @rule()
    def collect(self) -> None:
        pruning.collect_garbage(self.archive)
        self._forget_deleted()
        assert self.archive.scalar("SELECT count(*) FROM vec_orphans") == 0
        self.check()

    def _forget_deleted(self) -> None:
        for gen in self.gens.values():
            gen.current = {i: outcome for i, outcome in gen.current.items() if not self.mails[i].is_deleted}

    # What must be true

    def check(self) -> None:
        check_invariants(self.archive.path)
        # On a connection of its own, as the command has: one that was open while another wrote remembers an older
        # structure of the text index, and `integrity_check` then misses blobs of it that are gone, until it searches.
        with open_archive_readonly(self.archive.path) as archive:
            wrong = [finding for finding in inspect_archive(archive) if finding.severity != "leftover"]
        assert wrong == [], "doctor finds what the test's own recount does not"
        states = {g.id: g.state for g in list_generations(self.archive)}
        assert states == {i: gen.state for i, gen in self.gens.items()}
        actives = [i for i, state in states.items() if state == "active"]
        was_active = any(g.activated_at for g in list_generations(self.archive))
        assert len(actives) == int(was_active and not self.is_dark), "not exactly one active generation"
        live = {i for i, mail in self.mails.items() if not mail.is_deleted}
        for generation_id, gen in self.gens.items():
            if gen.is_pruned:
                continue
            assert self._outcomes(generation_id) == gen.current
            in_scope = {i for i, mail in self.mails.items() if gen.covers(mail)}
            coverage = coverage_of(self.archive, generation_id)
            counted = [sum(gen.current.get(i) == what for i in in_scope) for what in ("embedded", "blank", "failed")]
            assert (coverage.live, coverage.embedded, coverage.blank, coverage.failed) == (len(in_scope), *counted)
            assert coverage.missing == len(in_scope - set(gen.current))
            if gen.state in ("active", "building"):
                expected = {i for i, outcome in gen.current.items() if outcome == "embedded" and i in live}
                assert check_surfaced(self.archive, generation_id) == expected

    def _outcomes(self, generation_id: int) -> dict[int, str]:
        """The current ones, also of deleted messages."""
        return dict(
            self.archive.rows(
                "SELECT o.message_id, o.outcome FROM embed_outcomes o JOIN messages m ON m.id = o.message_id"
                " AND m.content_rev = o.content_rev WHERE o.generation_id = ?",
                (generation_id,),
            )
        )

    def _was_given_up(self, generation_id: int, message_id: int) -> bool:
        """Several kills in a row hit the processes that were at it: it cannot be told from one that kills."""
        reason = self.archive.scalar(
            "SELECT reason FROM embed_outcomes WHERE generation_id = ? AND message_id = ?", (generation_id, message_id)
        )
        return "processes died" in (reason or "")

    def _activated(self, generation_id: int) -> None:
        active = self._in_state("active")
        if active is not None:
            self._retire(active)
        self.gens[generation_id].state = "active"
        self.is_dark = False

    def _retire(self, generation_id: int) -> None:
        self.retirements += 1
        gen = self.gens[generation_id]
        gen.state, gen.place, gen.vouched = "retired", self.retirements, self._vectors(generation_id)

    def _in_state(self, state: str) -> int | None:
        return next((i for i, gen in self.gens.items() if gen.state == state), None)

    def _pick(self, pick: int) -> int:
        return sorted(self.mails)[pick % len(self.mails)]

    def _next(self) -> int:
        self.counter += 1
        return self.counter

    def _text(self, kind: str) -> str:
        if kind == "blank":
            return ""
        words = [f"unique{self._next()}", *([BAD] if kind == "bad" else [])]
        if kind == "long":  # several chunks, where those are of 16 tokens
            words += [f"unique{self._next()} more words" for _ in range(8)]
        return " ".join(words)


def _repaired(subject: str) -> str:
    """A subject as `garble` made it, made right; any other as it is."""
    if "unique" not in subject or subject.isascii():
        return subject
    return f"Größe {re.findall('unique[0-9]+', subject)[0]} für Äpfel"


def _words(texts: list[str]) -> set[str]:
    return {word for text in texts for word in re.findall(r"unique\d+", text)}


Lifecycle.TestCase.settings = settings(
    max_examples=scaled(12),
    stateful_step_count=25,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
TestLifecycle = pytest.mark.timeout(1_500)(Lifecycle.TestCase)  # each step waits for the disk, which may be slow
