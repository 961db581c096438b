"""Who may ask over HTTP, and how much at a time: Host, Origin and token are checked before anything is read."""

from __future__ import annotations

import asyncio
import hmac
import logging
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

logger: Final = logging.getLogger(__name__)

MOST_BYTES: Final = 1 << 20
"""Of a request's body."""
BODY_SECONDS: Final = 10.0
"""In which a body must be there, and headers."""
MORE_SECONDS: Final = 30.0
"""For an answer, beyond the time of a call: each call ends by itself before."""
LOOPBACK: Final = ("127.0.0.1", "localhost", "[::1]")


@dataclass(frozen=True, slots=True)
class Allowed:
    """Who may ask."""

    hosts: frozenset[str]
    """Values of the Host header, in lower case; a name without a port stands for all, as a proxy is asked at its own.
    Whatever else a browser was led to is refused."""
    token: str | None
    """None: whoever reaches this machine's loopback."""

    def has_host(self, host: str) -> bool:
        return not self.hosts.isdisjoint({host.lower(), re.sub(r":\d+$", "", host.lower())})

    def has_origin(self, origin: str) -> bool:
        """A page of this server itself; there are none, and of others none may ask."""
        scheme, _, host = origin.partition("://")
        return scheme.lower() in ("http", "https") and self.has_host(host)


class Guard:
    """ASGI application around another. Refuses before it reads, and reads no more and no longer than is allowed."""

    def __init__(
        self, app: ASGIApp, allowed: Allowed, call_seconds: float, check: Callable[[Scope, bytes], Response | None]
    ) -> None:
        """`check`: what else is to be said to a request, with its body, in place of the application."""
        self._app = app
        self._check = check
        self._allowed = allowed
        self._answer_seconds = call_seconds + MORE_SECONDS

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        refusal = self._refusal(scope)
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        try:
            body = await _read(receive)
        except _RefusedError as refused:
            await refused.response(scope, receive, send)
            return
        if body is None:  # hung up
            return
        if (said := self._check(scope, body)) is not None:
            await said(scope, receive, send)
            return
        await self._answer(body, scope, receive, send)

    def _refusal(self, scope: Scope) -> PlainTextResponse | None:
        headers = Headers(scope=scope)
        hosts, origins = headers.getlist("host"), headers.getlist("origin")
        if len(hosts) != 1 or not self._allowed.has_host(hosts[0]):
            return _refuse(421, "this server does not go by that name")
        if not all(map(self._allowed.has_origin, origins)):
            return _refuse(403, "pages of other origins may not ask")
        if self._allowed.token is not None and not self._has_token(headers.getlist("authorization")):
            return _refuse(401, "a token is needed", {"www-authenticate": 'Bearer realm="vaultembed"'})
        length = headers.get("content-length", "0")
        if not (length.isascii() and length.isdigit()) or len(length) > 12:
            return _refuse(400, "content-length is no number")
        return _refuse(413, "the body is too large") if int(length) > MOST_BYTES else None

    def _has_token(self, authorizations: list[str]) -> bool:
        if len(authorizations) != 1 or self._allowed.token is None:
            return False
        scheme, _, token = authorizations[0].partition(" ")
        given, right = token.strip().encode("utf-8", "replace"), self._allowed.token.encode()
        return hmac.compare_digest(given, right) and scheme.lower() == "bearer"

    async def _answer(self, body: bytes, scope: Scope, receive: Receive, send: Send) -> None:
        """Whoever hangs up ends the work on the answer."""
        begun = ended = False

        async def noted(message: Message) -> None:
            nonlocal begun, ended
            begun = True
            ended = message["type"] == "http.response.body" and not message.get("more_body", False)
            await send(message)

        answer = asyncio.ensure_future(self._app(scope, _replayed(body, receive), noted))
        gone = asyncio.ensure_future(_gone(receive))
        try:
            async with asyncio.timeout(self._answer_seconds):
                await asyncio.wait({answer, gone}, return_when=asyncio.FIRST_COMPLETED)
                if ended or answer.done():  # after a whole answer, it is told as gone, too
                    await answer
        except TimeoutError:
            logger.warning("an answer took longer than %g s", self._answer_seconds)
            if not begun:
                await _refuse(504, "it took too long")(scope, receive, send)
        finally:
            gone.cancel()
            answer.cancel()


class _RefusedError(Exception):
    def __init__(self, status: int, why: str) -> None:
        self.response = _refuse(status, why)


def _refuse(status: int, why: str, headers: dict[str, str] | None = None) -> PlainTextResponse:
    """Closes the connection: what else is on it has not been read, and is not going to be."""
    return PlainTextResponse(why + "\n", status, {"connection": "close", **(headers or {})})


async def _read(receive: Receive) -> bytes | None:
    """The whole body; None where the client has gone.

    Raises:
        _RefusedError: it is too large, or does not come.
    """
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return None
                body += message.get("body", b"")
                if len(body) > MOST_BYTES:
                    raise _RefusedError(413, "the body is too large")
                if not message.get("more_body", False):
                    return bytes(body)
    except TimeoutError:
        raise _RefusedError(408, "the body did not come in time") from None


async def _gone(receive: Receive) -> None:
    """Returns when the client has hung up."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _replayed(body: bytes, receive: Receive) -> Callable[[], Awaitable[Any]]:
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay
