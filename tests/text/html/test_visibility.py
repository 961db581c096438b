"""What HTML hides, and what it does not: by style, sheet, cascade, colour, size and place."""

from __future__ import annotations

import time
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaultembed.text.html.bounds import TooMuchError
from vaultembed.text.html.colours import BLACK, WHITE, attribute_colour, contrast, css_colour
from vaultembed.text.html.stylesheets import parse_sheet, parse_style
from vaultembed.text.html.to_text import html_to_text


def page(part: str, doctype: str = "<!DOCTYPE html>") -> str:
    return f"{doctype}<html><body>before {part} after</body></html>"


@pytest.mark.parametrize(
    "part",
    [
        # by a sheet, whatever the selector
        "<style>.x .y{display:none}</style><div class=x><p class=y>secret</p></div>",
        "<style>div > p + p{display:none}</style><div><p></p><p>secret</p></div>",
        "<style>p[data-k='1']{display:none}</style><p data-k=1>secret</p>",
        "<style>p:not(.k){display:none}</style><p>secret</p>",
        "<style>td:nth-child(2){display:none}</style><table><tr><td><td>secret</table>",
        "<style>#a#b, .none, #x{visibility:hidden}</style><p id=x>secret</p>",
        "<style>*{color:inherit} .x{.y{display:none}}</style><p class=x><b class=y>secret</b></p>",
        "<style>.y{.x &{display:none}}</style><p class=x><b class=y>secret</b></p>",
        # by writing it another way
        "<style>.x{d\\69splay:/* */none}</style><p class=x>secret</p>",
        "<p style='dis\\70 lay: none'>secret</p>",
        "<p style='color:red;/*;*/display:none'>secret</p>",
        "<style>:root{--d:none}</style><p style='display:var(--d)'>secret</p>",
        "<p style='display:var(--nothing, none)'>secret</p>",
        "<style>.x{display:block} .x{display:none}</style><p class=x>secret</p>",
        "<style>p.x{display:none} .x{display:block}</style><p class=x>secret</p>",
        "<style>.x{display:none !important}</style><p class=x style='display:block'>secret</p>",
        "<style>.x{display:none}</style><style media='print'>.x{display:block}</style><p class=x>secret</p>",
        "<style>/*</style><style>.x{display:none}</style><p class=x>secret</p>",
        "<style>body{& div{&.x{display:none}}}</style><div class=x>secret</div>",
        "<style>.x{@media screen{display:none}}</style><p class=x>secret</p>",
        "<style>.x::-webkit-scrollbar, .x{display:none}</style><p class=x>secret</p>",
        "<style>.x:defined{display:none}</style><p class=x>secret</p>",
        "<style>a:visited, .x{display:none}</style><p class=x>secret</p>",
        # by what comes after it and is nothing
        "<p style='display:none;display:foo'>secret</p>",
        "<p style='display:none;display:inline-block\\9'>secret</p>",
        "<p style='display:none;display:block !ie'>secret</p>",
        "<p style='color:#fff;color:foo'>secret</p>",
        "<p style='color:#fff;color:000'>secret</p>",
        "<p style='font-size:0;font:bold 14px'>secret</p>",
        "<p style='background:#000 foo;color:#fff'>secret</p>",
        "<p style='opacity:0;opacity:x'>secret</p>",
        "<p style='opacity:0;opacity:auto'>secret</p>",
        "<p style='font-size:0;font-size:auto'>secret</p>",
        "<p style='font-size:0;font-size:-12px'>secret</p>",
        "<p style='height:0;height:small;overflow:hidden'>secret</p>",
        "<p style='max-height:0;max-height:auto;overflow:hidden'>secret</p>",
        "<p style='text-indent:-999px;text-indent:none'>secret</p>",
        "<p style='height:0px;height:99;overflow:hidden'>secret</p>",
        # on a screen like any other
        "<style>@media (1px<width<9000px){.x{display:none}}</style><p class=x>secret</p>",
        "<style>@media (not (max-width:1px)){.x{display:none}}</style><p class=x>secret</p>",
        "<style>@media screen{.x{display:none}}</style><p class=x>secret</p>",
        "<style>@media only screen and (min-width:600px){.x{display:none}}</style><p class=x>secret</p>",
        "<style>@media print, (width >= 40em){.x{display:none}}</style><p class=x>secret</p>",
        "<style>@media not print{.x{display:none}}</style><p class=x>secret</p>",
        "<style>@supports (display:grid){@media all{.x{display:none}}}</style><p class=x>secret</p>",
        "<style media='screen'>.x{display:none}</style><p class=x>secret</p>",
        # by colour
        "<p style='color:#fefefe'>secret</p>",
        "<p style='color:#eeeeee'>secret</p>",
        "<font color=fffff8>secret</font>",
        "<p style='color:hsl(60, 100%, 99%)'>secret</p>",
        "<p style='color:rgb(255 255 255 / 90%)'>secret</p>",
        "<p style='color:rgba(0,0,0,.05)'>secret</p>",
        "<style>.b{background:#000} .t{color:#101010}</style><div class=b><p class=t>secret</p></div>",
        "<div style='color:#fff'><table><tr><td bgcolor=white>secret</td></tr></table></div>",
        "<div style='background:#000;color:#fff'><p style='background:#fffffe'>secret</p></div>",
        "<p style='color:#fff;background:rgba(255,0,0,.03)'>secret</p>",
        "<p style='background:linear-gradient(#fff, #f8f8f8);color:#fafafa'>secret</p>",
        "<p style='background:url(none.png);color:#fff'>secret</p>",
        "<p style='background:linear-gradient(#fff 100%, #000);color:#fff'>secret</p>",
        "<p style='background:linear-gradient(#000, #fff 0%);color:#fff'>secret</p>",
        "<p style='-webkit-text-fill-color:transparent'>secret</p>",
        "<p style='-webkit-text-fill-color:#fff'>secret</p>",
        "<a href=x style='color:white'>secret</a>",
        "<font color=white><div>secret</div></font>",
        "<div style='color:white'><a name=x>secret</a></div>",
        "<div bgcolor=#000000><font color=#ffffff>secret</font></div>",
        "<span style='background:#000'><p style='color:#fff'>secret</p></span>",
        "<div style='background:#000;height:0;color:#fff'>secret</div>",
        "<div style='background:#000;display:contents;color:#fff'>secret</div>",
        "<p style='color:#fff;text-shadow:0 0 0 #fff'>secret</p>",
        "<p style='color:transparent;text-shadow:0 0 0 #000'>secret</p>",
        "<p style='color:transparent;background:linear-gradient(#fff,#fff);background-clip:text'>secret</p>",
        "<p style='color:#fff;background:linear-gradient(#000,#000) no-repeat 0 0/0 0'>secret</p>",
        "<p style='color:oklch(100% 0 0)'>secret</p>",
        "<p style='color:lab(100% 0 0)'>secret</p>",
        "<p style='color:color(display-p3 1 1 1)'>secret</p>",
        "<p style='color:window'>secret</p>",
        "<p style='opacity:.12;color:#aaa'>secret</p>",
        "<p style='opacity:.5;color:red;background:currentcolor'>secret</p>",
        # by size
        "<p style='font-size:calc(16px - 16px)'>secret</p>",
        "<p style='font-size:min(0px, 1em)'>secret</p>",
        "<p style='opacity:calc(1 - 1)'>secret</p>",
        "<p style='-webkit-filter:opacity(0)'>secret</p>",
        "<p style='block-size:0;overflow:hidden'>secret</p>",
        "<p style='contain:paint;height:0'>secret</p>",
        "<p style='transform:matrix(0,0,0,0,0,0)'>secret</p>",
        "<p style='transform:rotateX(90deg)'>secret</p>",
        "<div style='height:18px;line-height:60px;overflow:hidden'>secret</div>",
        "<span style='font:0/0 a'>secret</span>",
        "<span style='font-size:.1em'>secret</span>",
        "<div style='font-size:20%'><span style='font-size:50%'>secret</span></div>",
        "<p style='font-size:3px'>secret</p>",
        "<p style='transform:scale(.01)'>secret</p>",
        "<p style='opacity:.2'><b style='opacity:.2'>secret</b></p>",
        "<p style='filter:opacity(2%)'>secret</p>",
        "<div style='height:1px;overflow:hidden'>secret</div>",
        "<div style='line-height:0;overflow:hidden'>secret</div>",
        "<div style='width:0;overflow-x:hidden'>secret</div>",
        "<p style='letter-spacing:-1em'>secret</p>",
        # by place
        "<p style='position:fixed;top:-200px'>secret</p>",
        "<p style='position:absolute;right:9999px'>secret</p>",
        "<p style='position:absolute;left:-100%'>secret</p>",
        "<p style='margin-left:-9999px'>secret</p>",
        "<p style='margin:0 0 0 -9999px'>secret</p>",
        "<p style='transform:translate(-9999px, 0)'>secret</p>",
        "<p style='position:absolute;clip:rect(0 0 0 0)'>secret</p>",
        "<p style='clip-path:inset(50%)'>secret</p>",
        "<p style='clip-path:inset(0 0 100% 0)'>secret</p>",
        "<p style='clip-path:circle(0)'>secret</p>",
        "<p style='clip-path:polygon(0 0, 0 0, 0 0)'>secret</p>",
        "<div style='background:#eee'><p style='position:relative;z-index:-1'>secret</p></div>",
        "<p style='content-visibility:hidden'>secret</p>",
        "<div style='height:20px;overflow:hidden'>&nbsp;<br><br><br>secret</div>",
        "<div style='max-height:1.5em;overflow-y:clip'><p>&nbsp;</p><p></p><p>&nbsp;<p>&nbsp;</p><p>secret</p></div>",
        "<div style='height:40px;overflow:hidden'><p style='margin-top:100px'>secret</p></div>",
        "<div style='height:40px;overflow:hidden'><div style='padding:50px 0'></div>secret</div>",
        "<p style='margin-inline-start:-9999px'>secret</p>",
        "<p style='margin-inline:-9999px 0'>secret</p>",
        "<p style='margin-right:-9999px;text-align:right'>secret</p>",
        "<p style='position:absolute;inset-inline:auto 9999px'>secret</p>",
        "<p style='position:absolute;inset-block:-9999px'>secret</p>",
        "<p style='overflow-block:hidden;height:0'>secret</p>",
        "<p style='overflow-block:hidden;max-block-size:0'>secret</p>",
        "<p style='left:calc(0px - 9999px);position:absolute'>secret</p>",
        "<p style='position:fixed;left:1300px'>secret</p>",
        "<p style='text-indent:100%;white-space:nowrap;overflow:hidden'>secret</p>",
        # by what is not computed
        *(
            f"<p style='{style}'>secret</p>"
            for style in (
                "clip-path:inset(5px)",
                "clip-path:url(#none)",
                "clip:rect(0,0,0,0)",
                "mask:linear-gradient(transparent,transparent)",
                "-webkit-mask-image:linear-gradient(#0000,#0000)",
                "transform:rotate(90deg)",
                "-webkit-transform:scale(0)",
                "transform:translateZ(0) scaleX(0)",
                "transform:none;transform:skewX(90deg)",
                "rotate:y 90deg",
                "scale:0",
                "translate:-9999px",
                "offset-path:path('M -9999 0 h 1')",
                "filter:contrast(0)",
                "filter:alpha(opacity=0)",
                "filter:brightness(9)",
                "mix-blend-mode:lighten",
                "animation:gone 1s forwards",
                "zoom:1%",
                "zoom:.01",
                "content:url(x.png)",
                "font-size-adjust:0",
                "word-spacing:-99em",
                "-webkit-text-security:disc",
                "-webkit-text-stroke:9px #fff",
                # nor are functions
                "color:color-mix(in srgb, white, white)",
                "color:rgb(from white r g b)",
                "color:light-dark(#fff,#000)",
                "background:color-mix(in srgb, black, black)",
                "display:if(else:none)",
                "font-size:attr(data-x px)",
                "opacity:--nothing()",
                "font-size:round(down, 1px, 2px)",
                "margin-left:calc(-infinity * 1px)",
                "position:absolute;left:calc(50% - 9999px)",
                "font-size:calc(1% - 1px)",
            )
        ),
        "<style>@layer b,a; @layer a{.x{display:none}} @layer b{.x{display:block}}</style><p class=x>secret</p>",
        "<style>.x{display:none} @scope (.never){.x{display:block}}</style><p class=x>secret</p>",
        "<style>.x{color:#fff} @container (width<1px){.x{color:#000}}</style><p class=x>secret</p>",
        "<style>@starting-style{.x{opacity:0}}</style><p class=x>secret</p>",
        "<style>@media (update:fast){.x{display:none}}</style><p class=x>secret</p>",
        "<style>@media (unheard-of:1){.x{display:none}}</style><p class=x>secret</p>",
        "<style>.x{display:none} @media (unheard-of:1){.x{display:block}}</style><p class=x>secret</p>",
        "<style>.x{display:none}</style><style media='(unheard-of:1)'>.x{display:block}</style><p class=x>secret</p>",
        "<style>.x{display:none} @supports (unheard-of:1){.x{display:block}}</style><p class=x>secret</p>",
        "<div style='color:#fff'><p style='color:#000;color:var(--none)'>secret</p></div>",
        "<p style='--a:initial;display:var(--a,none)'>secret</p>",
        (
            "<style>@property --a{syntax:'*';inherits:true;initial-value:none} .x{display:var(--a)}</style>"
            "<p class=x>secret</p>"
        ),
        "<p style='font-size:env(nothing, 0px)'>secret</p>",
        (
            "<div style='display:-webkit-box;-webkit-box-orient:vertical;-webkit-line-clamp:1;overflow:hidden'>"
            "&nbsp;<br><br><br>secret</div>"
        ),
        # by what is around it
        "<div style='background:#000'>secret</div>",
        "<div style='background:#000'><a href=x style='background:#0000ee'>secret</a></div>",
        "<body link=white><a href=x>secret</a>",
        "<span style='background:#000;color:#fff'><p style='margin:0'>secret</p></span>",
        "<div style='background:#000;color:#fff'><p style='color:initial'>secret</p></div>",
        # by what it is
        "<progress>secret</progress>",
        "<div popover>secret</div>",
        "<iframe>secret</iframe>",
        "<noframes>secret</noframes>",
        "<dialog>secret</dialog>",
        "<datalist><option>secret</datalist>",
        "<canvas>secret</canvas>",
        "<div hidden=until-found>secret</div>",
    ],
)
def test_hidden_text_is_dropped(part: str) -> None:
    assert html_to_text(page(part)).split() == ["before", "after"]


