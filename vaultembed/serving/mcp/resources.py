"""Messages and conversations as resources, for clients that attach them to a chat: plain text, marked like any mail."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ResourceError, ResourceNotFoundError

from vaultembed.errors import MessageMissingError, VaultembedError
from vaultembed.service.display import Fence, one_line
from vaultembed.service.keeping import Within
from vaultembed.service.listing import Listed, MessagePage, Reaction, read_message, read_thread
from vaultembed.serving.mcp.answers import NAME, SUBJECT, notice
from vaultembed.serving.mcp.arguments import LARGEST_ID
from vaultembed.serving.time_limited import Calls

T = TypeVar("T")

MESSAGE_CHARACTERS: Final = 50_000
THREAD_MESSAGES: Final = 50
THREAD_CHARACTERS: Final = 1_000


def add_resources(server: MCPServer[None], archive: Path | Within, calls: Calls) -> None:
    @server.resource(
        "message://{id}",
        name="message",
        title="A message",
        description="One message of the archive, by its id.",
        mime_type="text/plain",
    )
    async def message(id: str) -> str:  # noqa: A002 (the name in the template)
        number = _number(id)
        return await _answered(
            calls, lambda: _message_text(read_message(archive, number, characters=MESSAGE_CHARACTERS).data)
        )

    @server.resource(
        "thread://{id}",
        name="thread",
        title="A conversation",
        description="The messages of a conversation, oldest first, by its thread_id.",
        mime_type="text/plain",
    )
    async def thread(id: str) -> str:  # noqa: A002
        number = _number(id)
        return await _answered(calls, lambda: _thread_text(archive, number))


async def _answered(calls: Calls, call: Callable[[], T]) -> T:
    try:
        return await calls.run(call)
    except MessageMissingError as error:
        raise ResourceNotFoundError(error.message) from None
    except VaultembedError as error:
        raise ResourceError(f"{error.code}: {error.message}. {error.hint or ''}".rstrip()) from None
    except Exception as error:
        # its own text may be text of a message
        raise ResourceError(f"internal_error: {type(error).__name__}") from None


def _number(name: str) -> int:
    if not (name.isascii() and name.isdigit()) or len(name) > 16 or not 0 < int(name) <= LARGEST_ID:
        raise ResourceNotFoundError("ids are numbers, as search_messages gives them")
    return int(name)


def _message_text(page: MessagePage) -> str:
    fence = Fence()
    people = ", ".join(_person(recipient.name, recipient.address) for recipient in page.recipients)
    lines = [
        f"From: {_person(page.sender_name, page.sender_address)}",
        f"To: {people}",
        f"Date: {page.date or 'unknown'}",
        *_about(page),
        *(f"Reply to: message {answered}" for answered in [page.reply_to] if answered is not None),
        *(_reaction(each) for each in page.reactions),
        *(f"Attachment: {one_line(file.filename, NAME)} ({file.size} bytes)" for file in page.attachments),
    ]
    left = page.characters - len(page.text)
    more = f"\n\n{left:,} characters more: get_message has them." if left > 0 else ""
    return f"{notice(fence)}\n\nMessage {page.id}\n" + fence.block("\n".join([*lines, "", page.text])) + more


def _thread_text(archive: Path | Within, thread_id: int) -> str:
    fence = Fence()
    page = read_thread(archive, thread_id, limit=THREAD_MESSAGES, characters=THREAD_CHARACTERS).data
    parts = [notice(fence), *(_entry(message, fence) for message in page.messages)]
    if page.more:
        parts.append(f"{page.total - len(page.messages):,} messages more: get_thread has them.")
    return "\n\n".join(parts)


def _entry(message: Listed, fence: Fence) -> str:
    lines = [
        f"From: {_person(message.sender_name, message.sender_address)}",
        f"Date: {message.date or 'unknown'}",
        *_about(message),
        "",
        message.text + ("…" if message.characters > len(message.text) else ""),
    ]
    return f"Message {message.id}\n" + fence.block("\n".join(lines))


def _about(message: MessagePage | Listed) -> list[str]:
    """Of a chat its name, in place of a subject that few of its messages have."""
    chat = [f"Chat: {one_line(message.chat, NAME)}"] if message.chat else []
    no_subject = message.chat is not None and not message.subject
    return chat if no_subject else [*chat, f"Subject: {one_line(message.subject, SUBJECT)}"]


def _reaction(found: Reaction) -> str:
    by = _person(found.person.name, found.person.address) if found.person else "somebody"
    return f"Reaction: {one_line(found.reaction, NAME)} {by}"


def _person(name: str, address: str) -> str:
    return f"{one_line(name, NAME)} <{one_line(address, NAME)}>" if name else one_line(address, NAME)
