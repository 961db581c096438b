"""Which lines of a text are the author's own, and which quote somebody else.

Works on lines, in linear time: every pattern is tried on single lines of bounded length.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import Final

_LONGEST_LINE: Final = 400  # attributions and header lines are shorter; longer lines are nobody's markers
_MOST_ATTRIBUTION_LINES: Final = 4

QUOTED: Final = re.compile(r"^[ \t]{0,3}(?:[A-Za-z]{1,4})?[>＞](?![-=])|^[ \t]{0,2}\|[ >](?!.*\|)")
_MARKS: Final = re.compile(r"^[ \t]{0,3}(?:[A-Za-z]{1,4}(?=>))?(?:[>＞|][ \t]?)+")

_LOST: Final = re.compile("[\u00c0-\u024f]")


def _losable(words: str) -> str:
    """A pattern that finds the words with "?" for letters beyond ASCII, too: list archives lose them."""
    return _LOST.sub(lambda letter: rf"(?:{letter[0]}|[?\ufffd]{{1,2}})", words)


# "wrote", with what may stand between it and the colon at the end ("schrieb Anna <a@b.de>:").
_WROTE: Final = re.compile(
    r"(?i)(?:(?<!\w)(?:"
    + _losable(
        r"wrote|writes|write|written|said|says|schrieb(?:en)?|schreibt|geschrieben|écrit|ecrit|escribió|escribio|escribe"
        r"|escreveu|ha scritto|scrive|scrisse|schreef|geschreven|skrev|skriver|napisała?|napisał\(a\)|pisze"
        r"|napsala?|napsal\(a\)|píše|írta|yazdı|şunları yazdı"
    )
    + r"|kirjoitti|написала?|написал\(а\)|пишет|писала?|пише|написав|έγραψε|a scris|wrote the following)"
    r"(?![\w-])|写道|寫道|写到|wrote|のメッセージ|さんは書きました|:の書き込み|님이 작성|כתב"
    r"|كتب)[^:：]{0,160}[:：]\s*$"
)
_OPENS: Final = re.compile(
    r"(?i)^\W{0,12}(?:on|at|in|am|le|el|il|op|con fecha|en|den|em|dne|dnia|w dniu|в|во|the|quoting"
    r"|zitat|citando|"
    r"mon|tue|wed|thu|fri|sat|sun|mo|di|mi|do|fr|sa|so|lun|mar|mer|jeu|ven|sam|dim|lör|sön|mån"
    r"|tis|ons|tor|fre|lør|søn|man|tir)\b|^\W{0,3}\d"
)
_DATED: Final = re.compile(r"\d{1,2}[:.h]\d{2}|\b(?:19|20)\d{2}\b|\d{1,4}[-/.]\d{1,2}[-/.]\d{2,4}|\d年")
_ADDRESSED: Final = re.compile(r"@|<[^>]*>| at \S+\.\S")
# Without a verb, or without a colon ("Ann Lee-2 wrote", as web forums have it).
_CURT: Final = re.compile(
    r"^\W{0,3}(?:(?i:quoting|zitat von|citando|citat|cytowanie|citát)\b|(?:[A-Z][\w.'-]* ){1,4}wrote\s*$)"
)

_ORIGINAL: Final = re.compile(
    r"(?i)^[\s>]{0,6}[-_=*]{2,}\s*(?:original message|original-nachricht|original appointment"
    r"|reply message|ursprüngliche (?:nachricht|mail)"
    r"|ursprungliche nachricht|originalnachricht|message d'origine|message original"
    r"|mensaje original|mensagem original|messaggio originale"
    r"|oorspronkelijk bericht|oprindelig meddelelse|original meddelelse|opprinnelig melding"
    r"|opprinnelig meddelelse|ursprungligt meddelande"
    r"|originalmeddelande|wiadomość oryginalna|oryginalna wiadomość|původní zpráva|pôvodná správa"
    r"|исходное сообщение"
    r"|original besked|alkuperäinen viesti|eredeti üzenet|özgün ileti|原始邮件|原始郵件|原邮件"
    r"|元のメッセージ|원본 메시지)\s*[-_=*]*\s*$"
)
_FORWARDED: Final = re.compile(
    r"(?i)^[\s>]{0,6}(?:[-_=*]{2,}\s*(?:(?:begin )?forwarded (?:message|mail)[^-]{0,80}"
    r"|forwarded by[^-]{0,200}|forward(?:ed)?"
    r"|weitergeleitete nachricht|message transféré|courriel transféré|mensaje reenviado"
    r"|mensagem encaminhada|messaggio inoltrato"
    r"|doorgestuurd bericht|videresendt meddelelse|videresendt melding|vidarebefordrat meddelande"
    r"|przekazana wiadomość"
    r"|wiadomość przekazana|přeposlaná zpráva|preposlaná správa|пересылаемое сообщение"
    r"|переслане повідомлення|välitetty viesti"
    r"|转发的邮件|转发邮件|轉寄的郵件|転送メッセージ|전달된 메시지)\s*[-_=*]*"
    r"|begin forwarded message|anfang der weitergeleiteten (?:nachricht|e-mail)"
    r"|début du message (?:réexpédié|transféré)"
    r"|inicio del mensaje reenviado|início da mensagem encaminhada|inizio messaggio inoltrato"
    r"|begin doorgestuurd bericht"
    r"|vidarebefordrat brev|videresendt besked|начало переадресованного сообщения|开始转发的邮件"
    r"|転送されたメール)\s*[:：]?\s*$"
)
_KEYS: Final = {
    "from": (
        "from|von|de|da|van|fra|från|od|от|от кого|від|lähettäjä|feladó|kimden|gönderen|差出人|发件人"
        "|發件人|寄件者|보낸 사람"
    ),
    "when": "sent|date|gesendet|datum|envoyé|envoye|date d'envoi|enviado|enviado el|enviado em"
    "|fecha|data|inviato|verzonden|sendt|dato"
    "|skickat|wysłano|odesláno|odoslané|дата|отправлено|надіслано|lähetetty|päivämäärä|elküldve|tarih|送信日時|日時|"
    "发送时间|日期|發送時間|寄件日期|보낸 날짜",
    "to": ("to|an|à|a|para|aan|til|till|do|komu|pro|кому|vastaanottaja|címzett|kime|宛先|收件人|收件者|받는 사람"),
    "copy": ("cc|kopie|kopia|copie|ccc|копия|抄送|副本|reply-to|organization|importance|attachments|newsgroups"),
    "about": (
        "subject|betreff|objet|asunto|assunto|oggetto|onderwerp|emne|ämne|temat|předmět|predmet|тема"
        "|aihe|tárgy|konu|件名|主题|主旨|主題|제목"
    ),
}
_KEY_KIND: Final = {
    spelling: kind
    for kind, keys in _KEYS.items()
    for key in keys.split("|")
    for spelling in (key, _LOST.sub("?", key))
    if spelling != "?"
}
_HEADER_LINE: Final = re.compile(
    r"^[ \t]{0,8}\*{0,2}_?((?:[^\W\d_]|\?(?=[a-z]))[\w'? -]{0,22}?)\*{0,2}[ \t\u00a0]?[:：]\*{0,2}(?:\s|$|\S)"
)
_RULE: Final = re.compile(r"^\s*[-_=*~—–]{5,}\s*$")
_MOST_HEADER_LINES: Final = 12


_CITED: Final = re.compile(r"^[ \t]{0,3}([A-Z][\w.-]{2,15})> ")
"""Supercite: each line under the name of who wrote it."""
_CODE: Final = re.compile(r"<-|[\w.]+\(|^\s*[{}()\]#]|[{,(+|]\s*$|^\s*[\w.$]+\s*$")
_PROSE: Final = re.compile(r"(?:\b[A-Za-z']{1,20},? ){4}")
_OUTPUT: Final = re.compile(r"^\s*\[1\]|^(?:Error|Warning|Loading|Fehler|Erreur)\b|^\+ ")
_NESTED: Final = re.compile(r"^[ \t]{0,3}> ?>")


@dataclass(frozen=True, slots=True)
class OwnText:
    """What is left of a body when quotes are off."""

    own: str
    """The author's lines, outside of a forward."""
    forwarded: str
    """A forwarded message at the end, with its header lines; it is content, not quotation."""
    quoted: str
    """What was taken for quotation, marks removed."""