@pytest.mark.parametrize(
    "part",
    [
        "<style>.x .y{display:none}</style><p class=y>shown</p>",
        "<style>.x{display:none} p.x{display:block}</style><p class=x>shown</p>",
        "<style>.x{display:none} .x:hover{display:block}</style><p>shown</p>",
        "<style>p::before{color:#fff} a:hover{display:none}</style><p>shown</p>",
        "<p style='z-index:-1'>shown</p>",
        "<p style='display:no/**/ne'>shown</p>",
        "<style>p:hover{display:none}</style><p>shown</p>",
        "<style>@media print{.x{display:none}}</style><p class=x>shown</p>",
        "<style>@media (prefers-color-scheme:dark){.x{color:#fff}}</style><p class=x>shown</p>",
        "<style>@media screen and (max-width:600px){.x{display:none}}</style><p class=x>shown</p>",
        "<style>@media (unheard-of:1){.x{color:#00f}}</style><p class=x>shown</p>",
        "<style>@media (-ms-high-contrast:none){.x{display:none}}</style><p class=x>shown</p>",
        "<style>@supports not (display:grid){.x{display:none}}</style><p class=x>shown</p>",
        "<style media=print>.x{display:none}</style><p class=x>shown</p>",
        "<style>@font-face{font-family:x;display:none}</style><p>shown</p>",
        "<div style='visibility:hidden'><p style='visibility:visible'>shown</p></div>",
        "<div style='color:#fff'><p style='background:#000'>shown</p></div>",
        "<div style='color:#fff'><a href=x>shown</a></div>",
        "<div style='font-size:0'><p style='font-size:12px'>shown</p></div>",
        "<p style='color:#ccc'>shown</p>",
        "<p style='color:yellow'>shown</p>",
        "<p style='background:linear-gradient(#fff, #000);color:#fff'>shown</p>",
        "<p style='background:linear-gradient(red, blue);background-clip:text;color:transparent'>shown</p>",
        "<body bgcolor=#003366 text=#ffffff><p>shown</p>",
        "<p style='font:bold 12px/0 a'>shown</p>",
        "<p style='font:100 12px a'>shown</p>",
        "<p style='margin-left:1.5in;text-indent:-1.5in'>shown</p>",
        "<p style='position:absolute;left:-20px'>shown</p>",
        "<p style='position:absolute;left:800px'>shown</p>",
        "<p style='max-width:0;height:0'>shown</p>",
        "<p style='opacity:.5'>shown</p>",
        "<p style='zoom:0'>shown</p>",
        "<p style='color:unheard-of(1)'>shown</p>",
        "<p style='color:lab(50% 0 0)'>shown</p>",
        "<dialog open>shown</dialog>",
        "<label>shown</label>",
        "<button>shown</button>",
        "<figure><figcaption>shown</figcaption></figure>",
        "<div style='color:#fff;font-size:0'><button>shown</button></div>",
        # what does nothing
        *(
            f"<p style='{style}'>shown</p>"
            for style in (
                "clip-path:none",
                "clip:auto",
                "mask:none",
                "-webkit-mask-image:none",
                "transform:none",
                "transform:translateZ(0)",
                "-webkit-transform:translate3d(0, 0px, 0) scale(1)",
                "transform:rotate(0deg)",
                "transform:inherit",
                "transform:scale(0);transform:initial",
                "translate:0",
                "scale:1",
                "filter:alpha(opacity=100)",
                "filter:progid:DXImageTransform.Microsoft.gradient(startColorstr=#80ffffff,endColorstr=#80ffffff)",
                "filter:none",
                "filter:opacity(1)",
                "mix-blend-mode:normal",
                "animation:none",
                "zoom:1",
                "zoom:100%",
                "content:none",
                "content-visibility:auto",
                "word-spacing:0px",
                "word-spacing:-.5px",
                "letter-spacing:-.02em",
                "letter-spacing:normal",
                "contain:layout",
                "font-size-adjust:none",
                "-webkit-text-stroke:0",
                "-webkit-text-size-adjust:none;mso-table-lspace:0pt;transition:all .3s",
                "-moz-transform:scale(0)",
                "color:#000;color:var(--none)",
                "padding:env(safe-area-inset-top) 9px",
                "width:calc(100% - 20px);overflow:auto",
            )
        ),
        "<style>@layer a{.x{color:#000}}</style><p class=x>shown</p>",
        "<div style='background:#000;color:#fff'>shown</div>",
        "<div style='background:#000'><a href=x style='color:#fff'>shown</a></div>",
        "<table bgcolor=#336699><tr><td style='color:#fff'>shown</table>",
        # as mail is written
        "<a style='background:#556270;color:#fff;mso-hide:all'>shown</a>",
        "<div style='overflow:hidden;line-height:0'><div style='line-height:20px'>shown</div></div>",
        "<table><tr><td style='max-width:0;width:100%;overflow:hidden'>shown</table>",
        "<table><tr><td style='height:1px;overflow:hidden'>shown</table>",
        "<span style='max-height:0;overflow:hidden'>shown</span>",
        "<div style='width:1px;min-width:100%;overflow:hidden'>shown</div>",
        "<div style='height:0;min-height:50px;overflow:hidden'>shown</div>",
        "<div style='height:1%;overflow:hidden'>shown</div>",
        "<div style='position:absolute;left:50%;margin-left:-500px;width:1000px'>shown</div>",
        "<div style='margin:0 -5000px;padding:0 5000px'>shown</div>",
        "<p style='color:#fff;background:#000;background:#fff\\9'>shown</p>",
        "<p style='color:#fff;background:#000;background:-ms-linear-gradient(#fff,#fff)'>shown</p>",
        "<p style='color:windowtext;background:window'>shown</p>",
        "<div style='font-size:0'><font size=3>shown</font></div>",
        "<div style='font-size:0'><p style='font-size:calc(12px + 2px)'>shown</p></div>",
        "<div style='font-size:0'><p style='font:caption'>shown</p></div>",
        "<style media='screen and (max-width:9px)'>.x{display:none}</style><p class=x>shown</p>",
        "<style>@supports (-webkit-touch-callout:none){.x{display:none}}</style><p class=x>shown</p>",
        "<style>@media print{</style><style>.b{background:#000}</style><a class=b style='color:#fff'>shown</a>",
        "<style>.x, :foo(1){display:none}</style><p class=x>shown</p>",
        "<details><summary></summary>shown</details>",
    ],
)
def test_what_can_be_seen_stays(part: str) -> None:
    assert html_to_text(page(part)).split() == ["before", "shown", "after"]


