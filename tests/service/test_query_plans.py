"""What search, lists and statistics execute finds its rows by an index, or walks over a whole table for a reason."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from tests.kit.archives import ADA, add
from tests.kit.builds import run
from tests.kit.embedder import WordHashEmbedder
from tests.kit.plans import executed, executed_on
from tests.service.test_searching import Models
from vaultembed.archive.database import open_archive
from vaultembed.archive.vectors.nearest import EXACT_CHUNKS
from vaultembed.embeddings.build import Wanted
from vaultembed.message import Person, Recipient
from vaultembed.search.filters import Filters
from vaultembed.service.deletion import deleted_messages, select_messages
from vaultembed.service.generations import embeddings_status, list_failed
from vaultembed.service.listing import count_by, list_messages, read_message, read_thread, thread_of
from vaultembed.service.repair_runs import repair_runs
from vaultembed.service.searching import Kept, search_archive
from vaultembed.service.showing import show_message, show_problems
from vaultembed.service.similar import similar_messages
from vaultembed.service.statistics import archive_statistics


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An active generation and one being built, with a failure; a message deleted, and new ones."""
    path = tmp_path_factory.mktemp("plans") / "a.db"
    to = (Recipient("to", Person("grace@example.org", "Grace")),)
    with open_archive(path) as opened:
        for n in range(30):
            reply_to = (f"{n - 1}",) if n % 3 else ()
            add(opened, f"subject {n}", f"word{n} body{n % 7}", message_id=f"{n}", references=reply_to, recipients=to)
        run(opened)
        other = WordHashEmbedder("other", refused=["word3"])
        run(opened, other, wanted=Wanted(model_named=True), hold=True, max_failed=5)
        opened.db.execute("UPDATE messages SET deleted_at = 1 WHERE id = 5")
        for n in range(5):
            add(opened, f"new {n}", "text", message_id=f"new{n}")
        # what is small is searched without the coarse index
        opened.db.execute("UPDATE embed_coverage SET chunks = ?", (EXACT_CHUNKS + 1,))
    return path


QUERIES: Final = ("word3", 'word3 -word4 "body3"', "subject:subject word3", "from:ada OR to:grace word3")
FILTERS: Final = {
    "none": Filters(),
    "from": Filters(sender=ADA.address),
    "to": Filters(recipient="grace"),
    "label": Filters(label="work"),
    "source": Filters(source="box"),
    "type": Filters(message_type="email"),
    "dates": Filters(after="2001", before="2030"),
    "attachment": Filters(has_attachment=True),
}


def search(path: Path) -> None:
    for filters in FILTERS.values():
        for query in QUERIES:
            for mode in ("text", "vector", "hybrid"):
                search_archive(path, query, mode=mode, filters=filters, kept=Kept(Models()))  # type: ignore[arg-type]


def newest(path: Path) -> None:
    for name, filters in FILTERS.items():
        if name != "none":
            search_archive(path, "", mode="text", filters=filters)


def lists(path: Path) -> None:
    for filters in FILTERS.values():
        for order in ("newest", "oldest"):
            page = list_messages(path, filters=filters, order=order, limit=5).data  # type: ignore[arg-type]
            list_messages(path, filters=filters, order=order, limit=5, after=page.next)  # type: ignore[arg-type]


def counts(path: Path) -> None:
    for by in ("sender", "domain", "recipient", "year", "month", "label", "source", "type"):
        count_by(path, by)  # type: ignore[arg-type]


def one_message(path: Path) -> None:
    read_thread(path, thread_of(path, 7))
    read_message(path, 7)
    show_message(path, 7)
    similar_messages(path, 7)


REQUESTS: Final[dict[str, Callable[[Path], object]]] = {
    "search": search,
    "newest": newest,
    "lists": lists,
    "counts": counts,
    "one message": one_message,
    "selecting": lambda path: (select_messages(path, ["word3"]), select_messages(path, ["7"])),
    "deleted": deleted_messages,
    "problems": show_problems,
    "repairs": repair_runs,
    "embeddings": lambda path: (embeddings_status(path, every=True), list_failed(path)),
    "statistics": archive_statistics,
}

