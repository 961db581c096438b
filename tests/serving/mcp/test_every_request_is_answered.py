"""Whatever is sent: an answer says what is wrong, to the id where there is one, and the server goes on."""

from __future__ import annotations

import contextlib
import copy
import http.client
import io
import json
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anyio
import pytest

from tests.kit.assistant import Assistant, RefusedError, http_server
from tests.kit.processes import COMMAND, environment
from vaultembed.serving.mcp.incoming import LONGEST_LINE, Lines, RefusedMessageError, check_message

HELLO = {
    "jsonrpc": "2.0",
    "id": 0,
    "method": "initialize",
    "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}},
}
REQUESTS: list[tuple[str, dict[str, Any]]] = [
    ("tools/call", {"name": "list_messages", "arguments": {"sender": "ada", "limit": 2, "after": "2001"}}),
    ("tools/call", {"name": "get_message", "arguments": {"message_id": 1}, "_meta": {"progressToken": 1}}),
    ("resources/read", {"uri": "message://1"}),
    ("prompts/get", {"name": "look_back", "arguments": {"when": "2019"}}),
    ("tools/list", {"cursor": "x"}),
    ("ping", {"_meta": {}}),
]
DEEP = "DEEP"
ODD: list[Any] = ["\ud800", "a\udfff", None, True, -1, 1.5, 2**70, "", "\x00", [], {}, ["\udc80"], {"\ud9ff": 1}, DEEP]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    for key in value if isinstance(value, dict) else ():
        yield (*path, key)
        yield from places(value[key], (*path, key))


def malformed() -> Iterator[dict[str, Any]]:
    """Good requests with one thing in them that is not."""
    for method, params in REQUESTS:
        request = {"jsonrpc": "2.0", "id": 0, "method": method, "params": params}
        for place in places(request):
            for odd in ODD:
                if place == ("method",) and isinstance(odd, str) and odd.isprintable() and not odd.isascii():
                    continue
                changed = copy.deepcopy(request)
                at: Any = changed
                for key in place[:-1]:
                    at = at[key]
                at[place[-1]] = odd
                yield changed


def as_sent(request: dict[str, Any]) -> bytes:
    return json.dumps(request).encode().replace(b'"DEEP"', b"[" * 150 + b"]" * 150)


def numbered() -> Iterator[tuple[Any, bytes]]:
    """The id that the answer is to bear, and the line."""
    for number, request in enumerate(malformed(), 1):
        if request["id"] == 0 and request["id"] is not False:
            request["id"] = number
        sent = request["id"]
        is_id = type(sent) is int or (isinstance(sent, str) and sent != DEEP and sent.isprintable() and sent.isascii())
        yield sent if is_id or sent == "\x00" else None, as_sent(request)


def ask(url: str, body: bytes, headers: Mapping[str, str] = {}, method: str = "POST") -> tuple[int, bytes]:
    with contextlib.closing(http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)) as connection:
        usual = {"content-type": "application/json", "accept": "application/json"}
        connection.request(method, "/mcp", body, {**usual, **headers})
        answer = connection.getresponse()
        return answer.status, answer.read()


