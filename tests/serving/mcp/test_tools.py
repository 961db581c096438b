"""What an assistant gets from each tool, over the real protocol."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from mcp import MCPError

from tests.kit.assistant import Assistant, RefusedError, assistant, assistant_here, assistant_over_http
from tests.kit.mail import many, mbox
from tests.kit.processes import vaultembed, vaultembed_json

TOOLS = {
    "search_messages",
    "find_similar_messages",
    "get_message",
    "get_thread",
    "list_messages",
    "aggregate",
    "get_stats",
}


def subjects(messages: list[dict[str, Any]]) -> list[str]:
    return [message["subject"] for message in messages]


def test_every_tool_is_described_closed_and_read_only(helper: Assistant) -> None:
    tools = helper.do(helper.client.list_tools).tools
    assert {tool.name for tool in tools} == TOOLS
    for tool in tools:
        assert tool.title
        assert tool.description
        assert tool.input_schema["additionalProperties"] is False
        assert tool.output_schema is not None
        assert tool.output_schema["type"] == "object"
        assert tool.annotations is not None
        assert (tool.annotations.read_only_hint, tool.annotations.open_world_hint) == (True, False)
        for name, schema in tool.input_schema.get("properties", {}).items():
            assert schema.get("description"), f"{tool.name}.{name} is not described"
            assert not {"path", "sql"} & set(name.split("_"))
    assert len(json.dumps([tool.model_dump(mode="json", by_alias=True) for tool in tools])) < 40_000


def test_search_finds_by_meaning_and_says_why(helper: Assistant) -> None:
    found = helper.call("search_messages", query="flat under water", limit=2, explain=True)
    assert subjects(found["results"]) == ["Water everywhere", "Plumber"]
    first = found["results"][0]
    assert first["evidence"]["vector_rank"] == 1
    assert first["evidence"]["generation"] == 1
    assert found["not_covered"] == 0
    assert "evidence" in first
    assert helper.call("search_messages", query="zoo")["results"][0]["evidence"] is None


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"sender": "ben@"}, {"Sunday", "Re: Sunday"}),
        ({"recipient": "bob"}, {"Water everywhere", "Sunday", "Invoice 4411", "Re: Sunday", "Plumber"}),
        ({"label": "HOME"}, {"Water everywhere", "Sunday", "Invoice 4411", "Plumber"}),
        ({"after": "2002", "before": "2004-01"}, {"Invoice 4411", "Re: Sunday"}),
        ({"message_type": "email", "sender": "ada", "after": "2003-06-01"}, {"Plumber"}),
        ({"source": "no such box"}, set()),
        ({"has_attachment": True}, set()),
    ],
)
def test_filters_narrow_search_list_and_counts_alike(
    helper: Assistant, filters: dict[str, Any], expected: set[str]
) -> None:
    assert set(subjects(helper.call("search_messages", query="kitchen zoo invoice", **filters)["results"])) == expected
    assert set(subjects(helper.call("list_messages", **filters)["messages"])) == expected
    assert helper.call("aggregate", by="type", **filters)["messages"] == len(expected)


def test_pages_of_a_search_are_one_ranking(helper: Assistant) -> None:
    whole = [found["id"] for found in helper.call("search_messages", query="kitchen")["results"]]
    paged: list[int] = []
    cursor = ""
    for _ in range(10):
        page = helper.call("search_messages", query="kitchen", limit=2, cursor=cursor)
        paged += [found["id"] for found in page["results"]]
        if page["next_cursor"] is None:
            break
        cursor = page["next_cursor"]
    assert paged == whole


def test_a_list_goes_on_where_it_was_whatever_came_meanwhile(tmp_path: Path) -> None:
    archive = tmp_path / "a.db"
    vaultembed("import", mbox(tmp_path / "one", many(5)), archive=archive)
    with assistant_here(archive) as helper:
        first = helper.call("list_messages", limit=3, order="oldest")
        vaultembed("import", mbox(tmp_path / "two", many(2, start=5)), archive=archive)
        second = helper.call("list_messages", limit=50, order="oldest", cursor=first["next_cursor"])
    ids = [message["id"] for message in first["messages"] + second["messages"]]
    assert ids == [1, 2, 3, 4, 5, 6, 7]


def test_similar_messages_need_no_words_in_common_and_leave_out_itself(helper: Assistant) -> None:
    water = helper.call("list_messages", limit=1, order="oldest")["messages"][0]["id"]
    found = helper.call("find_similar_messages", message_id=water, limit=2)
    assert found["results"][0]["subject"] == "Plumber"
    assert water not in [result["id"] for result in found["results"]]


def test_a_body_comes_in_parts_that_make_the_whole(helper: Assistant) -> None:
    message = helper.call("get_message", message_id=1)
    whole = unfenced(message["body"])
    start, parts = 0, []
    while start is not None:
        page = helper.call("get_message", message_id=1, start=start, characters=10)
        parts.append(unfenced(page["body"]))
        start = page["next_start"]
    assert "".join(parts) == whole
    assert len(whole) == message["characters"]
    assert "burst" in whole


def unfenced(text: str) -> str:
    first, _, rest = text.partition("\n")
    assert first.startswith("<untrusted_mail_")
    body, _, last = rest.rpartition("\n")
    assert last == first.replace("<", "</")
    return body


def test_a_thread_is_read_by_any_of_its_messages(helper: Assistant) -> None:
    by_reply = helper.call("get_thread", message_id=4)
    assert subjects(by_reply["messages"]) == ["Sunday", "Re: Sunday"]
    assert helper.call("get_thread", thread_id=by_reply["thread_id"])["total"] == 2
    with pytest.raises(RefusedError) as refused:
        helper.call("get_thread")
    assert refused.value.code == "invalid_request"


def test_counts_by_group(helper: Assistant) -> None:
    groups = helper.call("aggregate", by="sender")["groups"]
    assert groups == [{"key": "ada@example.org", "messages": 3}, {"key": "ben@example.net", "messages": 2}]
    assert [group["key"] for group in helper.call("aggregate", by="year")["groups"]] == [
        "2000",
        "2001",
        "2002",
        "2003",
        "2004",
    ]
    for by in ("domain", "recipient", "month", "label", "source", "type"):
        page = helper.call("aggregate", by=by, limit=1)
        assert page["groups"][0]["messages"] >= 1


def test_statistics_are_those_of_the_command(helper: Assistant, answering: Path) -> None:
    assert helper.call("get_stats") == vaultembed_json("stats", archive=answering)


@pytest.mark.parametrize(
    ("tool", "arguments", "code"),
    [
        ("search_messages", {"query": "before:someday"}, "invalid_query"),
        ("search_messages", {"query": "x", "after": "2019-13"}, "invalid_query"),
        ("search_messages", {"query": "   "}, "invalid_query"),
        ("search_messages", {"query": "x", "path": "/etc/passwd"}, "invalid_request"),
        ("search_messages", {"query": "x", "limit": 51}, "invalid_request"),
        ("search_messages", {"query": "x", "cursor": "AAAA"}, "invalid_request"),
        ("search_messages", {}, "invalid_request"),
        ("get_message", {"message_id": 99}, "message_not_found"),
        ("get_message", {"message_id": 2**60}, "invalid_request"),
        ("find_similar_messages", {"message_id": 99}, "message_not_found"),
        ("get_thread", {"thread_id": 99}, "message_not_found"),
        ("aggregate", {"by": "password"}, "invalid_request"),
    ],
)
def test_what_cannot_be_answered_is_refused_with_a_code(
    helper: Assistant, tool: str, arguments: dict[str, Any], code: str
) -> None:
    with pytest.raises(RefusedError) as refused:
        helper.call(tool, **arguments)
    assert refused.value.code == code
    assert refused.value.hint


def test_a_cursor_belongs_to_its_question(helper: Assistant) -> None:
    cursor = helper.call("search_messages", query="kitchen", limit=1)["next_cursor"]
    with pytest.raises(RefusedError, match="another question"):
        helper.call("search_messages", query="zoo", cursor=cursor)


def test_errors_of_a_life_have_their_codes(tmp_path: Path) -> None:
    archive = tmp_path / "a.db"
    with assistant_here(archive) as helper:
        for tool, arguments in (("get_stats", {}), ("search_messages", {"query": "x"})):
            with pytest.raises(RefusedError) as refused:
                helper.call(tool, **arguments)
            assert refused.value.code == "archive_missing"
        vaultembed("import", mbox(tmp_path / "box", many(3)), archive=archive)
        with pytest.raises(RefusedError) as refused:
            helper.call("search_messages", query="thing", mode="vector")
        assert refused.value.code == "no_active_generation"
        found = helper.call("search_messages", query="word1")
        assert len(found["results"]) == 1
        assert found["notes"][0].startswith("By words only")


def test_resources_and_prompts_are_there(helper: Assistant) -> None:
    text = helper.read("message://1")
    assert "Subject: Water everywhere" in text
    assert "flooded" in text
    assert "Re: Sunday" in helper.read("thread://2")
    for uri in ("message://99", "message://x", "message://1e9", "thread://0", "message://..%2f..%2fetc%2fpasswd"):
        with pytest.raises(MCPError):
            helper.read(uri)
    prompts = {prompt.name for prompt in helper.do(helper.client.list_prompts).prompts}
    assert prompts == {"ask_mail", "sum_up_thread", "look_back"}
    shown = helper.do(lambda: helper.client.get_prompt("look_back", {"when": "2019"}))
    assert "2019" in str(shown.messages[0].content)


def test_a_question_of_which_a_client_passes_on_the_first_word_only_is_told_to_be_longer(helper: Assistant) -> None:
    shown = helper.do(lambda: helper.client.get_prompt("ask_mail", {"question": "When"}))
    assert "archive: When\n\nIf that is only the beginning" in shown.messages[0].content.text  # type: ignore[union-attr]


@pytest.mark.parametrize("mode", ["legacy", "auto", "2026-07-28"])
def test_old_and_new_revisions_of_the_protocol_work_over_both_transports(
    answering: Path, helper: Assistant, url: str, mode: str
) -> None:
    with nullcontext(helper) if mode == "auto" else assistant(answering, mode=mode) as helper:  # which is by "auto"
        assert helper.call("get_message", message_id=1)["subject"] == "Water everywhere"
    with assistant_over_http(url, mode) as helper:
        assert helper.call("get_message", message_id=1)["subject"] == "Water everywhere"
        assert subjects(helper.call("search_messages", query="flat under water", limit=1)["results"]) == [
            "Water everywhere"
        ]