_BY_PART: Final = {
    "p USING COVERING INDEX sqlite_autoindex_participants_1": "people are found by any part of their name or address",
    "l": "labels are found by any run of their parts; a row a label",
    "x USING COVERING INDEX message_sources_by_message": "sources are found by any part of their path, and hold many",
}
_NEAREST: Final = {"vec_2 VIRTUAL TABLE INDEX 0:3{___}___*d__": "one pass over the bits is how the nearest are found"}
_DELETED: Final = "all that is deleted, and no more"
_COUNTED: Final = "all are counted"
_SET_ASIDE: Final = "whether anything is in trash or spam: the first there is"
ALLOWED: Final[dict[str, dict[str, str]]] = {
    "search": {
        **_BY_PART,
        **_NEAREST,
        "messages USING COVERING INDEX messages_by_sender": "a word is common by the share of messages that have it",
        "messages USING INDEX messages_set_aside": _SET_ASIDE,
        "m USING INDEX messages_by_embed_gen": "what a filter leaves is scored one by one, where that is little",
    },
    "newest": {
        **_BY_PART,
        "messages USING INDEX messages_set_aside": _SET_ASIDE,
        "m USING INDEX messages_by_sent_at": "from the newest, until a page is full",
    },
    "lists": _BY_PART,
    "counts": {
        "m USING INDEX messages_by_embed_gen": _COUNTED,
        "x USING COVERING INDEX message_labels_by_label": _COUNTED,
        "x USING COVERING INDEX message_sources_by_message": _COUNTED,
    },
    "one message": _NEAREST,
    "deleted": {"m USING INDEX messages_deleted": _DELETED, "messages USING INDEX messages_deleted": _DELETED},
    "problems": {
        "problems": "all are counted by what weighs most",
    },
    "selecting": {"sqlite_sequence": "a row a table"},
    "repairs": {"r": "a row a run of `repair-encoding`"},
    "statistics": {
        "attachments": _COUNTED,
        "m USING INDEX messages_deleted": _DELETED,
        "message_labels USING COVERING INDEX message_labels_by_label": _COUNTED,
        "message_raw": _COUNTED,
        "message_sources": _COUNTED,
        "message_sources USING COVERING INDEX message_sources_by_message": _COUNTED,
        "messages": _COUNTED,
        "messages USING COVERING INDEX messages_by_conversation": _COUNTED,
        "messages USING COVERING INDEX messages_by_sender": _COUNTED,
        "messages USING INDEX messages_deleted": _DELETED,
        "participants USING COVERING INDEX sqlite_autoindex_participants_1": _COUNTED,
        "problems": _COUNTED,
        "sources": "a row a path that was imported",
    },
}
"""By request: each walk, as SQLite says it, and why it may be."""

SMALL: Final = {
    # a row a generation, or one in all
    *("g", "generations", "models", "live_count", "sqlite_schema", "schema_migrations"),
    # a row a thing to be done
    "fulltext_stale",
}


def test_a_walk_is_seen(archive: Path) -> None:
    """By a column without an index, in a subquery, and in one for what else is found by key."""
    with open_archive(archive) as opened, executed_on(opened.db) as statements:
        opened.rows("SELECT id FROM messages WHERE subject = ?", ("subject 3",))
        opened.rows("SELECT * FROM (SELECT max(id) AS id FROM chunks GROUP BY char_end) c JOIN messages m USING (id)")
        opened.rows("SELECT subject FROM messages WHERE id IN (SELECT message_id FROM attachments WHERE size > 1)")
    assert [one.scans for one in statements] == [{"messages"}, {"chunks"}, {"attachments"}]


def test_what_a_request_walks_over_has_a_reason(archive: Path) -> None:
    found = {}
    for name, request in REQUESTS.items():
        with executed() as statements:
            request(archive)
        assert statements, name
        found[name] = {scan for one in statements for scan in one.scans if scan.split()[0] not in SMALL}
    assert found == {name: set(ALLOWED.get(name, {})) for name in REQUESTS}
