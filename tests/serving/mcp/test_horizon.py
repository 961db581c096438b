"""`mcp --only`: an assistant's archive is told from one that really holds no other message by nothing but its ids."""

from __future__ import annotations

import json
import random
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp.server.mcpserver.exceptions import ResourceError
from pydantic import TypeAdapter

from tests.kit.archives import ADA, add, new_archive
from tests.kit.assistant import RefusedError, assistant
from tests.kit.builds import fill, run
from tests.kit.embedder import WordHashEmbedder
from tests.kit.mail import mbox
from tests.kit.plans import executed_on
from tests.kit.processes import vaultembed
from vaultembed.archive.database import Within, open_archive, open_archive_readonly
from vaultembed.archive.filters import Filter
from vaultembed.archive.generations.records import list_generations
from vaultembed.archive.mail.deletion import delete_softly
from vaultembed.archive.mail.grouping import count_groups
from vaultembed.archive.mail.lexical import rank_by_words, weigh
from vaultembed.archive.mail.listing import count_conversation, list_positions
from vaultembed.archive.mail.reading import read_summary
from vaultembed.archive.mail.statistics import count_archive
from vaultembed.archive.vectors.coarse_in_memory import KeptBits
from vaultembed.archive.vectors.nearest import nearest_messages
from vaultembed.embeddings.build import Wanted
from vaultembed.errors import VaultembedError
from vaultembed.message import Recipient
from vaultembed.service.importing import import_mail
from vaultembed.service.keeping import only_matching
from vaultembed.serving.mcp.server import make_server
from vaultembed.serving.mcp.tools import Tools, make_tools
from vaultembed.serving.model_pool import KeptEmbedders
from vaultembed.serving.time_limited import Calls

WORDS = ["boiler", "kitchen", "zoo", "penguin", "invoice", "roof", "leak", "train", "harbour", "piano", "sugar"]
PEOPLE = ["Ada <ada@example.org>", "Ben <ben@example.net>", "Cleo Müller <cleo@example.com>"]


@dataclass(frozen=True)
class Sent:
    number: int
    box: str
    sender: str
    to: str
    label: str
    year: int
    thread: int
    body: str
    attached: bool
    deleted: bool
    late: bool
    """Comes after the build."""

    @property
    def subject(self) -> str:
        return f"topic{self.thread} number{self.number}"

    def bytes(self) -> bytes:
        message = EmailMessage()
        message["From"], message["To"], message["Subject"] = self.sender, self.to, self.subject
        message["Date"] = datetime(self.year, 1 + self.number % 12, 3, 10, tzinfo=UTC)
        message["Message-ID"] = f"<n{self.number}@example.org>"
        message["References"] = f"<thread{self.thread}@example.org>"
        message["X-Gmail-Labels"] = self.label
        message.set_content(self.body)
        if self.attached:
            message.add_attachment(b"x" * self.number, "application", "pdf", filename=f"{self.label}{self.number}.pdf")
            message.set_boundary("part")
        return message.as_bytes()


def letters() -> list[Sent]:
    chance = random.Random(4)
    return [
        Sent(
            number=number,
            box=chance.choice(["home", "work"]),
            sender=chance.choice(PEOPLE),
            to=f"friend{chance.randrange(6)}@example.org",
            label=chance.choice(["play", "duty"]),
            year=chance.choice([2001, 2004, 2007]),
            thread=number % 9,
            body=" ".join(chance.choices(WORDS, k=20)) + f" only{number % 7}",
            attached=chance.random() < 0.3,
            deleted=chance.random() < 0.1,
            late=chance.random() < 0.15,
        )
        for number in range(1, 61)
    ]


LETTERS = letters()
HORIZONS: dict[str, Callable[[Sent], bool]] = {
    "label:play": lambda sent: sent.label == "play",
    "source:work": lambda sent: sent.box == "work",
    "from:muller OR has:attachment": lambda sent: "Cleo" in sent.sender or sent.attached,
    "piano after:2004": lambda sent: "piano" in sent.body.split() and sent.year >= 2004,
    '"only3" -from:ada': lambda sent: "only3" in sent.body and "Ada" not in sent.sender,
    "subject:topic2 label:duty": lambda sent: sent.thread == 2 and sent.label == "duty",
    "in:anywhere": lambda _: True,
}


