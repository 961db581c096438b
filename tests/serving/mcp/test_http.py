"""The server over HTTP against those who should not be let in, and those who would hold it up."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.kit.assistant import assistant_over_http, http_server
from tests.kit.processes import vaultembed_process
from vaultembed.errors import UsageError
from vaultembed.serving.mcp.http import HttpSettings, _listen, serve_http
from vaultembed.serving.mcp.server import make_server
from vaultembed.serving.model_pool import KeptEmbedders

WORD = "t0ken-of-more-than-32-characters-0123456789"
EVERYWHERE = "0.0.0.0"  # noqa: S104
CALL = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "tools/call",
    "params": {"name": "get_message", "arguments": {"message_id": 1}},
}
USUAL = {
    "content-type": "application/json",
    "accept": "application/json, text/event-stream",
    "mcp-protocol-version": "2025-06-18",
}


class Raw:
    """A connection of our own: headers and timing as we like."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.authority = parts.netloc
        assert parts.hostname is not None
        self.socket = socket.create_connection((parts.hostname, parts.port or 80), timeout=30)

    def request(
        self, body: bytes = b"", *, method: str = "POST", path: str = "/mcp", headers: dict[str, str] | None = None
    ) -> tuple[int, str]:
        """Status, and what came with it."""
        given = {"host": self.authority, "content-length": str(len(body)), **USUAL, **(headers or {})}
        head = "".join(f"{name}: {value}\r\n" for name, value in given.items() if value != "-")
        self.socket.sendall(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode("utf-8", "surrogateescape") + body)
        return self.answer()

    def answer(self) -> tuple[int, str]:
        received = b""
        while b"\r\n\r\n" not in received:
            part = self.socket.recv(65536)
            if not part:
                break
            received += part
        head, _, rest = received.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        assert not any(line.lower().startswith(("access-control-", "server:")) for line in lines)
        length = next((int(line.split(":")[1]) for line in lines if line.lower().startswith("content-length:")), 0)
        while len(rest) < length:
            part = self.socket.recv(65536)
            if not part:
                break
            rest += part
        return int(lines[0].split()[1]), rest.decode("utf-8", "replace")

    def is_closed(self, seconds: float) -> bool:
        self.socket.settimeout(seconds)
        try:
            return self.socket.recv(1) == b""
        except TimeoutError:
            return False
        except ConnectionError:
            return True


@pytest.fixture
def connect() -> Iterator[Callable[[str], Raw]]:
    """Connects to the server at a URL; whatever was connected is closed."""
    with contextlib.ExitStack() as stack:

        def opened(url: str) -> Raw:
            connection = Raw(url)
            stack.callback(connection.socket.close)
            return connection

        yield opened


@pytest.fixture
def raw(url: str, connect: Callable[[str], Raw]) -> Raw:
    return connect(url)


def call_body() -> bytes:
    return json.dumps(CALL).encode()


def test_who_asks_rightly_is_answered(raw: Raw) -> None:
    status, text = raw.request(call_body())
    assert status == 200, text
    assert "Water everywhere" in text


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "evil.example.com"}, 421),
        ({"host": "evil.example.com:80"}, 421),
        ({"host": "127.0.0.1.evil.example.com"}, 421),
        ({"host": "127.0.0.1:1"}, 421),
        ({"host": ""}, 421),
        ({"host": "-"}, 400),
        ({"origin": "http://evil.example.com"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "https://127.0.0.1"}, 403),
        ({"origin": "http://localhost:1"}, 403),
        ({"content-length": "99999999"}, 413),
        ({"content-length": "999999999999999999999999"}, 400),
        ({"content-type": "text/plain"}, 400),
    ],
)
def test_foreign_names_pages_and_sizes_are_refused_unread(raw: Raw, headers: dict[str, str], status: int) -> None:
    found, text = raw.request(call_body(), headers=headers)
    assert found == status, text
    assert "Water" not in text


def test_no_page_of_another_origin_is_told_that_it_may_ask(raw: Raw, connect: Callable[[str], Raw]) -> None:
    headers = {"origin": "http://evil.example.com", "access-control-request-method": "POST"}
    assert raw.request(b"", method="OPTIONS", headers=headers)[0] == 403
    assert connect(f"http://{raw.authority}/mcp").request(b"", method="OPTIONS")[0] in (404, 405)


@pytest.mark.parametrize("path", ["/", "/mcp/../mcp/x", "/etc/passwd", "/mcp%00", "//mcp", "/mcp/x"])
def test_there_is_nothing_else_at_any_other_path(raw: Raw, path: str) -> None:
    assert raw.request(call_body(), path=path)[0] in (307, 400, 404)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"nope","arguments":{}}}',
        b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"get_message","arguments":[]}}',
        b'{"jsonrpc":"2.0","id":{},"method":1}',
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"search_messages","arguments":{"query":"\\ud800"}}}',
    ],
)
def test_a_body_that_makes_no_sense_is_an_error_and_no_traceback(raw: Raw, body: bytes) -> None:
    status, text = raw.request(body)
    assert status in (200, 202, 400), text
    assert "Traceback" not in text
    assert "error" in text.lower() or status == 202