def unquoted(line: str) -> str:
    """The line without quote marks."""
    return _MARKS.sub("", line)


def split_quotes(text: str, *, replying: bool, forwarding: bool) -> OwnText:
    """Tells the author's own lines from quoted ones.

    A ">" line counts as a quotation where somebody is quoted: the subject is a reply's or the text has an
    attribution. Otherwise it is content (an excerpt), and so is what was typed at a prompt ("> library(sp)"). All that
    follows an unmarked header or attribution is quoted only where the subject is a reply's: a new message
    that shows some mail's header as an example goes on with its author's words.

    Args:
        text: the visible body; quotes of HTML stand in it as "> " lines.
        replying: the subject has a reply prefix, or the header names a message that is answered.
        forwarding: the subject has a forward prefix in front; an Outlook header block then begins a forward.
    """
    lines = text.split("\n")
    marks = _marked(lines)
    own: list[str] = []
    dropped: list[str] = []
    keys = [_key(line) for line in lines]
    attributions = _attributions(lines, marks, keys)
    quotes = _without_sessions(lines, marks, below=min(attributions, default=len(lines)))
    quoting = replying or bool(attributions) or _reads_like_a_reply(lines, quotes)
    index = 0
    while index < len(lines):
        line = lines[index]
        short = len(line) <= _LONGEST_LINE and not (quotes[index] and quoting)
        marker = short and _may_be_marker(line)
        if marker and _FORWARDED.match(line):
            return OwnText(_joined(own), _unwrapped(lines[index:]), _joined(dropped))
        if (marker and _ORIGINAL.match(line)) or (short and _header_block(lines, keys, index)):
            own = _without_rule(own)
            rest = lines[index:]
            if forwarding or not replying or not _says_something(own):
                return OwnText(_joined(own), _unwrapped(rest), _joined(dropped))
            return OwnText(_joined(own), "", _joined([*dropped, *rest]))
        if index in attributions:
            end, marked = attributions[index]
            dropped.extend(lines[index:end])
            if not marked and replying and _says_something(own):  # the quoted text is not marked: all that follows
                return OwnText(_joined(own), "", _joined([*dropped, *lines[end:]]))
            index = end
            continue
        if quotes[index] and quoting:
            dropped.append(unquoted(line))
            if own and own[-1].strip():
                own.append("")  # what stood above and below a quote is no one paragraph
        else:
            own.append(unquoted(line) if marks[index] and not line.lstrip().startswith("|") else line)
        index += 1
    return OwnText(_joined(own), "", _joined(dropped))


