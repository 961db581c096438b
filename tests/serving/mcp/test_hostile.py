"""Arguments that no assistant would give, enormous conversations, and lines that are no protocol."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mcp import MCPError

from tests.kit.archives import add
from tests.kit.assistant import Assistant, RefusedError, assistant, assistant_here
from tests.kit.mail import mail, mbox
from tests.kit.processes import COMMAND, environment, vaultembed
from vaultembed.archive.database import open_archive
from vaultembed.serving.mcp.arguments import (
    AggregateArguments,
    ListArguments,
    MessageArguments,
    SearchArguments,
    SimilarArguments,
    StatsArguments,
    ThreadArguments,
)

CODES = {
    "invalid_request",
    "invalid_query",
    "message_not_found",
}
SCHEMAS: dict[str, dict[str, Any]] = {
    "search_messages": SearchArguments.model_json_schema(),
    "find_similar_messages": SimilarArguments.model_json_schema(),
    "get_message": MessageArguments.model_json_schema(),
    "get_thread": ThreadArguments.model_json_schema(),
    "list_messages": ListArguments.model_json_schema(),
    "aggregate": AggregateArguments.model_json_schema(),
    "get_stats": StatsArguments.model_json_schema(),
}
TEXTS = st.one_of(
    st.text(max_size=60),
    st.sampled_from(
        [
            "",
            "'; DROP TABLE messages; --",
            '" OR 1=1',
            "from:",
            "before:9999-99-99",
            "after:0000",
            "subject:%",
            'subject:"',
            "NEAR(a b) AND * ^ : -",
            "from:" + "%_\\" * 300,
            "a " * 1_900,
            "label:" + "x" * 900,
            "has:teeth",
            "\x00",
            "\u202e\U000e0041",
            "../../etc/passwd",
        ]
    ),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def fitting(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Values of about the right kind: in the bounds, at their edges, and a little outside."""
    if "anyOf" in schema:
        return st.one_of([fitting(one) for one in schema["anyOf"]])
    if "enum" in schema:
        return st.sampled_from([*schema["enum"], "other"])
    match schema.get("type"):
        case "integer":
            low, high = schema.get("minimum", -5), schema.get("maximum", 100)
            return st.sampled_from([low - 1, low, low + 1, 3, high, high + 1, 2**63, -(2**63)]) | st.integers(1, 12)
        case "boolean":
            return st.booleans()
        case "null":
            return st.none()
    if "pattern" in schema:
        return st.sampled_from(["", "2019", "2019-2", "2019-02-31", "0000", "9999-12-31", "2019\n", "x"]) | TEXTS
    return TEXTS


