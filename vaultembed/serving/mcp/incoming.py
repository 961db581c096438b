"""What comes over a wire, before the SDK reads it: what is no message of the protocol is refused, and told why.

The SDK passes over what it cannot read, and cannot send an answer that repeats a lone surrogate: whoever sent such a
line would wait for ever.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any, BinaryIO, Final

import anyio.to_thread
from mcp import MCPError
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.shared.message import SessionMessage
from mcp_types import (
    INVALID_PARAMS,
    INVALID_REQUEST,
    PARSE_ERROR,
    ErrorData,
    JSONRPCError,
    JSONRPCNotification,
    JSONRPCRequest,
    RequestId,
)
from pydantic import ValidationError

from vaultembed.serving.mcp.tool_base import problems

LONGEST_LINE: Final = 32 << 20
"""Bytes of a message on standard input."""
_DEEPEST: Final = 100
"""Levels of lists and objects; the SDK's own parser ends at 200."""


class RefusedMessageError(Exception):
    """What was sent is no message."""

    def __init__(self, code: int, why: str, request_id: RequestId | None = None, data: Any = None) -> None:
        super().__init__(why)
        error = ErrorData(code=code, message=why) if data is None else ErrorData(code=code, message=why, data=data)
        self.answer = JSONRPCError(jsonrpc="2.0", id=request_id, error=error)


def check_message(content: bytes) -> RequestId | None:
    """Its id.

    Raises:
        RefusedMessageError: it is none.
    """
    try:
        # bytes that are no UTF-8 become lone surrogates: so the rest can be read, and an id found to answer to
        found = json.loads(content.decode("utf-8", "surrogateescape"))
    except RecursionError:
        raise RefusedMessageError(PARSE_ERROR, "lists and objects are nested too deeply") from None
    except ValueError as error:
        raise RefusedMessageError(PARSE_ERROR, f"this is no JSON: {error}") from None
    if not isinstance(found, dict):
        why = "batches are not taken: send each message by itself" if isinstance(found, list) else "it is no object"
        raise RefusedMessageError(INVALID_REQUEST, why)
    given = found.get("id")
    is_id = (isinstance(given, str) and _is_text(given)) or type(given) is int
    request_id: RequestId | None = given if is_id else None
    if (unreadable := _unreadable(found)) is not None:
        raise RefusedMessageError(INVALID_REQUEST, unreadable, request_id)
    try:
        if "method" in found or not {"result", "error"} & found.keys():  # an answer, to what nobody asked
            (JSONRPCRequest if "id" in found else JSONRPCNotification).model_validate(found)
    except ValidationError as error:
        raise RefusedMessageError(INVALID_REQUEST, problems(error), request_id) from None
    return request_id


def _unreadable(found: Any) -> str | None:
    """Why nothing can be done with it, though it is JSON."""
    level = [found]
    for _ in range(_DEEPEST):
        inner: list[Any] = []
        for one in level:
            if isinstance(one, str) and not _is_text(one):
                return "a text in it is no Unicode: it has a lone surrogate, or bytes that are no UTF-8"
            if isinstance(one, dict):
                inner += [*one, *one.values()]
            elif isinstance(one, list):
                inner += one
        level = inner
    return f"lists and objects are nested more than {_DEEPEST} levels deep" if level else None


def _is_text(text: str) -> bool:
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)


class Lines:
    """Messages on standard input, a line each, as `stdio_server` reads them. What is none is answered."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.answers: Any = None
        """Where answers go; to be set before the first line is read."""

    async def __aiter__(self) -> AsyncIterator[str]:
        while line := await anyio.to_thread.run_sync(self._read):
            try:
                if len(line) > LONGEST_LINE:
                    raise RefusedMessageError(INVALID_REQUEST, f"a message may have {LONGEST_LINE:,} bytes")
                if line.strip():
                    check_message(line)
                    yield line.decode()
            except RefusedMessageError as refused:
                await self.answers.send(SessionMessage(refused.answer))

    def _read(self) -> bytes:
        """A line, or the beginning of one that is too long, which is passed over."""
        line = end = self._file.readline(LONGEST_LINE + 1)
        while len(end) > LONGEST_LINE and not end.endswith(b"\n"):
            end = self._file.readline(LONGEST_LINE + 1)
        return line


async def explain_parameters(ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
    """Says what is wrong with the parameters of a request; the SDK itself says that something is."""
    try:
        return await call_next(ctx)
    except ValidationError as error:
        raise MCPError(INVALID_PARAMS, f"invalid parameters: {problems(error)}") from None
    except MCPError as error:
        if (error.code, error.error.data) != (INVALID_PARAMS, ""):
            raise
        raise MCPError(INVALID_PARAMS, f"{ctx.method} before initialize, which comes first") from None
    except ValueError as error:
        if ctx.method != "prompts/get":
            raise
        raise MCPError(INVALID_PARAMS, str(error)) from None  # names what is missing
