"""MCP over streamable HTTP: on loopback, or further with a token."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
import stat
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import h11
import uvicorn
from mcp.server.mcpserver import MCPServer
from mcp.server.transport_security import TransportSecuritySettings
from mcp_types import UNSUPPORTED_PROTOCOL_VERSION
from mcp_types.version import KNOWN_PROTOCOL_VERSIONS
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse, Response
from starlette.types import Scope
from uvicorn.protocols.http.h11_impl import H11Protocol

from vaultembed.errors import StorageError, UsageError
from vaultembed.serving.http_guard import BODY_SECONDS, LOOPBACK, MOST_BYTES, Allowed, Guard
from vaultembed.serving.mcp.incoming import RefusedMessageError, check_message
from vaultembed.serving.time_limited import CALL_SECONDS

DEFAULT_PORT: Final = 8737
PATH: Final = "/mcp"
_CONNECTIONS: Final = 100
_SHORTEST_TOKEN: Final = 32
_HOW_TO_MAKE_ONE: Final = "Make one: (umask 077; python3 -c 'import secrets; print(secrets.token_urlsafe(32))' > token)"


@dataclass(frozen=True, slots=True)
class HttpSettings:
    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    """0: any that is free."""
    remote: bool = False
    """Another address than loopback is meant."""
    token_file: Path | None = None
    names: tuple[str, ...] = ()
    """Further names by which clients call this machine; one without a port stands for all."""
    call_seconds: float = CALL_SECONDS
    """How long one call may take; the server stops it itself."""


def serve_http(server: MCPServer[None], settings: HttpSettings) -> None:
    """Until a signal ends it.

    Raises:
        UsageError: an address other than loopback without `remote` and a token, or a token file that others can read.
        StorageError: the address cannot be listened on.
    """
    token = _checked_token(settings)
    listening = _listen(settings)
    port = int(listening.getsockname()[1])
    app = server.streamable_http_app(
        streamable_http_path=PATH,
        json_response=True,
        stateless_http=True,
        max_request_body_size=MOST_BYTES,
        host=settings.host,
        transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),  # the guard has it
    )
    config = uvicorn.Config(
        Guard(app, Allowed(_hosts(settings, port), token), settings.call_seconds, _refusal),
        http=_PatientProtocol,
        ws="none",
        lifespan="on",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=_CONNECTIONS,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=3,
    )
    print(f"Listening on http://{_named(settings.host)}:{port}{PATH}", file=sys.stderr, flush=True)  # noqa: T201
    with listening:
        uvicorn.Server(config).run(sockets=[listening])


def _checked_token(settings: HttpSettings) -> str | None:
    if not _is_loopback(settings.host):
        if not settings.remote:
            raise UsageError(
                f"{settings.host} can be reached from other machines",
                "If that is meant: --remote, with --token-file. Without it, only programs on this machine can ask.",
            )
        if settings.token_file is None:
            raise UsageError("--remote needs --token-file", _HOW_TO_MAKE_ONE)
    return None if settings.token_file is None else read_token(settings.token_file)


def read_token(path: Path) -> str:
    """
    Raises:
        UsageError: it is no file, others can read it, or it holds no token.
    """
    try:
        with open(path, "rb") as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise UsageError(f"{path} is no regular file", _HOW_TO_MAKE_ONE)
            if found.st_mode & 0o077 or found.st_uid != os.geteuid():
                raise UsageError(f"others can read {path}", f"chmod 600 {path}, and make a new token: it may be known.")
            token = file.read(4096).decode("ascii", "replace").strip()
    except OSError as error:
        raise UsageError(f"the token file {path} cannot be read: {error.strerror}", _HOW_TO_MAKE_ONE) from error
    if len(token) < _SHORTEST_TOKEN or not token.isascii() or not token.isprintable() or " " in token:
        raise UsageError(
            f"{path} holds no token of at least {_SHORTEST_TOKEN} characters without spaces", _HOW_TO_MAKE_ONE
        )
    return token


def _listen(settings: HttpSettings) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.create_server(address[:2], family=family, backlog=_CONNECTIONS)
        # Inherited by each connection; asyncio sets it on sockets of its own making alone. Without, the body of an
        # answer waits 40 ms for the client to acknowledge the headers.
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listening
    except (OSError, UnicodeError) as error:
        raise StorageError(
            f"cannot listen on {settings.host}, port {settings.port}: {error}", "Choose another: --port N"
        ) from error


def _hosts(settings: HttpSettings, port: int) -> frozenset[str]:
    names = list(LOOPBACK) if _is_loopback(settings.host) else []
    if settings.host not in ("0.0.0.0", "::", ""):  # noqa: S104 (these are no names to be called by)
        names.append(_named(settings.host))
    names = [f"{name}:{port}" for name in names]
    return frozenset(name.lower() for name in (*names, *settings.names))


def _refusal(scope: Scope, body: bytes) -> Response | None:
    """What the SDK would not answer, or not say why."""
    if scope["path"] != PATH:
        return None
    if scope["method"] != "POST":  # there is no session, so nothing that a stream could bring
        return PlainTextResponse("requests are sent with POST\n", 405, {"allow": "POST"})
    try:
        request_id = check_message(body)
        version = Headers(scope=scope).get("mcp-protocol-version")
        if version is not None and version not in KNOWN_PROTOCOL_VERSIONS:
            spoken = {"supported": list(KNOWN_PROTOCOL_VERSIONS), "requested": version[:100]}
            why = f"protocol version {version[:100]!r} is not spoken here; {', '.join(KNOWN_PROTOCOL_VERSIONS)} are"
            raise RefusedMessageError(UNSUPPORTED_PROTOCOL_VERSION, why, request_id, spoken)
    except RefusedMessageError as refused:
        return Response(
            refused.answer.model_dump_json(by_alias=True, exclude_unset=True), 400, media_type="application/json"
        )
    return None


def _named(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class _PatientProtocol(H11Protocol):
    """Waits for the headers of a request for so long and no longer; uvicorn itself waits for ever."""

    _waiting: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state is h11.IDLE and self.timeout_keep_alive_task is None:
            self._wait()
        else:
            self._stop_waiting()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def _wait(self) -> None:
        if self._waiting is None:
            self._waiting = self.loop.call_later(BODY_SECONDS, self.transport.close)

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