def test_text_hidden_within_a_word_leaves_no_gap_in_it() -> None:
    assert html_to_text("<body>vi<b style='font-size:0'>xyz</b>agra and <i style='color:#fff'> q </i>more") == (
        "viagra and more"
    )


def test_a_table_takes_the_colour_around_it_only_where_a_browser_lets_it() -> None:
    part = "<font color=white><table><tr><td>text</table></font>"
    assert "text" in html_to_text(page(part, doctype=""))
    for standards in (
        "<!DOCTYPE html>",
        "<!-- x --><!doctype HTML PUBLIC '-//W3C//DTD HTML 4.01//EN' 'http://www.w3.org/'>",
    ):
        assert "text" not in html_to_text(page(part, standards))
    dark = "<body text=white><div style='color:black'><table><tr><td>text</table></div>"
    assert "text" not in html_to_text(dark)
    assert "text" not in html_to_text("<div style='color:white;background:black'><table><tr><td>text</table></div>")


def test_of_a_box_that_cuts_only_what_is_surely_below_its_edge_is_dropped() -> None:
    cut = "<div style='height:20px;overflow:hidden'>{}</div>"
    assert html_to_text(cut.format("shown " * 60)).split() == ["shown"] * 60
    assert "secret" not in html_to_text(cut.format("shown " * 300 + "secret"))
    cells = "<table><tr><td>one<br>two<td>three</td></tr></table>"
    assert html_to_text(page(cut.replace("20", "40").format(cells))).split() == [
        "before",
        "one",
        "two",
        "three",
        "after",
    ]
    beside = "<p style='float:left'>a<br>b</p><p style='display:inline-block'>c</p>"
    assert html_to_text(cut.format(beside)).split() == ["a", "b", "c"]
    scrolled = "<div style='height:20px;overflow:auto'>a<br>b<br>c<br>d</div>"
    assert html_to_text(scrolled).split() == ["a", "b", "c", "d"]


