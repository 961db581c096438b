"""What people threw away, by the names that programs and services give to it."""

from __future__ import annotations

import pytest

from vaultembed.text.set_aside import Aside, set_aside


@pytest.mark.parametrize(
    ("folder", "expected"),
    [
        ("Trash", "trash"),
        ("INBOX/Trash", "trash"),
        ("Deleted Items", "trash"),
        ("deleted messages", "trash"),
        ("Mail/pop.example.org/Trash/Old project", "trash"),  # a folder that was thrown away whole
        ("[Gmail]/Trash", "trash"),
        ("[Google Mail]/Bin", "trash"),
        ("Papierkorb", "trash"),
        ("GELÖSCHTE  ELEMENTE", "trash"),
        ("Gelo\u0308schte Elemente", "trash"),
        ("Éléments supprimés", "trash"),
        ("Удалённые", "trash"),
        ("ゴミ箱", "trash"),
        ("已删除", "trash"),
        ("Trash/Spam", "trash"),
        ("Junk", "spam"),
        ("INBOX/Junk E-mail", "spam"),
        ("Spam", "spam"),
        ("[Gmail]/Spam", "spam"),
        ("Courrier indésirable", "spam"),
        ("Unerwünschte Werbung", "spam"),
        ("迷惑メール", "spam"),
        ("", ""),
        ("Inbox", ""),
        ("projects/bin", ""),
        ("Trash talk", ""),
        ("All mail Including Spam and Trash", ""),
        ("not junk", ""),
    ],
)
def test_a_folder_is_known_by_its_name(folder: str, expected: Aside) -> None:
    assert set_aside(folder, (), ()) == expected


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["Trash", "Opened"], "trash"),
        (["Inbox", "Spam"], "spam"),
        (["Spam", "Trash"], "trash"),
        (["TRASH"], "trash"),  # as Gmail's API has it
        (["\\Trash"], "trash"),
        (["$Junk"], "spam"),
        (["Bin"], "trash"),
        (["Corbeille"], "trash"),
        (["[Gmail]/Spam"], "spam"),
        (["Receipts/Spam", "Work"], ""),  # a person's own
        (["Trashy novels"], ""),
        ([], ""),
    ],
)
def test_a_label_is_known_by_its_whole_name(labels: list[str], expected: Aside) -> None:
    assert set_aside("Archive", labels, ()) == expected


def test_a_flag_counts_in_whatever_folder() -> None:
    assert set_aside("Inbox", ["Work"], ["seen", "trashed"]) == "trash"
    assert set_aside("Junk", (), ["trashed"]) == "trash"
    assert set_aside("Inbox", (), ["seen", "draft"]) == ""
