"""Signatures, list footers and disclaimers at the end of a text. Linear: lines of bounded length."""

from __future__ import annotations

import re
from typing import Final

_DELIMITER: Final = re.compile(r"^(?:--|––|—|- -- ?|-- ?)[ \t\u00a0]*$")
_LONGEST_SIGNATURE: Final = 15  # lines that say something, after a delimiter
_RULE: Final = re.compile(r"^\s*[-_=*~#+.]{5,}\s*$")

_DEVICE: Final = (
    r"(?:i\s?phone|i\s?pad|i\s?pod|ios|android|blackberry|samsung|galaxy|huawei|xiaomi|redmi"
    r"|oneplus|pixel|nokia|htc|sony|xperia|lg|motorola|moto"
    r"|outlook|yahoo|gmail|windows|proton ?mail|tutanota|mailbird|thunderbird|mobile|handy"
    r"|smartphone|handheld|phone|tablet|t-mobile|vodafone"
    r"|k-9|aquamail|bluemail|spark|sparrow|mailspring|mail\.ru|gmx|web\.de|аndroid|телефона"
    r"|мобил\w+|яндекс\S*|почты|mobil\w*|telefon\w*|apple|mac)"
)
_SENT_FROM: Final = re.compile(
    rf"(?i)^\W{{0,3}}(?:(?:sent|gesendet|von meinem|von meiner|diese nachricht wurde von|envoyé"
    rf"|envoyée?|enviado|enviada|inviato|verzonden|verstuurd|sendt|skickat|lähetetty"
    rf"|wysłan[eoay]|odesláno|odoslané|отправлено|надіслано|elküldve|trimis"
    rf"|εστάλη)\b.{{0,40}}?\b{_DEVICE}\b.{{0,60}}"
    rf"|get (?:outlook|yahoo mail) for .{{0,30}}|{_DEVICE}から送信|发自我的.{{0,40}}"
    rf"|從我的.{{0,40}}|.{{0,20}}에서 보냄"
    rf"|(?:via|from my|from) {_DEVICE})\W{{0,3}}(?:<[^>]*>)?$"
)
_SENTENCE: Final = re.compile(r"\b(?:is|was|are|ist|est|es|war)\b")

_FOOTER: Final = re.compile(
    r"(?i)mailing list|listinfo|unsubscribe|list archives?|list info|list guidelines"
    r"|posting guide|abbestellen|désabonner|désinscri"
    r"|darse de baja|cancelar (?:la )?suscri|odhlásit|mailinglist|mailing-list"
    r"|reply to this email directly|view it on github"
    r"|sponsored by|yahoo! groups|do you yahoo|get your free|free email|scanned (?:by|for)|virus"
    r"|mailman|majordomo|join your friends"
)
_LEGAL: Final = re.compile(
    r"(?i)confidential|privileged|intended (?:solely|only|for)|(?:intended|named) (?:recipient"
    r"|addressee)|in error|disclos|disseminat|unauthori[sz]ed"
    r"|vertraulich|rechtlich geschützt|irrtümlich|unbefugt|adressat|confidentiel|destinataire"
    r"|par erreur|confidencial|destinatari|por error|por erro"
    r"|riservat|per errore|vertrouwelijk|geadresseerde|fortrolig|konfidenti|poufn|adresat"
    r"|конфиденциальн|důvěrn|liability|legally binding|disclaimer"
    r"|please consider the environment|before printing|機密|保密"
)
_CAUTION: Final = re.compile(
    r"(?i)^\W{0,4}(?:caution|external(?: e-?mail)?|warning|achtung|attention)\b.{0,40}(?:external"
    r"|outside|originated|extern|sender)"
)
_CLOSING: Final = re.compile(
    r"(?i)^\W{0,2}(?:(?:(?:with )?(?:(?:kind|best|warm|warmest|kindest|many"
    r"|friendly)(?:est)? )+(?:regards|wishes|thanks|greetings)|regards|sincerely(?: yours)?"
    r"|yours(?: sincerely| truly| faithfully)?|cheers|best|thanks(?: again| a lot| in advance)?"
    r"|many thanks|thank you|take care|rgds|respectfully"
    r"|(?:mit )?(?:freundlichen?|besten?|vielen|herzlichen?|liebe[nr]?|schöne[nr]?"
    r"|viele) (?:grüssen|grüßen|grüsse|grüße|gruß|gruss|dank)|mfg|lg|vg|gruß|gruss"
    r"|(?:bien )?cordialement|(?:bien )?amicalement|salutations(?: distinguées)?|bien à vous"
    r"|merci|amitiés|(?:un )?(?:cordial )?saludos?(?: cordiales)?|atentamente|gracias"
    r"|un abrazo|(?:cordiali|distinti) saluti|saluti|grazie|atenciosamente|abraços?|obrigad[oa]"
    r"|met vriendelijke groet(?:en)?|groet(?:en|jes)?|mvg"
    r"|(?:med )?(?:venlig|vänliga?|vennlig|bästa|mange) (?:hilsen|hälsning(?:ar)?|hilsner)|mvh"
    r"|hilsen|hälsningar|pozdrawiam|z poważaniem|pozdrowienia|s pozdravem|zdraví"
    r"|с уважением|всего доброго|спасибо|terveisin|üdvözlettel|saygılarımla|よろしくお願い(?:いた"
    r"|致)?します|敬具|此致|谢谢|祝好)\W{0,4})$"
)
_POSTSCRIPT: Final = re.compile(r"(?i)^\W{0,2}p\.? ?s\.?\b")
_SCRUBBED: Final = re.compile(
    r"(?i)^-{6,} next part -{6,}\s*$|^(?:an? (?:html|embedded|non-text)[^.]{0,80}"
    r"|[^.]{0,80} message) was scrubbed\.\.\.$"
)
_REMOVED: Final = re.compile(
    r"(?i)^[\s>|]*\[+(?:alternative html version deleted"
    r"|non-text portions of this message have been removed)\]+\s*$"
)
_SCRUBBED_FIELD: Final = re.compile(
    r"(?i)^(?:an? (?:html|embedded|non-text|embedded and charset).{0,80}(?:scrubbed|was).{0,20}"
    r"|(?:name|type|size|desc|url|charset|from|to|subject|date)\s?:.*"
    r"|not available|[\w +]+ was scrubbed.*|https?://\S+)$"
)


