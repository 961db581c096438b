from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaultembed.text.html.to_text import html_to_text


def test_blocks_break_lines_and_links_keep_their_text() -> None:
    html = "<p>One <a href='http://x.org'>link</a></p><p>two<br>three</p><ul><li>four<li>five</ul><table><tr><td>6<td>7</table>"
    assert html_to_text(html).split() == ["One", "link", "two", "three", "•", "four", "•", "five", "6", "7"]
    assert "two\nthree" in html_to_text(html)
    assert "6\t7" in html_to_text(html)


@pytest.mark.parametrize(
    "hidden",
    [
        "<div style='display:none'>secret</div>",
        "<span style='color:red; DISPLAY : none !important'>secret</span>",
        "<span style='visibility:hidden'>secret</span>",
        "<span style='font-size:0px;line-height:0'>secret</span>",
        "<p hidden>secret</p>",
        "<p style='color:transparent'>secret</p>",
        "<p style='color: rgba(10, 20, 30, 0)'>secret</p>",
        "<p style='color:#fff'>secret</p>",
        "<div style='background:#123456'><p style='color: rgb(18, 52, 86)'>secret</p></div>",
        "<table><tr><td bgcolor=black><font color=#000000>secret</font></td></tr></table>",
        "<p style='position:absolute;left:-9999px'>secret</p>",
        "<p style='text-indent:-5000px'>secret</p>",
        "<div style='max-height:0;overflow:hidden'>secret</div>",
        "<p style='font-size:1px'>secret</p>",
        "<p style='opacity:.01'>secret</p>",
        "<style>/* */ .x, .y {color:red;display:none} @media print{.z{display:none}}</style><p class=x>secret</p>",
        "<style>@media print{.z{a:b}} #q.w{visibility:hidden}</style><p id=q class='v w'>secret</p>",
        "<!-- secret -->",
        "<style>.secret{}</style>",
        "<script>secret()</script>",
        "<img src='http://x.org/p.gif' width=1 height=1 alt='secret'>",
    ],
)
def test_what_a_reader_does_not_see_is_dropped(hidden: str) -> None:
    assert html_to_text(f"<html><body>before {hidden} after</body></html>").split() == ["before", "after"]


def test_a_gap_closing_font_size_on_a_cell_does_not_hide_its_content() -> None:
    html = "<table><tr><td style='font-size:0px'><div style='font-size:16px'>shown</div></td></tr></table>"
    assert html_to_text(html) == "shown"
    assert html_to_text("<p style='font-size:0.9em'>shown</p>") == "shown"


@pytest.mark.parametrize(
    "shown",
    [
        "<table><tr><td bgcolor='#003366'><a style='color:#ffffff'>shown</a></td></tr></table>",
        "<style>.b{background:#000}</style><p class=b style='color:white'>shown</p>",
        "<style>@media (max-width:600px){.desk{display:none}}</style><p class=desk>shown</p>",
        "<style>.x{display:none}</style><p class=x style='display:block'>shown</p>",
        "<style>.x .y{display:none}</style><p class=y>shown</p>",
        "<p style='max-height:0'>shown</p>",
        "<p style='left:-5px;position:relative'>shown</p>",
        "<p style='background-color:#ffffff'>shown</p>",
    ],
)
def test_what_a_reader_may_see_stays(shown: str) -> None:
    assert html_to_text(f"<html><body>{shown}</body></html>") == "shown"


@pytest.mark.parametrize(
    "open_tag",
    ["<blockquote type=cite>", "<blockquote class='gmail_quote'>", "<blockquote style='border-left:2px solid #000'>"],
)
def test_quotes_become_marked_lines(open_tag: str) -> None:
    html = f"<div>own</div>{open_tag}<p>theirs<br>more</p>{open_tag}older</blockquote></blockquote><div>own too</div>"
    lines = [line for line in html_to_text(html).split("\n") if line.strip("> ")]
    assert lines == ["own", "> theirs", "> more", "> > older", "own too"]


def test_an_indenting_blockquote_is_no_quote_unless_somebody_is_quoted() -> None:
    assert html_to_text("<p>see</p><blockquote style='margin:0 0 0 40px;border:none'>indented</blockquote>").endswith(
        "\nindented"
    )
    assert html_to_text("<p>02.04.2012, Ann:</p><blockquote>theirs</blockquote>").endswith("> theirs")


@given(st.text(max_size=200))
def test_any_string_is_html(html: str) -> None:
    html_to_text(html).encode()


@given(
    st.lists(
        st.sampled_from(
            [
                "<blockquote type=cite>",
                "</blockquote>",
                "<p>",
                "</p>",
                "<td>",
                "x",
                "\ufdd0",
                "&#xfdd2;",
                "&#xfdd0;",
                "<pre>",
                "\n",
            ]
        )
    )
)
def test_unbalanced_quotes_lose_no_word(pieces: list[str]) -> None:
    html = "".join(pieces)
    assert html_to_text(f"<body>{html}").count("x") == html.count("x") - html.count("&#x")


@pytest.mark.parametrize(
    "html",
    [
        "<blockquote type=cite>" * 50_000 + "x\n" * 1000,
        "<p style='display:none'>" * 50_000,
        "<p style='color:#fff'>" * 50_000,
        "<style>" + "a" * 1_000_000 + "</style>",
        "<style>" + "/*" * 200_000 + "@media{" * 50_000 + "</style>",
        "<style>" + ".a,.b,.c{display:none}" * 5_000 + "</style>" + "<p class='a b c'>" * 50_000,
        "<td style='font-size:0'>" * 50_000,
        "<i>" * 200_000,
        "<table><tr><td>" * 50_000,
        "&nbsp;\u200c" * 300_000,
        "<" * 1_000_000,
        "<a b='" * 200_000,
        " \t" * 500_000,
    ],
)
@pytest.mark.slow
def test_hostile_html_takes_seconds_at_most(html: str) -> None:
    begin = time.process_time()
    html_to_text(html)
    assert time.process_time() - begin < 8