def written(folder: Path, which: Callable[[Sent], bool]) -> Path:
    """An archive of these; some deleted, some not embedded."""
    archive = folder / "a.db"
    for late in (False, True):
        for box in ("home", "work"):
            some = [sent for sent in LETTERS if which(sent) and sent.box == box and (late or not sent.late)]
            if some:
                mbox(folder / "mail" / box, [sent.bytes() for sent in some])
        with open_archive(archive) as opened:
            pass
        if (folder / "mail").exists():
            import_mail(archive, sorted((folder / "mail").iterdir()))
        with open_archive(archive) as opened:
            opened.load_vec()
            if not late:
                run(opened)
            gone = [f"n{sent.number}@example.org" for sent in LETTERS if sent.deleted]
            named = opened.rows("SELECT id, rfc822_message_id FROM messages")
            delete_softly(opened, [number for number, name in named if name in gone])
    return archive


class Seen:
    """What an assistant is told, with names in the place of ids."""

    def __init__(self, where: Path | Within) -> None:
        self.embedders = KeptEmbedders(lambda _: WordHashEmbedder())
        calls = Calls(1)
        self.tools = {tool.name: tool for tool in make_tools(Tools(where, self.embedders), calls, calls)}
        self.server = make_server(where, self.embedders)
        self.where = where
        self.path = where.path if isinstance(where, Within) else where
        with open_archive(self.path) as archive:
            self.ids = {name: number for number, name in archive.rows("SELECT id, subject FROM messages")}
            self.threads = {
                name.split()[0]: number
                for number, name in archive.rows("SELECT conversation_id, subject FROM messages")
            }

    def call(self, tool: str, **arguments: Any) -> Any:
        given = self.tools[tool].fn_metadata.arg_model.model_validate(arguments)
        answer = TypeAdapter(Any).dump_python(self.tools[tool].fn(given), mode="json")
        return self.named(json.loads(json.dumps(answer)))

    def answer(self, tool: str, **arguments: Any) -> Any:
        """Or what is said instead, without numbers."""
        try:
            return self.call(tool, **arguments)
        except VaultembedError as error:
            return re.sub(r"\d+", "N", f"{error.code}: {error.message}. {error.hint}")

    def read(self, uri: str) -> str:
        async def read() -> str:
            try:
                (content,) = await self.server.read_resource(uri)  # type: ignore[misc]
            except ResourceError as error:
                return re.sub(r"\d+", "N", str(error))
            return str(content.content)

        return re.sub(r"Message \d+\n|untrusted_mail_\w+", "", anyio.run(read))

    def named(self, value: Any) -> Any:
        subjects = {number: name for name, number in self.ids.items()}
        threads = {number: name for name, number in self.threads.items()}
        if isinstance(value, list):
            return [self.named(one) for one in value]
        if isinstance(value, str):
            return re.sub(r"untrusted_mail_\w+|@\d+$", "", value.replace(str(self.path.parent), ""))
        if not isinstance(value, dict):
            return value
        found = {key: self.named(one) for key, one in value.items() if key not in DIFFERING}
        if "subject" in found and "id" in found:
            found["id"] = subjects[found["id"]]
        if found.get("thread_id") is not None:
            found["thread_id"] = threads[found["thread_id"]]
        return found


DIFFERING = {
    "chunk_id": "an id",
    "next_cursor": "has a position, which may be an id",
    "text_score": "bm25 weighs a word by all of the archive, as docs/security.md says",
    "text_rank": "of that",
    "score": "of that",
    "added_at": "a time",
    "last_import_at": "a time",
    "activated_at": "a time",
    "started_at": "a time",
    "last_backstop_at": "a time",
    "last_build": "null within a horizon",
    "file_bytes": "null within a horizon",
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("whole"), lambda _: True)


def live(folder: Path, which: Callable[[Sent], bool]) -> Path:
    return written(folder, lambda sent: which(sent) and not sent.deleted)


QUICK = ("label:play", "from:muller OR has:attachment", "subject:topic2 label:duty")


