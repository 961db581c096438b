"""What a warm call costs the MCP server: processor time of the server, of its model's process, and the time waited.

    python -m tests.benchmarks.call_cost ARCHIVE [--calls 40]

ARCHIVE is one as mcp_load makes it (--archive). One client asks, one call after the other: with several, the processor
is what they wait for. Told is the mean of each kind of call.
"""

from __future__ import annotations

import argparse
import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from tests.benchmarks.mcp_load import children, server_pid
from tests.kit.assistant import assistant_over_http, http_server
from vaultembed.archive.database import open_archive_readonly

_TICK: Final = 1000 / os.sysconf("SC_CLK_TCK")


def cpu_ms(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * _TICK


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("archive", type=Path)
    parser.add_argument("--calls", type=int, default=40)
    given = parser.parse_args()
    with open_archive_readonly(given.archive) as archive:
        messages = int(archive.scalar("SELECT max(id) FROM messages"))
        subjects = archive.rows("SELECT subject FROM messages ORDER BY id LIMIT 2000")
    words = sorted({word for (subject,) in subjects for word in subject.split() if word.isalpha()})
    chance = random.Random(1)

    def query() -> str:
        return " ".join(chance.choices(words, k=4))

    kinds: dict[str, tuple[str, Callable[[], dict[str, Any]]]] = {
        "search, both": ("search_messages", lambda: {"query": query()}),
        "search, by meaning": ("search_messages", lambda: {"query": query(), "mode": "vector"}),
        "search, by meaning, filtered": (
            "search_messages",
            lambda: {"query": query(), "mode": "vector", "after": "2008"},
        ),
        "search, by words": ("search_messages", lambda: {"query": query(), "mode": "text"}),
        "similar": ("find_similar_messages", lambda: {"message_id": chance.randint(1, messages)}),
        "get_message": ("get_message", lambda: {"message_id": chance.randint(1, messages)}),
    }
    with http_server(given.archive) as url, assistant_over_http(url) as helper:
        server = server_pid(url)
        helper.call("search_messages", query="hello", mode="vector")
        model = children(server)[0]
        for kind, (tool, arguments) in kinds.items():
            helper.call(tool, **arguments())
            before = cpu_ms(server), cpu_ms(model)
            began = time.perf_counter()
            for _ in range(given.calls):
                helper.call(tool, **arguments())
            waited = 1000 * (time.perf_counter() - began) / given.calls
            own, models = ((cpu_ms(pid) - was) / given.calls for pid, was in zip((server, model), before, strict=True))
            print(f"  {kind:<30} server {own:6.1f} ms  model {models:5.1f} ms  waited {waited:6.1f} ms")


if __name__ == "__main__":
    main()