def _marked(lines: list[str]) -> list[bool]:
    """Which lines have a quote mark in front."""
    cited = Counter(match[1] for line in lines if (match := _CITED.match(line[:24])))
    return [
        len(line) > 0
        and (
            QUOTED.match(line[:8]) is not None
            or ((match := _CITED.match(line[:24])) is not None and cited[match[1]] > 1)
        )
        for line in lines
    ]


def _without_sessions(lines: list[str], marked: list[bool], *, below: int) -> list[bool]:
    """`marked` without what somebody typed at a prompt ("> library(sp)"): lines of code, with what the computer said
    below them. `below`: from that line on somebody is quoted, code too; above, the code alone tells."""
    quotes = list(marked)
    index = 0
    while index < len(lines):
        begin = index
        while index < len(lines) and marked[index]:
            index += 1
        if begin < index:
            typed = [text for line in lines[begin:index] if (text := unquoted(line).strip())]
            is_nested = any(_NESTED.match(line[:12]) for line in lines[begin:index])
            is_answered = index < len(lines) and _OUTPUT.match(lines[index][:80]) is not None
            if typed and not is_nested and (begin < below or is_answered) and all(map(_is_code, typed)):
                quotes[begin:index] = [False] * (index - begin)
        index += 1
    return quotes


def _is_code(line: str) -> bool:
    line = line[:_LONGEST_LINE]
    return line.startswith("#") or (_CODE.search(line) is not None and not _PROSE.search(line))


def _reads_like_a_reply(lines: list[str], quotes: list[bool]) -> bool:
    """Without "Re:" and "wrote:": a text that begins with a quotation, or has one inside of another."""
    first = next((index for index, line in enumerate(lines) if line.strip()), None)
    if first is not None and quotes[first]:
        return True
    return any(quoted and _NESTED.match(line[:12]) for line, quoted in zip(lines, quotes, strict=True))


def _may_be_marker(line: str) -> bool:
    bare = line.strip(" \t>")
    return bare[:1] in ("-", "_", "=", "*") or bare[-1:] in (":", "：")