@pytest.fixture(
    scope="module",
    params=[pytest.param(only, marks=[] if only in QUICK else pytest.mark.slow) for only in HORIZONS],
)
def both(request: pytest.FixtureRequest, whole: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Seen, Seen]:
    """All of the archive within a horizon, and an archive of what is in it."""
    alone = live(tmp_path_factory.mktemp("alone"), HORIZONS[request.param])
    return Seen(only_matching(whole, request.param)), Seen(alone)


FILTERS: list[dict[str, Any]] = [
    {},
    {"sender": "ada"},
    {"label": "duty"},
    {"after": "2004", "before": "2007"},
    {"has_attachment": True},
    {"recipient": "friend1"},
    {"source": "home"},
]
QUESTIONS: dict[str, list[dict[str, Any]]] = {
    "search_messages": [
        {"query": query, "mode": mode, "limit": 50, "explain": True, **filters}
        for query in ("leak boiler", "only5", "piano -sugar", "from:ben")
        for mode in ("hybrid", "text", "vector")
        for filters in FILTERS[:2]
    ],
    "find_similar_messages": [{"limit": 50, "explain": True}, {"sender": "ben", "limit": 3}],
    "get_message": [{}],
    "get_thread": [{"limit": 50}, {"limit": 2}],
    "list_messages": [
        {"limit": 50, "order": order, **filters} for order in ("newest", "oldest") for filters in FILTERS
    ],
    "aggregate": [
        {"by": by, "limit": 50, **filters}
        for by in ("sender", "domain", "recipient", "year", "month", "label", "source", "type")
        for filters in FILTERS[1:3]
    ],
    "get_stats": [{}],
}


def test_every_tool_and_resource_is_asked_here(both: tuple[Seen, Seen]) -> None:
    within, _ = both
    assert set(QUESTIONS) == set(within.tools)
    templates = anyio.run(within.server.list_resource_templates)
    assert {template.uri_template for template in templates} == {"message://{id}", "thread://{id}"}
    assert anyio.run(within.server.list_resources) == []


def test_nothing_tells_it_from_an_archive_without_the_others(both: tuple[Seen, Seen]) -> None:
    within, alone = both
    for tool in ("search_messages", "list_messages", "aggregate", "get_stats"):
        for question in QUESTIONS[tool]:
            found, wanted = (in_order(seen.call(tool, **question), question) for seen in both)
            assert found == wanted, (tool, question)
    stats = within.tools["get_stats"].fn(within.tools["get_stats"].fn_metadata.arg_model())
    assert stats.totals.file_bytes is None
    assert stats.vector_search.active_generation is None or stats.vector_search.active_generation.last_build is None
    for name in list(alone.ids)[:10]:
        for tool in ("get_message", "find_similar_messages", "get_thread"):
            for question in QUESTIONS[tool]:
                found, wanted = (seen.answer(tool, message_id=seen.ids[name], **question) for seen in both)
                assert found == wanted, (tool, name)
        found, wanted = (seen.read(f"message://{seen.ids[name]}") for seen in both)
        assert found == wanted
    for thread in alone.threads:
        found, wanted = (seen.read(f"thread://{seen.threads[thread]}") for seen in both)
        assert found == wanted


def in_order(answer: Any, question: Mapping[str, Any]) -> Any:
    """By words, rank depends on the weights of all of the archive."""
    if question.get("mode") in ("hybrid", "text"):
        answer["results"].sort(key=lambda result: result["id"])
    return answer


def test_a_message_outside_is_none_that_there_is(both: tuple[Seen, Seen]) -> None:
    within, alone = both
    never = 2**40
    outside = [within.ids[name] for name in set(within.ids) - set(alone.ids)]
    threads = [within.threads[name] for name in set(within.threads) - set(alone.threads)]
    for number in outside[:10]:
        for tool in ("get_message", "find_similar_messages", "get_thread"):
            said = within.answer(tool, message_id=number)
            assert said == within.answer(tool, message_id=never)
            assert "there is no message N" in said
        assert within.read(f"message://{number}") == within.read(f"message://{never}")
    for number in threads:
        assert within.answer("get_thread", thread_id=number) == within.answer("get_thread", thread_id=never)
        assert within.read(f"thread://{number}") == within.read(f"thread://{never}")


