"""No call runs without end: it is told so, and what it was at really stops."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import anyio
import apsw
import pytest

from tests.kit.archives import add
from tests.kit.assistant import Assistant, RefusedError, assistant, assistant_over_http, http_server
from tests.kit.processes import COMMAND, environment
from vaultembed.archive.damage import damage_behind
from vaultembed.archive.database import explained_errors, open_archive, open_archive_readonly
from vaultembed.archive.mail.statistics import count_archive
from vaultembed.deadline import Deadline, within
from vaultembed.errors import TimedOutError
from vaultembed.serving import time_limited
from vaultembed.serving.mcp.server import SEARCHES_AT_ONCE
from vaultembed.serving.time_limited import Calls

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")

COSTLY = {"by": "sender", "sender": "somebody"}
LONG_TO_FOLD = "\ufdfa" * 7_000
"""A name that is compared without accents: each of these characters is eighteen then."""
PATIENCE = 30.0
"""Half of what the costly call takes."""


@pytest.fixture(scope="module")
def costly(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive of which counting COSTLY takes minutes; nothing else does."""
    path = tmp_path_factory.mktemp("costly") / "a.db"
    with open_archive(path) as archive:
        add(archive, "Hello", "a text", message_id="1")
        with archive.transaction():
            archive.db.executemany(
                "INSERT INTO participants(address, name, domain) VALUES (?, ?, '')",
                [(f"{n}@example.org", LONG_TO_FOLD) for n in range(3_000)],
            )
    return path