def _attributions(lines: list[str], quotes: list[bool], keys: list[str | None]) -> dict[int, tuple[int, bool]]:
    """Where attributions begin: to the line after each, and whether marked quotes follow."""
    found: dict[int, tuple[int, bool]] = {}
    following = _next_is_quote(lines, quotes)
    last_end = 0
    for index, line in enumerate(lines):
        if quotes[index] or not line.strip() or len(line) > _LONGEST_LINE:
            continue
        marked = following[index]
        ends = line.rstrip()[-1] in ":："
        if not (ends or marked):
            continue
        if marked and keys[index] and index and keys[index - 1]:  # "From: …", "Date: …" and the quote
            begin = index - 1
            while begin and keys[begin - 1]:
                begin -= 1
            found[begin] = (index + 1, True)
            last_end = index + 1
            continue
        wrote = _WROTE.search(line[-250:]) if ends else None
        if ends and not wrote:  # "Am 1. Jan. 2023 um 17:22 Uhr / schrieb Ann < / ann@b.org>:"
            wrote = _WROTE.search(" ".join(_paragraph_up_to(lines, quotes, index))[-250:])
        if not (wrote or (marked and (ends or _DATED.search(line) or _CURT.match(line)))):
            continue
        begin = _begin_of_attribution(lines, quotes, index, limit=last_end)
        if marked and begin == index and not wrote and ends:
            begin = index - len(_paragraph_up_to(lines, quotes, index)) + 1
        whole = " ".join(lines[begin : index + 1])
        dated = _DATED.search(whole) is not None
        named = _ADDRESSED.search(whole) is not None
        if marked:
            sure = wrote is not None or _CURT.match(whole) is not None
            # Without a verb: "2013/5/3 Ann <a@b.org>", "* Ann <a@b.org> [020304 10:00]:"; not "see below:".
            if not sure and not (dated and named):
                continue
        elif not (wrote and dated and _OPENS.match(whole)):
            continue
        found[begin] = (index + 1, marked)
        last_end = index + 1
    return found


def _next_is_quote(lines: list[str], quotes: list[bool]) -> list[bool]:
    """For each line whether the next that is not blank, at most two further down, is quoted."""
    result = [False] * len(lines)
    upcoming, distance = False, 9
    for index in range(len(lines) - 1, -1, -1):
        result[index] = upcoming and distance <= 3
        if lines[index].strip():
            upcoming, distance = quotes[index], 1
        else:
            distance += 1
    return result


def _paragraph_up_to(lines: list[str], quotes: list[bool], last: int) -> list[str]:
    begin = last
    while begin > max(0, last - _MOST_ATTRIBUTION_LINES + 1):
        above = lines[begin - 1]
        if quotes[begin - 1] or not above.strip() or len(above) > _LONGEST_LINE:
            break
        begin -= 1
    return lines[begin : last + 1]


def _begin_of_attribution(lines: list[str], quotes: list[bool], last: int, limit: int) -> int:
    if _OPENS.match(lines[last]) and (_DATED.search(lines[last]) or "," in lines[last]):
        return last
    for begin in range(last - 1, max(limit - 1, last - _MOST_ATTRIBUTION_LINES), -1):
        line = lines[begin]
        if quotes[begin] or not line.strip() or len(line) > _LONGEST_LINE:
            break
        if _OPENS.match(line) and _DATED.search(" ".join(lines[begin : last + 1])):
            return begin
    return last


def _header_block(lines: list[str], keys: list[str | None], index: int) -> bool:
    """Whether the header of a quoted message begins here: its sender and two more fields, in a language known."""
    first = keys[index]
    if first not in {"from", "when", "about"}:
        return False
    kinds = {first}
    blank = 0
    for following in range(index + 1, min(len(lines), index + _MOST_HEADER_LINES)):
        if not lines[following].strip():
            blank += 1
            if blank > 1 or ("from" in kinds and len(kinds) >= 3):
                break
            continue
        kind = keys[following]
        if kind:
            kinds.add(kind)
    return "from" in kinds and len(kinds - {"copy"}) >= 3


def _key(line: str) -> str | None:
    start = line[:60]
    if ":" not in start and "：" not in start:
        return None
    match = _HEADER_LINE.match(start)
    if match is None:
        return None
    name = match[1].lower().replace("??", "?")  # the two bytes of a letter, or a letter and a no-break space
    return _KEY_KIND.get(name.strip()) or _KEY_KIND.get(name.rstrip("? "))


def _without_rule(own: list[str]) -> list[str]:
    while own and (not own[-1].strip() or _RULE.match(own[-1][:200])):
        own = own[:-1]
    return own


def _unwrapped(lines: list[str]) -> str:
    """A forward's lines; where all of them are quoted (Apple Mail), without the marks."""
    spoken = [line for line in lines[1:] if line.strip()]
    if spoken and sum(QUOTED.match(line[:8]) is not None for line in spoken) * 10 > len(spoken) * 8:
        lines = [unquoted(line) for line in lines]
    return _joined(lines)


def _says_something(lines: list[str]) -> bool:
    return any(any(character.isalnum() for character in line) for line in lines)


def _joined(lines: list[str]) -> str:
    return "\n".join(lines).strip("\n")