@st.composite
def calls(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    tool = draw(st.sampled_from(sorted(SCHEMAS)))
    properties: dict[str, Any] = SCHEMAS[tool].get("properties", {})
    arguments = {
        name: draw(st.one_of(fitting(schema), fitting(schema), fitting(schema), JSON))
        for name, schema in properties.items()
        if name in SCHEMAS[tool].get("required", []) or draw(st.integers(0, 2)) == 0
    }
    if draw(st.integers(0, 9)) == 0:
        arguments[draw(st.text(max_size=8))] = draw(JSON)
    return tool, arguments


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("small") / "a.db"
    with open_archive(path) as archive:
        for n in range(12):
            add(archive, f"subject {n}", f"word{n} text", message_id=str(n))
    return path


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(call=calls())
def test_no_arguments_bring_about_a_traceback_or_a_hang(helper: Assistant, call: tuple[str, dict[str, Any]]) -> None:
    tool, arguments = call
    began = time.monotonic()
    refused = None
    try:
        found = helper.call(tool, **arguments)
    except RefusedError as error:
        refused = error
    except UnicodeEncodeError:
        return  # a lone surrogate is no JSON: the client itself cannot send it
    assert time.monotonic() - began < 10
    if refused is None:
        assert len(json.dumps(found)) < 200_000
    else:
        assert refused.code in CODES, (refused.code, refused.message)
        assert len(refused.message) < 3_000


def test_what_is_logged_names_no_argument_and_no_mail(helper: Assistant, answering: Path) -> None:
    helper.call("search_messages", query="flooded kitchen")
    with pytest.raises(RefusedError):
        helper.call("search_messages", query="before:flooded")
    assert answering.with_name("mcp.err").read_text() == ""


@pytest.mark.slow
def test_an_enormous_conversation_comes_in_bounded_parts(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with open_archive(path) as archive:
        first = add(archive, "everyone", "x" * 3_000_000, message_id="0")
        for n in range(1, 3_000):
            add(archive, "Re: everyone", "y" * 500, message_id=str(n), references=("0",), sent_at=n)
    with assistant(path) as helper:
        began = time.monotonic()
        found = helper.call("get_thread", message_id=first, limit=50, characters=4_000)
        assert found["total"] == 3_000
        assert len(json.dumps(found)) < 100_000
        seen = len(found["messages"])
        while found["next_cursor"] is not None and seen < 200:
            found = helper.call("get_thread", message_id=first, limit=50, cursor=found["next_cursor"])
            seen += len(found["messages"])
        assert seen == 200
        thread = found["thread_id"]
        assert len(helper.read(f"thread://{thread}")) < 100_000
        message = helper.call("get_message", message_id=first, characters=20_000)
        assert (message["characters"], message["next_start"]) == (3_000_000, 20_000)
        assert len(helper.read(f"message://{first}")) < 100_000
        assert time.monotonic() - began < 20


def test_a_message_with_endless_lists_is_cut_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    people = ", ".join(f"p{n}@example.org" for n in range(5_000))
    labels = ",".join(f"label{n}" for n in range(3_000))
    box = mbox(tmp_path / "box", [mail("to all", "text", headers=[f"Cc: {people}", f"X-Gmail-Labels: {labels}"])])
    assert vaultembed("import", box, archive=path).returncode == 0
    with assistant_here(path) as helper:
        found = helper.call("get_message", message_id=1)
    assert found["recipients_total"] > 1_000
    assert len(found["recipients"]) == 50
    assert len(found["labels"]) <= 50
    assert len(json.dumps(found)) < 50_000


def test_lines_that_are_no_protocol_are_answered_or_passed_over(small: Path) -> None:
    """Only the protocol comes back, whatever comes in; the end of input ends the server."""
    request = {"jsonrpc": "2.0", "id": 7, "method": "ping"}
    hello = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}},
    }
    lines = [
        "nonsense",
        "{",
        "[]",
        "null",
        "\udcff",
        "[" * 20_000,
        '{"jsonrpc":"2.0","id":3,"method":"no/such"}',
        json.dumps(hello),
        json.dumps({"jsonrpc": "2.0", "method": "notifications/initialized"}),
        json.dumps(request),
    ]
    done = subprocess.run(
        [*COMMAND, "mcp"],
        input="\n".join(lines).encode("utf-8", "surrogateescape") + b"\n",
        env=environment(small),
        capture_output=True,
        timeout=60,
        check=False,
    )
    answers = [json.loads(line) for line in done.stdout.decode().splitlines()]
    assert all(answer["jsonrpc"] == "2.0" for answer in answers)
    assert any(answer.get("id") == 1 and "result" in answer for answer in answers)
    assert b"Traceback" not in done.stderr
    assert done.returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "exit_code"),
    [(signal.SIGTERM, -signal.SIGTERM), pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow)],
)
@pytest.mark.parametrize("options", [(), pytest.param(("--http", "--port", "0"), marks=pytest.mark.slow)])
def test_a_signal_ends_the_server_at_once_and_its_model_with_it(
    answering: Path, options: tuple[str, ...], number: int, exit_code: int
) -> None:
    process = subprocess.Popen(
        [*COMMAND, "mcp", *options],
        env=environment(answering),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    time.sleep(4)
    process.send_signal(number)
    said, wrong = process.communicate(timeout=10)
    assert process.returncode == exit_code
    assert said == b""
    assert b"Traceback" not in wrong


def test_without_the_extra_the_command_says_how_to_install_it(small: Path, tmp_path: Path) -> None:
    code = (
        "import importlib.util, sys; found = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *more: None if name == 'mcp' else found(name, *more)\n"
        "sys.argv = ['vaultembed', 'mcp']\nfrom vaultembed.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(small), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 4
    assert "-m pip install 'mcp>=2,<3'" in done.stderr
    assert done.stdout == ""


def test_only_the_server_loads_the_packages_of_mcp(small: Path) -> None:
    code = (
        "import sys; sys.argv = ['vaultembed', 'stats']\nfrom vaultembed.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print({'mcp', 'mcp_types', 'starlette', 'uvicorn', 'anyio'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(small), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.splitlines()[-1] == "set()"


def test_an_unknown_tool_or_prompt_is_an_error_of_the_protocol(helper: Assistant) -> None:
    with pytest.raises((MCPError, RefusedError, json.JSONDecodeError)):
        helper.call("delete_everything")
    with pytest.raises(MCPError):
        helper.do(lambda: helper.client.get_prompt("nope", {}))