def test_pages_within_a_horizon_come_to_its_end(both: tuple[Seen, Seen]) -> None:
    within, alone = both
    for tool, key in (("list_messages", "messages"), ("aggregate", "groups")):
        more = {"by": "recipient"} if tool == "aggregate" else {}
        cursor, found = "", []
        arguments = within.tools[tool].fn_metadata.arg_model
        while cursor is not None:
            answer = within.tools[tool].fn(arguments.model_validate({"limit": 3, "cursor": cursor, **more}))
            found += getattr(answer, key)
            cursor = answer.next_cursor
        if tool == "aggregate":
            assert len(found) == len(alone.call(tool, limit=50, **more)[key])
        else:
            assert len({message.id for message in found}) == len(found) == len(alone.ids)


def test_a_generation_that_is_being_built_answers_within_a_horizon(whole: Path, tmp_path: Path) -> None:
    """Both generations answer; numbers and results are those of an archive without the others."""
    horizon = "label:duty"
    copies = []
    for name, archive in (("whole", whole), ("alone", live(tmp_path / "a", lambda sent: sent.label == "duty"))):
        copy = tmp_path / name / "a.db"
        copy.parent.mkdir()
        assert vaultembed("backup", copy, archive=archive).returncode == 0
        with open_archive(copy) as opened:
            late = opened.rows("SELECT id FROM messages WHERE embed_gen IS NULL AND deleted_at IS NULL")
            run(opened, WordHashEmbedder("other", refused=["only2"]), wanted=Wanted(model_named=True), hold=True)
            assert late
        copies.append(copy)
    within, alone = Seen(only_matching(copies[0], horizon)), Seen(copies[1])
    for question in ({"query": "piano leak", "mode": "vector", "limit": 50}, {"query": "only4 roof", "limit": 50}):
        answers = [seen.call("search_messages", **question) for seen in (within, alone)]
        for answer in answers:
            answer["results"].sort(key=lambda result: result["id"])
        assert answers[0] == answers[1]
    for part, found in within.call("get_stats")["vector_search"].items():
        assert found == alone.call("get_stats")["vector_search"][part]


def test_within_an_empty_horizon_nothing_is_there(whole: Path) -> None:
    within = Seen(only_matching(whole, "from:nobody"))
    stats = within.call("get_stats")
    counts = {name: count for name, count in stats["totals"].items() if count}
    assert (counts, stats["sources"], stats["types"]) == ({}, [], [])
    vectors = stats["vector_search"]
    assert vectors["missing_embeddings_total"] == 0
    assert vectors["active_generation"]["live"] == vectors["active_generation"]["message_count"] == 0
    for question in QUESTIONS["search_messages"]:
        found = within.call("search_messages", **question)
        assert (found["results"], found["not_covered"] or 0) == ([], 0)
    for question in QUESTIONS["aggregate"]:
        assert (found := within.call("aggregate", **question))["messages"] == len(found["groups"]) == 0


def test_within_a_horizon_what_is_looked_up_by_key_still_is(whole: Path) -> None:
    """A list of ids that SQLite takes for short made it ask the text index once for each: 24 s for 100,000 messages."""
    with open_archive_readonly(only_matching(whole, "label:play")) as archive, executed_on(archive.db) as found:
        assert not weigh(archive, {'"topic1"': "topic1", '"boiler"': "boiler"}).unknown
        read_summary(archive, 1)
        list_positions(archive, Filter(), "newest", None, 3)
        rank_by_words(archive, '"boiler"', 3, Filter())
        count_conversation(archive, 1)
    counted = "messages USING COVERING INDEX messages_by_sender"  # all of them, once
    assert {scan.removeprefix("main.") for one in found for scan in one.scans} <= {counted}


def test_who_wrote_most_of_what_lies_outside_costs_nothing_within(tmp_path: Path) -> None:
    """Each of his messages was looked at once for each message within: with 200,000 of them that took 15 s."""
    with new_archive(tmp_path / "a.db") as archive:
        fill(archive, 1_000)
        for number in range(50):
            add(archive, "within", str(number), recipients=(Recipient("to", ADA),))
    steps = []
    for where in (tmp_path / "a.db", only_matching(tmp_path / "a.db", "subject:within")):
        with open_archive_readonly(where) as archive:
            ticks: list[None] = []
            archive.db.set_progress_handler(lambda seen=ticks: seen.append(None) is not None, 100)
            (group,) = count_groups(archive, "sender", Filter(), 0, 10)
            count_groups(archive, "recipient", Filter(), 0, 10)
            assert count_archive(archive).people == 1
            steps.append(len(ticks))
    assert group.messages == 50
    assert steps[1] < 2 * steps[0]