def strip_scrubbed(text: str) -> str:
    """Without the notes that list servers leave in place of attachments."""
    if "next part ---" not in text and "scrubbed..." not in text and "]]" not in text and "[Non-text" not in text:
        return text
    out: list[str] = []
    inside = False
    for line in text.split("\n"):
        if _SCRUBBED.match(line[:160]):
            inside = True
        elif _REMOVED.match(line[:120]):
            continue
        elif inside and line.strip() and not _SCRUBBED_FIELD.match(line.strip()[:300]):
            inside = False
            out.append(line)
        elif not inside:
            out.append(line)
        elif not line.strip():
            inside = False
            out.append("")
    return "\n".join(out)


def strip_signature(text: str) -> str:
    """`text` without signature, list footer, disclaimer, "sent from" line; all of it where nothing else is left."""
    lines = [line for line in text.split("\n") if not _CAUTION.match(line[:200])]
    for strip in (_footer, _delimited, _legal, _sent_from, _footer, _legal, _sent_from, _closing):
        shorter = strip(lines)
        if any(character.isalnum() for line in shorter for character in line):
            lines = _trimmed(shorter)
    return "\n".join(lines)


def _trimmed(lines: list[str]) -> list[str]:
    end = len(lines)
    while end and (not lines[end - 1].strip() or _RULE.match(lines[end - 1][:200])):
        end -= 1
    return lines[:end]


def _tail(lines: list[str], most: int) -> int:
    """Index of the line from which on `most` lines say something."""
    index = len(lines)
    while index and most:
        index -= 1
        most -= bool(lines[index].strip())
    return index


def _delimited(lines: list[str]) -> list[str]:
    for index in range(_tail(lines, _LONGEST_SIGNATURE + 1), len(lines)):
        if _DELIMITER.match(lines[index][:8]) and len(lines[index]) < 8:
            return lines[:index]
    return lines


def _footer(lines: list[str]) -> list[str]:
    """From a ruled line near the end on, where what stands below it (to the next rule) is about the list."""
    end = len(lines)
    for index in range(len(lines) - 1, _tail(lines, _LONGEST_SIGNATURE) - 1, -1):
        if _RULE.match(lines[index][:200]):
            below = " ".join(line[:300] for line in lines[index + 1 : end])
            if below.strip() and not _FOOTER.search(below):
                break
            end = index
    return lines[:end]


def _legal(lines: list[str]) -> list[str]:
    """Paragraphs at the end that speak law: two terms each, or one in a line of its own above."""
    end = len(lines)
    cut = end
    while end:
        begin = end
        while begin and lines[begin - 1].strip():
            begin -= 1
        paragraph = " ".join(lines[begin:end])[:4_000].strip()
        if paragraph and not _RULE.match(paragraph):
            terms = {match[0].lower() for match in _LEGAL.finditer(paragraph)}
            heading = len(paragraph) < 40 and len(terms) == 1 and cut < len(lines)
            scanned = cut < len(lines) and re.search(r"(?i)scanned (?:for|by)|viruses", paragraph)
            if not (len(terms) >= 3 or (len(terms) >= 2 and len(paragraph) > 150) or heading or scanned):
                if cut == len(lines) and re.search(r"(?i)(?:has been|was) (?:automatically )?scanned", paragraph):
                    end = begin - 1 if begin else 0
                    cut = begin
                    continue
                break
        cut = begin
        end = begin - 1 if begin else 0
    return lines[:cut]


def _sent_from(lines: list[str]) -> list[str]:
    for index in range(_tail(lines, 3), len(lines)):
        line = lines[index].strip()
        if 0 < len(line) <= 120 and _SENT_FROM.match(line) and not _SENTENCE.search(line):
            return lines[:index]
    return lines


def _closing(lines: list[str]) -> list[str]:
    """From "Best regards," on, where only short lines follow (name, title, telephone)."""
    for index in range(_tail(lines, 12), len(lines)):
        line = lines[index].strip()
        if not line or len(line) > 60 or not _CLOSING.match(line):
            continue
        below = [one.strip() for one in lines[index + 1 :] if one.strip()]
        if all(len(one) <= 70 and not _POSTSCRIPT.match(one) and not _is_prose(one) for one in below):
            return lines[:index]
    return lines


def _is_prose(line: str) -> bool:
    return (len(line.split()) > 4 and bool(re.search(r"[.!?]\s*$", line))) or "?" in line or len(line.split()) > 10