def test_only_what_is_hidden_of_an_element_is_dropped() -> None:
    html = "<div style='color:#fff'>secret <p style='color:#000'>shown</p> secret <b>secret</b></div>"
    assert html_to_text(page(html)).split() == ["before", "shown", "after"]


def test_a_style_without_anything_odd_is_read_as_the_library_reads_it() -> None:
    plain = parse_style(" Color : RED ;display:none!important; font-size: 12px ;;x")
    odd = parse_style("/**/ Color : RED ;display:none!important; font-size: 12px ;;x")
    assert plain == odd
    assert [(one.name, one.value, one.important) for one in plain] == [
        ("color", "red", False),
        ("display", "none", True),
        ("font-size", "12px", False),
    ]


@given(st.text(alphabet="abc-:;! \t\n#0129px%,.@important", max_size=60))
def test_both_ways_to_read_a_style_agree(style: str) -> None:
    assert parse_style(style) == parse_style(style + ";/**/")


@given(st.text(alphabet="ab.#{}()[]:;,@>+~*\\\"'/-! mediascreen", max_size=80))
def test_any_string_is_a_sheet(sheet: str) -> None:
    with suppress(TooMuchError):
        parse_sheet(sheet)
    html_to_text(f'<style>{sheet}</style><p class=a id=b style="{sheet}">x')