@pytest.mark.slow
def test_a_body_that_never_ends_is_cut_off(url: str, connect: Callable[[str], Raw]) -> None:
    slow, chunked = connect(url), connect(url)
    slow.socket.sendall(f"POST /mcp HTTP/1.1\r\nhost: {slow.authority}\r\ncontent-length: 500\r\n\r\n{{".encode())
    chunked.socket.sendall(
        f"POST /mcp HTTP/1.1\r\nhost: {chunked.authority}\r\ntransfer-encoding: chunked\r\n\r\n".encode()
    )
    block = b"40000\r\n" + b" " * 0x40000 + b"\r\n"
    try:
        for _ in range(8):
            chunked.socket.sendall(block)
    except ConnectionError:
        pass  # refused before we had said it all
    else:
        assert chunked.answer()[0] == 413
    began = time.monotonic()
    assert slow.answer()[0] == 408
    assert time.monotonic() - began < 15


@pytest.mark.slow
def test_headers_that_never_end_are_cut_off(url: str, connect: Callable[[str], Raw]) -> None:
    silent, dripping = connect(url), connect(url)
    dripping.socket.sendall(b"POST /mcp HTTP/1.1\r\nhost: x")
    assert silent.is_closed(15)
    assert dripping.is_closed(15)
    enormous = connect(url)
    enormous.socket.sendall(b"POST /mcp HTTP/1.1\r\nx: " + b"y" * 200_000)
    assert enormous.answer()[0] == 400


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text(WORD + "\n")
    path.chmod(0o600)
    return path


def test_without_the_token_nobody_is_answered(answering: Path, token_file: Path, connect: Callable[[str], Raw]) -> None:
    with http_server(answering, "--token-file", token_file) as url:
        for authorization in ("-", "Bearer", "Bearer x", f"Basic {WORD}", f"Bearer {WORD}x", f"Bearer {WORD[:-1]}"):
            status, text = connect(url).request(call_body(), headers={"authorization": authorization})
            assert (status, "Water" in text) == (401, False)
        with assistant_over_http(url, token=WORD) as helper:
            assert helper.call("get_message", message_id=1)["subject"] == "Water everywhere"


def refused(archive: Path, settings: HttpSettings) -> UsageError:
    """What a server says that does not begin to listen."""
    with pytest.raises(UsageError) as caught:
        serve_http(make_server(archive, KeptEmbedders()), settings)
    return caught.value


def test_other_machines_are_let_in_only_where_it_is_said_with_a_token(
    answering: Path, token_file: Path, connect: Callable[[str], Raw]
) -> None:
    assert "--remote" in str(refused(answering, HttpSettings(EVERYWHERE, 0)).hint)
    assert "--token-file" in refused(answering, HttpSettings(EVERYWHERE, 0, remote=True)).message
    options = ("--host", EVERYWHERE, "--remote", "--token-file", token_file, "--allow-host", "mail.example.org")
    with http_server(answering, *options) as url:
        local = url.replace(EVERYWHERE, "127.0.0.1")
        headers = {"authorization": f"Bearer {WORD}"}
        port = urlsplit(url).port
        assert connect(local).request(call_body(), headers=headers)[0] == 421
        assert connect(local).request(call_body(), headers={**headers, "host": f"mail.example.org:{port}"})[0] == 200
        assert connect(local).request(call_body(), headers={"host": f"mail.example.org:{port}"})[0] == 401


@pytest.mark.parametrize(
    ("content", "mode", "why"),
    [
        (WORD, 0o644, "others can read"),
        (WORD, 0o640, "others can read"),
        ("short", 0o600, "holds no token"),
        ("", 0o600, "holds no token"),
        ("two words that are long enough to be one", 0o600, "holds no token"),
        (None, 0o600, "cannot be read"),
    ],
)
def test_a_token_that_others_may_know_is_refused(
    answering: Path, tmp_path: Path, content: str | None, mode: int, why: str
) -> None:
    path = tmp_path / "token"
    if content is not None:
        path.write_text(content)
        path.chmod(mode)
    assert why in refused(answering, HttpSettings(port=0, token_file=path)).message


def test_no_answer_waits_for_its_headers_to_be_acknowledged() -> None:
    with _listen(HttpSettings(port=0)) as listening, socket.create_connection(listening.getsockname()) as _:
        connected, _ = listening.accept()
        with connected:
            assert connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_port_that_is_taken_is_told(answering: Path, url: str) -> None:
    port = str(urlsplit(url).port)
    done = vaultembed_process("mcp", "--http", "--port", port, archive=answering)
    assert (done.returncode, "--port" in done.stderr) == (74, True)
    assert "Traceback" not in done.stderr