def test_every_malformed_request_is_answered_once_over_standard_input(answering: Path) -> None:
    lines = list(numbered())
    wanted = sorted(json.dumps(request_id) for request_id, _ in lines)
    assert len(wanted) > 400
    with subprocess.Popen(
        [*COMMAND, "mcp"], env=environment(answering), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        answers = process.stdout
        process.stdin.write(as_sent({"jsonrpc": "2.0", "id": -1, "method": "tools/list"}) + b"\n")
        process.stdin.flush()
        assert "initialize" in json.loads(answers.readline())["error"]["message"]
        process.stdin.write(json.dumps(HELLO).encode() + b"\n")
        process.stdin.flush()
        assert json.loads(answers.readline())["id"] == 0
        found = []
        for some in range(0, len(lines), 40):
            part = lines[some : some + 40]
            process.stdin.write(b"".join(line + b"\n" for _, line in part))
            process.stdin.flush()
            found += [json.loads(answers.readline()) for _ in part]
        assert sorted(json.dumps(answer["id"]) for answer in found) == wanted
        for answer in found:
            assert "result" in answer or len(answer["error"]["message"]) > 15 or answer["error"]["data"], answer
        process.stdin.write(b'{"jsonrpc":"2.0","id":"last","method":"ping"}\n')
        process.stdin.flush()
        assert json.loads(answers.readline()) == {"jsonrpc": "2.0", "id": "last", "result": {}}


def test_every_malformed_request_is_answered_over_http(url: str) -> None:
    for request_id, line in numbered():
        status, text = ask(url, line)
        assert status in (200, 400), (line[:200], text)
        found = json.loads(text)
        assert found["id"] == request_id, (line[:200], text)
        assert "result" in found or found["error"]["message"], text


TABLE = {
    b"nonsense": (-32700, None),
    b"{": (-32700, None),
    b"\xff\xfe{}": (-32700, None),
    b'\xef\xbb\xbf{"jsonrpc":"2.0","id":1,"method":"ping"}': (-32700, None),
    b'{"jsonrpc":"2.0","id":1,"method":"ping"} x': (-32700, None),
    b"[" * 100_000: (-32700, None),
    b'{"a":' * 100_000: (-32700, None),
    b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":' + b"9" * 5_000 + b"}}": (-32700, None),
    b"[]": (-32600, None),
    b'[{"jsonrpc":"2.0","id":1,"method":"ping"}]': (-32600, None),
    b"null": (-32600, None),
    b'"ping"': (-32600, None),
    b"{}": (-32600, None),
    b'{"id":3}': (-32600, 3),
    b'{"jsonrpc":"1.0","id":"a","method":"ping"}': (-32600, "a"),
    b'{"jsonrpc":"2.0","id":4,"method":"p\xffing"}': (-32600, 4),
    b'{"jsonrpc":"2.0","id":"\xff","method":"ping"}': (-32600, None),
    b'{"jsonrpc":"2.0","id":5,"method":"ping","params":{"\\udfff":1}}': (-32600, 5),
    b'{"jsonrpc":"2.0","id":6,"method":"ping","params":[1]}': (-32600, 6),
    b'{"jsonrpc":"2.0","id":7,"method":"ping","params":{"a":' + b"[" * 101 + b"]" * 101 + b"}}": (-32600, 7),
    b'{"jsonrpc":"2.0","id":true,"method":"ping"}': (-32600, None),
    b'{"jsonrpc":"2.0","id":null,"method":"ping"}': (-32600, None),
    b'{"jsonrpc":"2.0","method":7}': (-32600, None),
}
FINE = [
    b'{"jsonrpc":"2.0","id":1,"method":"ping"}',
    b'{"jsonrpc":"2.0","id":"\\ud83d\\ude00","method":"ping"}',
    '{"jsonrpc":"2.0","id":"é😀","method":"ping"}'.encode(),
    b'{"jsonrpc":"2.0","method":"notifications/initialized"}',
    b'{"jsonrpc":"2.0","id":1,"result":{}}',
    b'{"jsonrpc":"2.0","id":null,"error":{"code":1,"message":"x"}}',
    b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":' + b"[" * 90 + b"]" * 90 + b"}}",
]


@pytest.mark.parametrize("content", TABLE, ids=range(len(TABLE)))
def test_what_is_no_message_is_refused_with_the_id_that_it_has(content: bytes) -> None:
    with pytest.raises(RefusedMessageError) as refused:
        check_message(content)
    answer = refused.value.answer
    assert (answer.error.code, answer.id) == TABLE[content]
    assert '"id":' in answer.model_dump_json(by_alias=True, exclude_unset=True)


@pytest.mark.parametrize("content", FINE, ids=range(len(FINE)))
def test_what_is_a_message_is_let_through(content: bytes) -> None:
    check_message(content)


