"""An MCP client as an assistant has one: the SDK's own, with a real server process behind it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import anyio.from_thread
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client

from tests.kit.processes import COMMAND, environment
from vaultembed.serving.mcp.server import make_server
from vaultembed.serving.model_pool import KeptEmbedders

T = TypeVar("T")


class RefusedError(Exception):
    """A tool gave an error as its answer."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(f"{error['code']}: {error['message']}")
        self.code: str = error["code"]
        self.message: str = error["message"]
        self.hint: str | None = error["hint"]


class Assistant:
    """Speaks with one server, from a thread of its own."""

    def __init__(self, portal: anyio.from_thread.BlockingPortal, client: Client) -> None:
        self._portal = portal
        self.client = client

    def do(self, what: Callable[[], Awaitable[T]]) -> T:
        return self._portal.call(what)

    def call(self, tool: str, /, **arguments: Any) -> dict[str, Any]:
        """The structured answer of a tool. Its text says the same.

        Raises:
            RefusedError: the answer is an error.
        """
        found = self.do(lambda: self.client.call_tool(tool, arguments))
        text = found.content[0].text  # type: ignore[union-attr]
        if found.is_error:
            raise RefusedError(json.loads(text)["error"])
        assert found.structured_content is not None
        assert json.loads(text) == found.structured_content
        return dict(found.structured_content)

    def read(self, uri: str) -> str:
        found = self.do(lambda: self.client.read_resource(uri))
        return str(found.contents[0].text)  # type: ignore[union-attr]


@contextmanager
def assistant(archive: Path, *options: str, mode: str = "auto", errors: Path | None = None) -> Iterator[Assistant]:
    """Over standard input and output. `errors`: where the server's standard error goes."""
    with open(errors or archive.with_name("mcp.err"), "a+") as err:
        server = StdioServerParameters(
            command=sys.executable, args=["-m", "vaultembed", "mcp", *options], env=environment(archive)
        )
        with _connected(Client(stdio_client(server, errlog=err), mode=mode)) as connected:
            yield connected


@contextmanager
def assistant_here(archive: Path) -> Iterator[Assistant]:
    """With the server in this process, where it starts at once: for what its tools say."""
    with _connected(Client(make_server(archive, KeptEmbedders()))) as connected:
        yield connected


@contextmanager
def assistant_over_http(url: str, mode: str = "auto", token: str | None = None) -> Iterator[Assistant]:
    import httpx2

    headers = {} if token is None else {"authorization": f"Bearer {token}"}
    http = httpx2.AsyncClient(headers=headers, timeout=60)
    with _connected(Client(streamable_http_client(url, http_client=http), mode=mode)) as connected:
        yield connected
        connected.do(http.aclose)


@contextmanager
def _connected(client: Client) -> Iterator[Assistant]:
    with (
        anyio.from_thread.start_blocking_portal() as portal,
        portal.wrap_async_context_manager(client) as connected,
    ):
        yield Assistant(portal, connected)


@contextmanager
def http_server(archive: Path, *options: str | Path) -> Iterator[str]:
    """A server on a free port of loopback; gives its URL."""
    errors = archive.with_name("http.err")
    with open(errors, "w+") as err:
        process = subprocess.Popen(
            [*COMMAND, "mcp", "--http", "--port", "0", *map(str, options)],
            env=environment(archive),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stderr is not None
        assert process.stdout is not None
        line = process.stderr.readline()
        err.write(line)
        try:
            assert line.startswith("Listening on "), line + process.stderr.read()
            yield line.removeprefix("Listening on ").strip()
        finally:
            process.terminate()
            said, wrong = process.communicate(timeout=20)
            err.write(wrong)
            assert said == "", "something that is not the protocol reached standard output"