_COLOURED = st.sampled_from(
    [
        "color:#fff",
        "color:#000",
        "color:red",
        "color:inherit",
        "color:initial",
        "color:currentcolor",
        "background:#000",
        "background:#fff",
        "background:blue",
        "background:none",
        "background-color:#eee",
        "-webkit-text-fill-color:#fff",
        "display:block",
        "display:contents",
        "float:left",
        "height:2px",
        "margin:0",
        "font-size:1.2em",
        "text-shadow:0 0 1px red",
        "position:relative;z-index:1;left:5px",
        "text-indent:-9px;line-height:0",
        "all:initial",
        "visibility:visible;opacity:1;transform:none",
        "background:url(x) no-repeat #fff",
    ]
)
_ELEMENTS = st.recursive(
    st.sampled_from(["word", "<br>", "<img src=x>"]),
    lambda inside: st.builds(
        lambda tag, styles, parts: f"<{tag} style='{';'.join(styles)}'>{''.join(parts)}</{tag.split()[0]}>",
        st.sampled_from(
            ["p", "div", "span", "b", "a href=x", "font color=white", "table><tr><td", "mark", "p class=x"]
        ),
        st.lists(_COLOURED, max_size=2),
        st.lists(inside, max_size=3),
    ),
    max_leaves=12,
)