def test_a_line_that_never_ends_is_passed_over_and_the_next_one_read() -> None:
    class Answers(list[Any]):
        async def send(self, answer: Any) -> None:
            self.append(answer)

    async def read(lines: Lines) -> list[str]:
        return [line async for line in lines]

    for many in (LONGEST_LINE + 1, 2 * LONGEST_LINE + 2, 3 * LONGEST_LINE):
        lines = Lines(io.BytesIO(b"x" * many + b"\n\n" + FINE[0] + b"\n" + FINE[0]))
        lines.answers = Answers()
        assert anyio.run(read, lines) == [FINE[0].decode() + "\n", FINE[0].decode()]
        assert [answer.message.error.code for answer in lines.answers] == [-32600]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"mcp-protocol-version": "1999-01-01"}, 400),
        ({"mcp-protocol-version": "\xff"}, 400),
        ({"mcp-protocol-version": ""}, 400),
        ({"mcp-protocol-version": "2025-06-18, 2025-06-18"}, 400),
        ({"mcp-protocol-version": "2025-03-26"}, 200),
        ({"mcp-session-id": "one of another server"}, 200),
        ({"mcp-session-id": "\xff"}, 200),
    ],
)
def test_versions_that_are_not_spoken_are_named_over_http(url: str, headers: dict[str, str], status: int) -> None:
    found_status, text = ask(url, FINE[0], headers)
    found = json.loads(text)
    assert (found_status, found["id"]) == (status, 1)
    if status == 400:
        assert "2025-06-18" in found["error"]["message"]
        assert "2025-06-18" in found["error"]["data"]["supported"]


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT", "OPTIONS"])
def test_only_post_is_answered_and_nothing_else_waits(url: str, method: str) -> None:
    """In a server without sessions the SDK leaves a GET open, and says nothing, until its time is over."""
    assert ask(url, b"", {"accept": "text/event-stream"}, method) == (405, b"requests are sent with POST\n")


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("mail.example.org", 200),  # as a proxy passes it on that is asked at port 443
        ("mail.example.org:8443", 200),
        ("Mail.Example.Org", 200),
        ("other.example.org:9000", 200),
        ("other.example.org", 421),
        ("other.example.org:9001", 421),
        ("mail.example.org.evil.example", 421),
        ("evil.mail.example.org", 421),
        ("mail.example.org:80:80", 421),
        ("mail.example.org:x", 421),
        ("127.0.0.1", 421),
    ],
)
def test_a_proxy_on_this_machine_may_ask_in_another_name(proxied: str, host: str, status: int) -> None:
    for origin in ({}, {"origin": f"https://{host}"}):
        assert ask(proxied, FINE[0], {"host": host, **origin})[0] == status


@pytest.fixture(scope="module")
def proxied(answering: Path) -> Iterator[str]:
    with http_server(answering, "--allow-host", "mail.example.org", "--allow-host", "other.example.org:9000") as url:
        yield url


def test_arguments_that_are_null_are_not_given(helper: Assistant) -> None:
    given = dict.fromkeys(("sender", "limit", "cursor", "after", "before", "has_attachment", "order"))
    found, same = helper.call("list_messages", **given), helper.call("list_messages")
    assert [message["id"] for message in found["messages"]] == [message["id"] for message in same["messages"]]
    with pytest.raises(RefusedError, match="by: "):
        helper.call("aggregate", by=None)


@pytest.mark.parametrize(
    "after", ["2002-02-03T10:00:00+01:00", "2002-02-03T09:00:00Z", "2002-02-03T09:00:00.000Z", "2002-02-03 10:00"]
)
def test_dates_are_taken_as_they_are_given(helper: Assistant, after: str) -> None:
    dates = [message["date"] for message in helper.call("list_messages", order="oldest")["messages"]]
    assert dates[2] == "2002-02-03T10:00:00+01:00"
    found = helper.call("list_messages", after=after, order="oldest")
    assert [message["date"] for message in found["messages"]] == dates[2:]
    found = helper.call("list_messages", before=after, order="oldest")
    assert [message["date"] for message in found["messages"]] == dates[:2]
