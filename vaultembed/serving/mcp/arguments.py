"""The arguments of tools, with what an assistant is told of each, and the bounds of each."""

from __future__ import annotations

from typing import Annotated, Any, Final

from mcp.server.mcpserver.utilities.func_metadata import ArgModelBase
from pydantic import ConfigDict, Field, model_validator

from vaultembed.service.listing import Grouping, Order
from vaultembed.service.searching import Filters, Mode

LARGEST_ID: Final = 2**53 - 1
"""What JSON of every client can hold."""
DEEPEST: Final = 200
"""So many results of a search can be paged through: so deep the rankings are joined."""

_Part = Annotated[str, Field(max_length=500)]
_Id = Annotated[int, Field(ge=1, le=LARGEST_ID)]


class Arguments(ArgModelBase):
    """What the schema does not name is refused, not ignored: an assistant that invents a filter must be told."""

    model_config = ConfigDict(extra="forbid", frozen=True, title="arguments")

    @model_validator(mode="before")
    @classmethod
    def _null_is_not_given(cls, given: dict[str, Any]) -> dict[str, Any]:
        """So some clients leave out an argument."""
        optional = {name for name, field in cls.model_fields.items() if not field.is_required()}
        return {name: value for name, value in given.items() if value is not None or name not in optional}


class Paged(Arguments):
    limit: Annotated[int, Field(ge=1, le=50, description="The most results of one answer.")] = 20
    cursor: Annotated[
        str,
        Field(
            max_length=300, description="next_cursor of the answer before, with the same arguments. '' is the first."
        ),
    ] = ""

    def asked(self) -> dict[str, Any]:
        """What a cursor belongs to: all that decides what is in the answer, and not how much of it."""
        return {"tool": type(self).__name__, **self.model_dump(exclude={"limit", "cursor"})}


class Filtered(Paged):
    sender: Annotated[
        _Part, Field(description="Only from people whose address or name contains this. '' is no filter, as below.")
    ] = ""
    recipient: Annotated[
        _Part, Field(description="Only to (to, cc, bcc) people whose address or name contains this.")
    ] = ""
    label: Annotated[
        _Part, Field(description="Only with this label or in this folder: its name, or the last parts of its path.")
    ] = ""
    source: Annotated[_Part, Field(description="Only from sources whose path contains this; get_stats lists them.")] = (
        ""
    )
    message_type: Annotated[_Part, Field(description="Only of this type, as email; get_stats lists them.")] = ""
    after: Annotated[
        _Part, Field(description="Only sent then or later: 2019, 2019-06, 2019-06-30, or a date as results have it.")
    ] = ""
    before: Annotated[_Part, Field(description="Only sent before that began: a date, as in after.")] = ""
    has_attachment: Annotated[bool, Field(description="Only with an attachment.")] = False

    def filters(self) -> Filters:
        return Filters(
            sender=self.sender.strip(),
            recipient=self.recipient.strip(),
            label=self.label.strip(),
            source=self.source.strip(),
            message_type=self.message_type.strip(),
            after=self.after.strip(),
            before=self.before.strip(),
            has_attachment=self.has_attachment,
        )


class Explained(Filtered):
    explain: Annotated[
        bool, Field(description="Also say why each was found: its rank and score by words and by meaning.")
    ] = False


class SearchArguments(Explained):
    query: Annotated[
        str,
        Field(
            min_length=1,
            max_length=4_000,
            description=(
                "What to look for, in plain words: a question or a description finds by meaning, names and numbers by"
                ' words. May hold conditions: "exact phrases", -excluded, OR, parentheses, and fields from: to: cc:'
                " with: subject: label: in: is: list: filename: has:attachment before: after: on: newer_than: larger:"
                " type: source: id: thread:, as in 'from:anna after:2019-06 leaking roof'."
                " Trash and spam are left out; in:anywhere has them."
            ),
        ),
    ]
    mode: Annotated[
        Mode, Field(description="hybrid: by meaning and by words, the best. vector: by meaning. text: by words.")
    ] = "hybrid"


class SimilarArguments(Explained):
    message_id: Annotated[_Id, Field(description="The message that others are to be like.")]


class MessageArguments(Arguments):
    message_id: Annotated[_Id, Field(description="As every other tool gives it: id.")]
    start: Annotated[
        int,
        Field(ge=0, le=LARGEST_ID, description="Character of the body to begin with: next_start of the answer before."),
    ] = 0
    characters: Annotated[int, Field(ge=1, le=20_000, description="The most characters of the body in one answer.")] = (
        10_000
    )


class ThreadArguments(Paged):
    thread_id: Annotated[_Id | None, Field(description="The thread. Or give message_id instead.")] = None
    message_id: Annotated[_Id | None, Field(description="Any message of the thread.")] = None
    characters: Annotated[
        int, Field(ge=0, le=4_000, description="So many characters of each body; get_message has all of it.")
    ] = 2_000


class ListArguments(Filtered):
    order: Annotated[Order, Field(description="By date.")] = "newest"


class AggregateArguments(Filtered):
    by: Annotated[Grouping, Field(description="What to count by. A message counts once in each group it belongs to.")]


class StatsArguments(Arguments):
    pass