@given(st.lists(_ELEMENTS, max_size=3), st.lists(_COLOURED, max_size=2), st.sampled_from(["", "<!DOCTYPE html>"]))
def test_a_page_in_which_only_colours_hide_reads_as_if_all_of_it_were_looked_at(
    parts: list[str], styles: list[str], doctype: str
) -> None:
    html = f"{doctype}<style>.x, b{{{';'.join(styles)}}}</style><body>{''.join(parts)}"
    all_of_it = html + "<p style='opacity:.5'></p>"
    assert html_to_text(html).split() == html_to_text(all_of_it).split()


def test_the_more_specific_and_the_later_rule_is_the_stronger() -> None:
    sheet = "#a{color:red} p{color:red} .c, p.c{color:red} a{margin-top:0;border:0}"
    rules = sorted(parse_sheet(sheet), key=lambda rule: rule.weight)
    assert [rule.selector for rule in rules] == ["p", "a", ".c", "p.c", "#a"]
    assert [one.name for one in rules[1].declarations] == ["margin-top"]


@pytest.mark.parametrize(
    "style",
    ["height:9e999px", "height:90px;width:9e999px", "height:90px;font-size:9e999px", "height:90px;padding:9e999px 0"],
)
def test_numbers_beyond_all_bounds_are_numbers(style: str) -> None:
    html_to_text(f"<div style='overflow:hidden;{style}'>text <b>more</b><br>x")