def test_what_changes_meanwhile_changes_nothing_within(tmp_path: Path) -> None:
    with new_archive(tmp_path / "a.db") as archive:
        ids = fill(archive, 3)
        with open_archive_readonly(only_matching(tmp_path / "a.db", "subject:subject")) as within:
            delete_softly(archive, ids[:1])
            archive.execute("UPDATE messages SET subject = 'outside' WHERE id = ?", (ids[1],))
            with within.snapshot():
                assert (count_archive(within).messages, count_archive(within).deleted) == (3, 0)
                assert (found := read_summary(within, ids[1])) is not None
                assert found.subject == "subject 1"


def test_the_coarse_index_knows_of_no_horizon_and_is_asked_for_enough(both: tuple[Seen, Seen]) -> None:
    within, alone = both
    outside = set(within.ids.values()) - {within.ids[name] for name in alone.ids}
    with open_archive_readonly(within.where) as archive, archive.snapshot():
        archive.load_vec()
        (generation,) = list_generations(archive)
        for text in ("boiler zoo", "piano", "leak roof harbour"):
            vector = WordHashEmbedder().embed([text]).vectors[0]
            exact = nearest_messages(archive, generation, vector, 60, Filter())
            found = nearest_messages(archive, generation, vector, 5, Filter(), kept=KeptBits(candidates=4))
            assert len(found) == min(5, len(exact))
            assert {hit.message_id for hit in found} <= {hit.message_id for hit in exact}
            assert not {hit.message_id for hit in exact} & outside


def test_relative_dates_are_read_at_each_call(whole: Path) -> None:
    within = only_matching(whole, "newer_than:1d")
    before = within.only()
    time.sleep(1.1)
    after = within.only()
    assert before.sql == after.sql
    assert before.bindings < after.bindings


@pytest.mark.parametrize(
    ("only", "said"),
    [("from:", "^"), ("labl:work", "label:"), ("(a", "^"), ("", "--only"), ("\u200b", "--only"), ("after:soon", "^")],
)
@pytest.mark.parametrize("more", [(), ("--install", "cursor")])
def test_a_query_that_cannot_be_read_opens_nothing(whole: Path, only: str, said: str, more: tuple[str, ...]) -> None:
    done = vaultembed("mcp", "--only", only, *more, archive=whole)
    assert (done.returncode, said in done.stderr, done.stdout) == (2, True, ""), done.stderr


def test_a_client_is_told_of_the_horizon_and_kept_within_it(whole: Path) -> None:
    done = vaultembed("mcp", "--install", "cursor", "--only", "-label:play", archive=whole)
    entry = json.loads(done.stdout[done.stdout.index("{") : done.stdout.rindex("}") + 1])
    assert entry["mcpServers"]["vaultembed"]["args"][-1] == "--only=-label:play"
    live = [sent for sent in LETTERS if not sent.deleted]
    inside = [sent for sent in live if sent.label != "play"]
    assert f"It opens {len(inside)} of {len(live)} messages" in done.stderr
    assert "excludes nothing" not in done.stderr
    misspelt = vaultembed("mcp", "--install", "cursor", "--only", "-label:plya", archive=whole)
    assert "no message has label:plya, so this excludes nothing" in misspelt.stderr
    with assistant(whole, entry["mcpServers"]["vaultembed"]["args"][-1]) as helper:
        labels = helper.call("aggregate", by="label")
        assert [group["key"] for group in labels["groups"]] == ["duty"]
        assert helper.call("get_stats")["totals"]["messages"] == labels["messages"]
        with open_archive(whole) as archive:
            outside = archive.scalar(
                "SELECT x.message_id FROM message_labels x JOIN labels l ON l.id = x.label_id WHERE l.name = 'play'"
            )
        with pytest.raises(RefusedError, match="there is no message"):
            helper.call("get_message", message_id=outside)
