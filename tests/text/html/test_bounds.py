"""What would take a parser minutes and gigabytes is not given to it; what people send is."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import pytest
from resiliparse.parse.html import HTMLTree

from vaultembed.text.html.bounds import TooMuchError, check_bounds
from vaultembed.text.html.to_text import html_to_text
from vaultembed.text.mime.mime import parse_message


def many(piece: str) -> Callable[[int], str]:
    return lambda n: "".join(piece.replace("@", str(number)) for number in range(n))


BOMBS: Final[dict[str, Callable[[int], str]]] = {
    "unclosed in paragraphs": many("<p><font color=@>w"),
    "closed after all": lambda n: many("<p><font color=@>w")(n) + "</font>" * n,
    "unclosed in blocks": many("<div><b class=c@>w</div>"),
    "upper case": many("<P><FONT COLOR=@>w"),
    "in a table, outside its cells": lambda n: "<table>" + many("<b id=@>w<tr>")(n),
    "in one cell": lambda n: "<table><td>" + many("<p><i id=@>w")(n),
    "in list items": many("<li><small id=@>w"),
    "quoted >": many("<p><font title='>' color=@>w"),
    "attributes": lambda n: "<p " + many("a@=1 ")(n) + ">w",
    "attributes behind a quoted >": lambda n: "<p title='>' " + many("a@='<' ")(n) + ">w",
    "attributes behind a stray quote": lambda n: '<p a"b ' + many("a@=1 ")(n) + ">w",
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_is_left_out(bomb: str) -> None:
    with pytest.raises(TooMuchError):
        check_bounds(BOMBS[bomb](20_000))


@pytest.mark.parametrize("bomb", [name for name in BOMBS if "attributes" not in name])
@pytest.mark.parametrize("size", [50, 90, 150, 300, 600])
def test_what_passes_makes_few_elements(bomb: str, size: int) -> None:
    html = BOMBS[bomb](size)
    try:
        check_bounds(html)
    except TooMuchError:
        return
    body = HTMLTree.parse(html).body
    assert body is not None
    assert len(body.query_selector_all("*")) < 25_000


@pytest.mark.parametrize(
    "html",
    [
        many("<p><font color=@>w</font></p>")(20_000),
        many("<p><b><i>w")(2_000),  # alike: of those, three are made anew
        "<table>" + many("<tr><td><font color=@>w")(5_000),
        "<table>" + many("<tr><td><font color=@>w<table><tr><td><b id=@>w</table>")(2_000),
        many("<a href=@>w<br>")(5_000),
        "<div>" * 20_000 + "w",
        "<p " + "title='" + "many words " * 2_000 + "'>w",
    ],
)
def test_what_is_merely_long_passes(html: str) -> None:
    check_bounds(html)
    assert "w" in html_to_text(html)


@pytest.mark.parametrize("tag", ["figure", "label", "button style='color:red'"])
def test_what_is_opened_up_may_not_nest_without_end(tag: str) -> None:
    assert html_to_text(f"<{tag}><div>" * 40 + "w") == "w"
    begin = time.process_time()
    html_to_text(f"<{tag}><table><td>" * 8_000 + "w")
    assert time.process_time() - begin < 3


def test_a_message_keeps_the_rest_and_says_what_is_left_out() -> None:
    html = BOMBS["unclosed in paragraphs"](1_000)
    mime = f"Subject: fonts\nMessage-ID: <f@example.org>\nContent-Type: text/html\n\n{html}\n".encode()
    message = parse_message(mime)
    assert (message.subject, message.body_text) == ("fonts", "")
    assert [problem.kind for problem in message.problems] == ["html-left-out"]