def server_of(archive: Path) -> int:
    """The process id of the one server of an archive."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
            variables = (entry / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"mcp" in words and f"VAULTEMBED_ARCHIVE={archive}".encode() in variables:
            found.append(int(entry.name))
    (pid,) = found
    return pid


def busy_seconds(pid: int) -> float:
    """Of processor time, so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def threads(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


def becomes_idle(pid: int) -> bool:
    """Whether it does within a time in which the costly call would not have come to an end."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        before = busy_seconds(pid)
        time.sleep(0.5)
        if busy_seconds(pid) - before < 0.1:
            return True
    return False


def becomes_busy(pid: int) -> bool:
    end, before = time.monotonic() + PATIENCE, busy_seconds(pid)
    while time.monotonic() < end:
        time.sleep(0.1)
        if busy_seconds(pid) - before > 0.5:
            return True
    return False


@pytest.fixture(params=["stdio", "http"])
def limited_server(request: pytest.FixtureRequest, costly: Path) -> Iterator[Assistant]:
    if request.param == "stdio":
        with assistant(costly, "--time-limit", "2") as connected:
            yield connected
    else:
        with http_server(costly, "--time-limit", "2") as url, assistant_over_http(url) as connected:
            yield connected


@pytest.mark.slow
def test_a_call_ends_at_the_limit_and_its_work_with_it(costly: Path, limited_server: Assistant) -> None:
    pid = server_of(costly)

    def is_refused() -> None:
        with pytest.raises(RefusedError, match="longer than 2 seconds") as refused:
            limited_server.call("aggregate", **COSTLY)
        assert refused.value.code == "timed_out"
        assert "narrow" in str(refused.value.hint)

    is_refused()
    before = threads(pid)
    for _ in range(4):  # any that were left at work would have taken all places
        is_refused()
    assert limited_server.call("aggregate", by="type") == {
        "by": "type",
        "messages": 1,
        "groups": [{"key": "email", "messages": 1}],
        "next_cursor": None,
    }
    assert threads(pid) < before + SEARCHES_AT_ONCE
    assert becomes_idle(pid)


@pytest.mark.slow
def test_a_call_that_waited_too_long_for_others_is_told_so_and_never_begins(
    costly: Path, limited_server: Assistant
) -> None:
    codes = []

    async def ask() -> None:
        found = await limited_server.client.call_tool("aggregate", COSTLY)
        codes.append(json.loads(found.content[0].text)["error"]["code"])  # type: ignore[union-attr]

    async def ask_often() -> None:
        async with anyio.create_task_group() as together:
            for _ in range(6):
                together.start_soon(ask)

    limited_server.do(ask_often)
    assert codes == ["timed_out"] * 6
    assert becomes_idle(server_of(costly))


def test_a_client_that_cancels_ends_the_work(costly: Path) -> None:
    with assistant(costly, "--time-limit", "3600") as connected:
        pid = server_of(costly)

        async def ask_and_cancel() -> None:
            async with anyio.create_task_group() as asking:
                asking.start_soon(connected.client.call_tool, "aggregate", COSTLY)
                assert await anyio.to_thread.run_sync(becomes_busy, pid)
                asking.cancel_scope.cancel()

        connected.do(ask_and_cancel)
        assert becomes_idle(pid)
        assert connected.call("aggregate", by="type")["messages"] == 1


@pytest.mark.slow
@pytest.mark.parametrize("version", ["2025-06-18", "2026-07-28"])
def test_a_client_that_hangs_up_ends_the_work(costly: Path, version: str) -> None:
    meta = {
        "io.modelcontextprotocol/protocolVersion": version,
        "io.modelcontextprotocol/clientInfo": {"name": "x", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    params = {"name": "aggregate", "arguments": COSTLY, **({"_meta": meta} if version.startswith("2026") else {})}
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).encode()
    with http_server(costly, "--time-limit", "3600") as url:
        pid, place = server_of(costly), urlsplit(url)
        head = (
            f"POST {place.path} HTTP/1.1\r\nHost: {place.netloc}\r\nContent-Type: application/json\r\n"
            f"Accept: application/json, text/event-stream\r\nMCP-Protocol-Version: {version}\r\n"
            f"Mcp-Method: tools/call\r\nMcp-Name: aggregate\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        with socket.create_connection((str(place.hostname), int(place.port or 0))) as connection:
            connection.sendall(head.encode() + body)
            assert becomes_busy(pid)
            assert not is_answered(connection)
        assert becomes_idle(pid)
        with assistant_over_http(url) as connected:
            assert connected.call("aggregate", by="type")["messages"] == 1


@pytest.mark.slow
def test_a_server_whose_client_goes_in_the_middle_of_a_call_ends(costly: Path) -> None:
    process = subprocess.Popen(
        [*COMMAND, "mcp", "--time-limit", "3600"],
        env=environment(costly),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    asked = [
        {"id": 1, "method": "initialize", "params": {"protocolVersion": "2025-06-18", "capabilities": {}}},
        {"method": "notifications/initialized"},
        {"id": 2, "method": "tools/call", "params": {"name": "aggregate", "arguments": COSTLY}},
    ]
    asked[0]["params"]["clientInfo"] = {"name": "x", "version": "1"}  # type: ignore[index]
    assert process.stdin is not None
    assert process.stdout is not None
    for message in asked:
        process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
        process.stdin.flush()
        if message.get("id") == 1:
            assert b"serverInfo" in process.stdout.readline()
    assert becomes_busy(process.pid)
    process.stdin.close()
    try:
        assert process.wait(PATIENCE) == 0
    finally:
        process.kill()
        process.stdout.close()


def is_answered(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        return bool(connection.recv(1))
    except BlockingIOError:
        return False


@pytest.mark.slow
def test_a_search_that_the_model_is_too_slow_for_ends_and_the_model_stays(answering: Path, tmp_path: Path) -> None:
    archive = Path(shutil.copyfile(answering, tmp_path / "a.db"))  # of which this is the only server
    with assistant(archive, "--time-limit", "8", errors=tmp_path / "err") as connected:
        found = connected.call("search_messages", query="burst pipe", mode="vector")
        pid = server_of(archive)
        (model,) = children_of(pid)
        os.kill(model, signal.SIGSTOP)
        with pytest.raises(RefusedError) as refused:
            connected.call("search_messages", query="animals for children", mode="vector")
        assert refused.value.code == "timed_out"
        again = connected.call("search_messages", query="burst pipe", mode="vector")
        assert [one["id"] for one in again["results"]] == [one["id"] for one in found["results"]]
        os.kill(model, signal.SIGCONT)
        assert connected.call("search_messages", query="a plumber", mode="vector")["results"]
        assert connected.call("search_messages", query="animals for children", mode="vector")["results"]
        assert children_of(pid) == {model}


@pytest.mark.slow
def test_searches_that_are_cancelled_while_the_model_is_at_work_give_their_places_back(
    answering: Path, tmp_path: Path
) -> None:
    archive = Path(shutil.copyfile(answering, tmp_path / "a.db"))
    with assistant(archive, "--time-limit", "3600", errors=tmp_path / "err") as connected:
        connected.call("search_messages", query="burst pipe", mode="vector")
        (model,) = children_of(server_of(archive))
        os.kill(model, signal.SIGSTOP)

        async def ask_and_cancel() -> None:
            async with anyio.create_task_group() as asking:
                for number in range(SEARCHES_AT_ONCE):
                    asking.start_soon(connected.client.call_tool, "search_messages", {"query": f"pipe {number}"})
                await anyio.sleep(1)
                asking.cancel_scope.cancel()
            with anyio.fail_after(PATIENCE):
                found = await connected.client.call_tool("search_messages", {"query": "pipe", "mode": "text"})
            assert not found.is_error

        try:
            connected.do(ask_and_cancel)
        finally:
            os.kill(model, signal.SIGCONT)  # stopped, it would not notice the end of its server


def children_of(pid: int) -> set[int]:
    # a set: the children of a thread that ends pass to another while these are read
    return {int(child) for task in Path(f"/proc/{pid}/task").glob("*/children") for child in task.read_text().split()}


def test_work_that_cannot_be_interrupted_keeps_its_place_and_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time_limited, "_GRACE_SECONDS", 0.1)
    may_end = threading.Event()

    async def ask() -> None:
        calls = Calls(at_once=1, seconds=0.1)
        for ask_for in (lambda: may_end.wait(PATIENCE), lambda: True):
            with pytest.raises(TimedOutError):
                await calls.run(ask_for)
        may_end.set()
        with anyio.fail_after(PATIENCE):
            while True:
                try:
                    assert await calls.run(lambda: "an answer") == "an answer"
                    return
                except TimedOutError:
                    continue  # the first has not come to its end yet

    asyncio.run(ask())


def test_what_a_call_raises_in_the_moment_in_which_it_is_cancelled_is_not_logged() -> None:
    logged = []

    def fail() -> None:
        raise ValueError("Dear Ann")

    def is_at_work() -> bool:
        return any(getattr(task.get_coro(), "__qualname__", "") == "Calls._work" for task in asyncio.all_tasks())

    async def ask() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: logged.append(context))
        asking = asyncio.create_task(Calls(at_once=1).run(fail))
        while not is_at_work():
            await asyncio.sleep(0)
        while is_at_work():
            await asyncio.sleep(0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        del asking
        gc.collect()

    asyncio.run(ask())
    assert logged == []


_FAILING_TASK = """
import asyncio, gc, sys
from pathlib import Path
from vaultembed.serving.model_pool import KeptEmbedders
from vaultembed.serving.mcp.server import make_server

make_server(Path("none.db"), KeptEmbedders())

async def fail(text):
    raise ValueError(text)

async def main():
    task = asyncio.create_task(fail("Dear Ann"))
    await asyncio.sleep(0)
    del task
    gc.collect()
    asyncio.get_running_loop().call_soon(lambda text: [][0], "Dear Ben")
    await asyncio.sleep(0)

asyncio.run(main())
"""


def test_an_error_that_asyncio_logs_is_named_without_its_text() -> None:
    done = subprocess.run([sys.executable, "-c", _FAILING_TASK], capture_output=True, text=True, check=True)
    first, second = done.stderr.splitlines()
    assert first.endswith("ERROR asyncio: Task exception was never retrieved ValueError")
    assert second.endswith("ERROR asyncio: Exception in callback main. IndexError")
    assert "Dear" not in done.stderr


def test_what_comes_after_the_limit_does_not_begin(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with open_archive(path) as archive:
        add(archive, "Hello", "a text", message_id="1")
    deadline = Deadline(3600)
    with within(deadline), open_archive_readonly(path) as archive:
        assert count_archive(archive).messages == 1
        deadline.give_up()
        with pytest.raises(TimedOutError):
            count_archive(archive)


@pytest.mark.parametrize("error", [apsw.InterruptError(), TypeError()])
def test_whatever_fails_once_the_time_is_over_is_told_as_that(tmp_path: Path, error: Exception) -> None:
    with pytest.raises(TimedOutError), within(Deadline(0)), explained_errors(tmp_path / "a.db"):
        raise error
    with pytest.raises(type(error)), within(Deadline(3600)), explained_errors(tmp_path / "a.db"):
        raise error


def test_damage_is_not_looked_for_beyond_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with open_archive(path) as archive:
        for n in range(300):
            add(archive, f"subject {n}", "a text", message_id=str(n))
        archive.db.execute("PRAGMA foreign_keys = OFF")
        archive.db.execute("UPDATE messages SET conversation_id = 999999 WHERE id = 300")
    assert damage_behind(path, TypeError()) is not None
    with within(Deadline(0)):
        assert damage_behind(path, TypeError()) is None