@pytest.mark.parametrize(
    "styles",
    [
        "<style>" + "".join(f"p ~ q{{color:#{n:06x}}}" for n in range(50)) + "HIDE</style>" + "<q></q>" * 40_000,
        "<style>" + "a{color:red}" * 6_000 + "HIDE</style>",
        "<style>" + " " * 400_000 + "HIDE</style>",
        "<style></style>" + "<style>a{color:red}</style>" * 300 + "<style>HIDE</style>",
        "<style>" + "@media screen{" * 20 + "HIDE" + "}" * 20 + "</style>",
        "<style>" + "p{" * 20 + "HIDE" + "}" * 20 + "</style>",
        "<style>" + "* " * 200 + "a,HIDE</style>",
        "<style>:root{" + "".join(f"--a{n}:1;" for n in range(600)) + "--a:none} .x{display:var(--a)}</style>",
        "<style>.x{font-size:" + "calc(" * 30 + "0px" + ")" * 30 + "}</style>",
    ],
)
def test_of_styles_that_are_too_much_nothing_is_shown_and_that_is_told(styles: str) -> None:
    """Else a sender need only write more of them for what they hide to be let through."""
    text = html_to_text(styles.replace("HIDE", ".x{display:none}") + "<p class=x>secret")
    assert "secret" not in text
    assert text == "" or "left out" in text


@pytest.mark.parametrize(
    "styles",
    [
        "<style>" + "p>" * 1_000 + "p{p{color:red}}</style>",
        "<style>" + ".x " * 60 + "{" + "& b{" * 5 + "color:red}</style>",
        "<style>:is(" + "* " * 90 + "){color:red}</style>" * 60,
        "<style>p{width:" + "0" * 5_000 + "!}</style>",
        "<p style='width:" + "0" * 5_000 + "!'>",
        "<style media='(width:" + "1" * 5_000 + ")'>p{color:red}</style>",
    ],
)
def test_what_a_library_would_not_bear_is_left_out(styles: str) -> None:
    begin = time.process_time()
    html_to_text(styles + "<p>x")
    assert time.process_time() - begin < 1


def test_a_long_list_of_selectors_is_read_like_any_other() -> None:
    names = ", ".join(f".a{n} .b, .c > .d{n}" for n in range(300))
    assert html_to_text(page(f"<style>{names}, .x{{display:none}}</style><p class=x>secret</p>")).split() == [
        "before",
        "after",
    ]


def test_names_in_a_sheet_are_compared_as_a_browser_does() -> None:
    part = "<style>.X{display:none}</style><p class=x>text</p>"
    assert "text" in html_to_text(page(part))
    assert "text" not in html_to_text(page(part, doctype=""))


@pytest.mark.parametrize("opening", ["<html hidden>", "<html style='display:none'>", "<body hidden>"])
def test_a_hidden_page_has_no_text(opening: str) -> None:
    assert html_to_text(f"<!DOCTYPE html>{opening}secret") == ""


@pytest.mark.parametrize(
    ("text", "hexadecimal"),
    [
        ("#fff", "ffffff"),
        ("FFFFF8", "fffff8"),
        ("white", "ffffff"),
        ("chucknorris", "c00000"),
        ("#ffffff00", "ffff00"),
        (" navy ", "000080"),
    ],
)
def test_colours_of_attributes_are_read_as_the_html_standard_says(text: str, hexadecimal: str) -> None:
    colour = attribute_colour(text)
    assert colour is not None
    assert "".join(f"{round(255 * part):02x}" for part in colour[:3]) == hexadecimal


