"""What people threw away: whether a message stands in a trash or among spam, wherever it was read."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, Literal

from vaultembed.text.folding import folded

Aside = Literal["", "trash", "spam"]

# What mail programs and services call them. In the languages of most mail; what is missing is searched like any folder.
_TRASH: Final = """
trash; wastebasket; rubbish; deleted; deleted items; deleted messages; deleted mail
papierkorb; gelöschte elemente; gelöschte objekte; gelöschte nachrichten; gelöschte e-mails; gelöscht
corbeille; éléments supprimés; messages supprimés
papelera; papelera de reciclaje; elementos eliminados; mensajes eliminados; correo eliminado
cestino; posta eliminata; messaggi eliminati; elementi eliminati
lixeira; lixo; itens excluídos; itens eliminados; mensagens excluídas; mensagens apagadas; mensagens eliminadas
prullenbak; prullenmand; verwijderde items; verwijderde berichten
kosz; elementy usunięte; usunięte; koš; odstraněná pošta; odstraněné položky; kôš; odstránené položky
lomtár; törölt elemek
papperskorgen; papperskorg; borttagna objekt; papirkurv; papirkorg; slettet post; slettede elementer
søppel; søppelbøtte; roskakori; poistetut; poistetut kohteet; çöp kutusu; çöp; silinmiş öğeler; κάδος απορριμμάτων
корзина; удаленные; удаленные элементы; кошик; видалені; אשפה; المهملات; थ्रैश
ごみ箱; ゴミ箱; 削除済みアイテム; 已删除; 已删除邮件; 已刪除的郵件; 废件箱; 垃圾桶; 휴지통; 지운 편지함
"""
_SPAM: Final = """
spam; junk; junk mail; junk e-mail; junk email; bulk mail; probably spam
spamverdacht; spam-verdacht; unerwünscht; unerwünschte werbung; junk-e-mail
courrier indésirable; indésirables; pourriel; pourriels; correo no deseado; no deseado; posta indesiderata
lixo eletrônico; lixo eletrónico; ongewenst; ongewenste e-mail; ongewenste reclame; niechciane; wiadomości-śmieci
nevyžádaná pošta; nevyžiadaná pošta; levélszemét; skräppost; uønsket e-post; uønsket mail; useppost; søppelpost
roskaposti; önemsiz; önemsiz e-posta; gereksiz e-posta; ανεπιθύμητα; спам; нежелательная почта; небажана пошта; דואר זבל
迷惑メール; スパム; 垃圾邮件; 垃圾郵件; 스팸; 스팸메일함; 정크 메일
"""
_NAMES: Final[tuple[tuple[Aside, str], ...]] = (("trash", _TRASH), ("spam", _SPAM))
_KINDS: Final[dict[str, Aside]] = {
    folded(name.strip()): kind for kind, names in _NAMES for name in re.split(r"[;\n]", names) if name.strip()
}
_BRITISH: Final = re.compile(r"\[(?:gmail|google mail)\]/bin(?:/|\Z)")
"""Gmail's trash. Elsewhere a folder "bin" may be anything."""


def set_aside(folder: str, labels: Iterable[str], flags: Iterable[str]) -> Aside:
    """What the place of a message says of it: the one function that decides, for every source.

    A folder counts with all above it, for a folder that was thrown away stands in the trash. A label counts whole:
    "Receipts/Spam" is a person's own. What is both is trash: spam that was deleted.
    """
    if "trashed" in flags:  # Maildir's T, MH's comma, and what Thunderbird and mutt have not taken out yet
        return "trash"
    kinds = {set_aside_label(label) for label in labels}
    kinds |= {_KINDS.get(_plain(part), "") for part in folder.split("/")}
    if "trash" in kinds or _BRITISH.search(folded(folder)):
        return "trash"
    return "spam" if "spam" in kinds else ""


def set_aside_label(name: str) -> Aside:
    """What a label says by its name, or the name of a folder: "Papierkorb", "[Gmail]/Spam", "\\\\Trash"."""
    plain = _plain(name).removeprefix("[gmail]/").removeprefix("[google mail]/")
    return "trash" if plain == "bin" else _KINDS.get(plain, "")


def _plain(name: str) -> str:
    """Without the mark of what IMAP defines: "\\\\Trash", "$Junk"."""
    return " ".join(folded(name).split()).removeprefix("\\").removeprefix("$")
