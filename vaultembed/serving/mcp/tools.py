"""The tools: each asks one function of the service, and makes the answer safe. None changes anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import Field

from vaultembed.errors import UsageError
from vaultembed.service.display import Fence, one_line, shown
from vaultembed.service.keeping import Within, keep
from vaultembed.service.listing import Position, count_by, list_messages, read_message, read_thread, thread_of
from vaultembed.service.result import Result
from vaultembed.service.searching import SearchView, search_archive
from vaultembed.service.similar import SimilarView, similar_messages
from vaultembed.service.statistics import StatsView, archive_statistics
from vaultembed.serving.mcp.answers import (
    NAME,
    SUBJECT,
    FoundMessage,
    ListedMessage,
    MessageAnswer,
    NamedAddress,
    NextCursor,
    Notes,
    Notice,
    found_message,
    listed_message,
    message_answer,
    notice,
    person,
)
from vaultembed.serving.mcp.arguments import (
    DEEPEST,
    LARGEST_ID,
    AggregateArguments,
    Explained,
    ListArguments,
    MessageArguments,
    SearchArguments,
    SimilarArguments,
    StatsArguments,
    ThreadArguments,
)
from vaultembed.serving.mcp.cursors import make_cursor, read_cursor
from vaultembed.serving.mcp.tool_base import ArchiveTool, archive_tool
from vaultembed.serving.model_pool import KeptEmbedders
from vaultembed.serving.time_limited import Calls

THREAD_CHARACTERS: Final = 40_000
"""Of all messages of one answer."""


@dataclass(frozen=True, slots=True)
class SearchAnswer:
    untrusted: Notice
    results: Annotated[list[FoundMessage], Field(description="The best first.")]
    not_covered: Annotated[
        int | None, Field(description="Live messages that search by meaning does not cover; null if it was not used.")
    ]
    notes: Notes
    next_cursor: NextCursor


@dataclass(frozen=True, slots=True)
class ListAnswer:
    untrusted: Notice
    messages: list[ListedMessage]
    next_cursor: NextCursor


@dataclass(frozen=True, slots=True)
class ThreadAnswer:
    untrusted: Notice
    thread_id: int
    total: Annotated[int, Field(description="Messages of the thread.")]
    people: Annotated[list[NamedAddress], Field(description="Who takes part; the first 50 by name.")]
    messages: Annotated[list[ListedMessage], Field(description="Oldest first.")]
    next_cursor: NextCursor


@dataclass(frozen=True, slots=True)
class GroupCount:
    key: Annotated[str, Field(description="What the messages have in common. Written by senders, except dates.")]
    messages: int


@dataclass(frozen=True, slots=True)
class AggregateAnswer:
    by: str
    messages: Annotated[int, Field(description="All that pass the filters, in a group or not.")]
    groups: Annotated[list[GroupCount], Field(description="The largest first; years and months in their order.")]
    next_cursor: NextCursor


class Tools:
    """The tools of one archive. The file is opened for each call, read-only: what others commit is seen by the next.
    The coarse indexes are kept, and follow it."""

    def __init__(self, archive: Path | Within, embedders: KeptEmbedders) -> None:
        self._archive = archive
        self._kept = keep(embedders.open)

    def search_messages(self, given: SearchArguments) -> SearchAnswer:
        offset = _offset(given.cursor, given.asked(), DEEPEST - 1)
        limit = min(given.limit, DEEPEST - offset)
        found = search_archive(
            self._archive,
            given.query,
            mode=given.mode,
            filters=given.filters(),
            limit=limit,
            offset=offset,
            kept=self._kept,
        )
        return _search_answer(found, given, offset + limit)

    def find_similar_messages(self, given: SimilarArguments) -> SearchAnswer:
        offset = _offset(given.cursor, given.asked(), DEEPEST - 1)
        limit = min(given.limit, DEEPEST - offset)
        found = similar_messages(
            self._archive,
            given.message_id,
            filters=given.filters(),
            limit=limit,
            offset=offset,
            kept=self._kept,
        )
        return _search_answer(found, given, offset + limit)

    def get_message(self, given: MessageArguments) -> MessageAnswer:
        page = read_message(self._archive, given.message_id, start=given.start, characters=given.characters)
        return message_answer(page.data, Fence())

    def get_thread(self, given: ThreadArguments) -> ThreadAnswer:
        thread = given.thread_id
        if given.message_id is not None and thread is None:
            thread = thread_of(self._archive, given.message_id)
        elif thread is None or given.message_id is not None:
            raise UsageError("give either thread_id or message_id", "Every message has its thread_id beside its id.")
        asked = {"thread": thread}
        offset = _offset(given.cursor, asked, LARGEST_ID)
        characters = min(given.characters, THREAD_CHARACTERS // given.limit)
        page = read_thread(self._archive, thread, offset=offset, limit=given.limit, characters=characters).data
        fence = Fence()
        return ThreadAnswer(
            untrusted=notice(fence),
            thread_id=page.thread,
            total=page.total,
            people=[person(each.name, each.address) for each in page.people],
            messages=[listed_message(message, fence) for message in page.messages],
            next_cursor=_next(offset + given.limit, asked, more=page.more),
        )

    def list_messages(self, given: ListArguments) -> ListAnswer:
        asked = given.asked()
        after = None
        if given.cursor:
            sent_at, last_id = read_cursor(given.cursor, asked, 2)
            after = Position(sent_at, last_id if isinstance(last_id, int) else 0)
        page = list_messages(
            self._archive, filters=given.filters(), order=given.order, after=after, limit=given.limit
        ).data
        fence = Fence()
        return ListAnswer(
            untrusted=notice(fence),
            messages=[listed_message(message, fence) for message in page.messages],
            next_cursor=None if page.next is None else make_cursor([page.next.sent_at, page.next.message_id], asked),
        )

    def aggregate(self, given: AggregateArguments) -> AggregateAnswer:
        asked = given.asked()
        offset = _offset(given.cursor, asked, LARGEST_ID)
        found = count_by(self._archive, given.by, filters=given.filters(), offset=offset, limit=given.limit).data
        return AggregateAnswer(
            by=found.by,
            messages=found.messages,
            groups=[GroupCount(one_line(group.key, NAME), group.messages) for group in found.groups],
            next_cursor=_next(offset + given.limit, asked, more=found.more),
        )

    def get_stats(self, _given: StatsArguments) -> StatsView:
        return shown(archive_statistics(self._archive).data, one_line)


def make_tools(tools: Tools, searches: Calls, readings: Calls) -> list[ArchiveTool]:
    """`searches`: for what may take longer. `readings`: for what takes milliseconds, and need not wait for those."""
    return [
        archive_tool(
            tools.search_messages,
            SearchArguments,
            SearchAnswer,
            "Search mail",
            "Find messages in the user's mail archive by meaning, by words, or both. Start here for any question about"
            " what was written, said, agreed, bought or planned. Gives ids and the passages that match; read more with"
            " get_message or get_thread. If notes say that messages are not covered, tell the user.",
            searches,
        ),
        archive_tool(
            tools.find_similar_messages,
            SimilarArguments,
            SearchAnswer,
            "Find similar mail",
            "Find messages that are about the same as a given one, whatever words they use: more of a kind, earlier or"
            " later mail on a subject, near duplicates.",
            searches,
        ),
        archive_tool(
            tools.get_message,
            MessageArguments,
            MessageAnswer,
            "Read a message",
            "Read one message: people, date, labels, names of attachments, and its text. A long text comes in parts: go"
            " on with start = next_start.",
            readings,
        ),
        archive_tool(
            tools.get_thread,
            ThreadArguments,
            ThreadAnswer,
            "Read a conversation",
            "Read the messages of a conversation, oldest first, each with the beginning of its text.",
            readings,
        ),
        archive_tool(
            tools.list_messages,
            ListArguments,
            ListAnswer,
            "List messages",
            "List messages by date, with filters: what came last week, all mail from somebody. To look for a subject,"
            " search_messages is better.",
            readings,
        ),
        archive_tool(
            tools.aggregate,
            AggregateArguments,
            AggregateAnswer,
            "Count messages",
            "Count messages by sender, domain, recipient, year, month, label, source or type, with filters: who writes"
            " most, how much mail there was when.",
            searches,
        ),
        archive_tool(
            tools.get_stats,
            StatsArguments,
            StatsView,
            "Statistics of the archive",
            "What the archive holds and how much of it search covers: totals, sources, the generation of embeddings in"
            " use, one being built and its progress, and missing_embeddings_total, the messages that search by meaning"
            " may not find yet. A part that could not be computed is null and told in `unavailable`.",
            searches,
        ),
    ]


def _search_answer(found: Result[SearchView] | Result[SimilarView], given: Explained, end: int) -> SearchAnswer:
    """`end`: so many of the best were asked for by now."""
    fence = Fence()
    view = found.data
    return SearchAnswer(
        untrusted=notice(fence),
        results=[found_message(result, fence, explain=given.explain) for result in view.results],
        not_covered=view.not_covered,
        notes=_notes(found),
        next_cursor=_next(end, given.asked(), more=view.more and end < DEEPEST),
    )


def _offset(cursor: str, asked: Mapping[str, object], most: int) -> int:
    """
    Raises:
        UsageError: it is no cursor of this question.
    """
    if not cursor:
        return 0
    (offset,) = read_cursor(cursor, asked, 1)
    if not isinstance(offset, int) or not 0 <= offset <= most:
        raise UsageError("that is no cursor", "Give back the `next_cursor` of an answer, as it is.")
    return offset


def _next(offset: int, asked: Mapping[str, object], *, more: bool) -> str | None:
    return make_cursor([offset], asked) if more else None


def _notes(result: Result[Any]) -> list[str]:
    return [one_line(note, 2 * SUBJECT) for note in result.notes]