def test_contrast_is_that_of_wcag() -> None:
    assert contrast(WHITE, BLACK) == pytest.approx(21)
    grey = css_colour("#777777")
    assert grey is not None
    assert contrast(grey, WHITE) == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize(
    "html",
    [
        "<style>" + "a b c d{display:none}" * 10_000 + "</style>" + "<a><b><c><d>" * 5_000,
        "<style>"
        + "".join(f".a{n}{{display:none}}" for n in range(20_000))
        + "</style>"
        + "".join(f"<p class=a{n}>" for n in range(20_000)),
        "<style>" + "* {color:#fff}" * 5_000 + "</style>" + "<p>x</p>" * 20_000,
        "<style>" + "*:not(* * *){color:#fff}" * 300 + "</style>" + "<p>x" * 5_000,
        "<style>" + ":is(" * 20_000 + "</style>",
        "<style>" + "{" * 100_000 + "</style>",
        "<style>" + "(" * 100_000 + "</style>",
        "<style>p{" + "&{" * 20_000 + "color:red" + "</style><p>x",
        "<style>" + "@media screen{" * 20_000 + "p{display:none}" + "</style><p>x",
        "<style>@media " + "(((" * 50_000 + "{p{display:none}}</style><p>x",
        "<p style='" + "color:#fff;" * 100_000 + "'>x",
        "<p style='--a:" + "x" * 100_000 + ";color:" + "var(--a)" * 10_000 + "'>x",
        "<p style='--a:var(--a) var(--a);color:var(--a)'>" * 2_000,
        "".join(f"<p style='--v{n}:1'>" for n in range(5_000)),
        "<p style='background:" + "url(" * 50_000 + "'>x",
        "<p style='background:" + "linear-gradient(red," * 20_000 + "'>x",
        "".join(f"<p style='color:#{n:06x}'>x</p>" for n in range(50_000)),
        "<i>" * 50_000 + "<p style='color:#fff'>x</p>" * 20_000,
        "<p style='height:9px;overflow:hidden'>x<b>" * 10_000,
        "<!-- a -->" * 50 + "<html><p style=color:red>x",
        "<style>b{"
        + "color:red;" * 3_000
        + "}</style>"
        + "".join(f"<b style='color:#{n:06x}'>x" for n in range(3_000)),
        "<div style='height:900px;overflow:hidden'>" * 200 + "<b>x</b>" * 60_000,
        "<style>" + "".join(f"p ~ q{{color:#{n:06x}}}" for n in range(50)) + "</style>" + "<q></q>" * 40_000,
        "<style>" + "b i{color:red}" * 50 + "</style>" + "<i>" * 50_000,
        "<style>" + "p:has(~ b){color:red}" * 20 + "</style>" + "<p>x</p>" * 40_000,
        "<style>.x{"
        + "".join(f"--a{n}:1;" for n in range(3_000))
        + "}</style>"
        + "".join(f"<b class=x style='--b{n}:1'>x</b>" for n in range(2_000)),
        "<style>" + "a," * 500 + "a{" + "x{color:red}" * 1_000 + "}</style><a>",
        "<style>" + ":is(" * 600 + "a" + ")" * 600 + "{color:red}</style><p>x",
        "<style>" + "(" * 5_000 + ")" * 5_000 + "{color:red;b{color:red}}</style><p>x",
        "<style>" + ("* " * 200 + "zz{color:red}") * 20 + "</style>" + "<i>" * 3_000 + "<zz>",
        "<blockquote style='" + "border:" * 20_000 + "'>x</blockquote>",
        *(
            (f"<b style='{name}:" + piece * (1_900 // len(piece)) + "!'>x") * 400
            for name in ("font-size-adjust", "transform", "filter", "zoom", "background", "letter-spacing", "clip")
            for piece in ("0", "1", "-", "-- ", "0.", "translate(0) ", "scale(1,", "auto ", "(from")
        ),
        "<b style='font-size-adjust:" + "0" * 290_000 + "!'>x",
        "<b style='background:" + "(" * 290_000 + "!'>x",
    ],
)
@pytest.mark.slow
def test_hostile_styles_take_seconds_at_most(html: str) -> None:
    begin = time.process_time()
    html_to_text(html)
    assert time.process_time() - begin < 8
