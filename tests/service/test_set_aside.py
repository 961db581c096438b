"""Trash and spam: imported like all mail, and left out of what is found unless it is asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kit.archives import check_invariants
from tests.kit.builds import run
from tests.kit.embedder import WordHashEmbedder
from tests.kit.mail import mail, maildir, mbox
from vaultembed.archive.database import open_archive, open_archive_readonly
from vaultembed.archive.generations.records import coverage_of
from vaultembed.search.filters import Filters
from vaultembed.search.ranking import Mode
from vaultembed.service.deletion import delete_messages, select_messages
from vaultembed.service.importing import import_mail
from vaultembed.service.keeping import only_matching
from vaultembed.service.listing import count_by, list_messages, read_thread, thread_of
from vaultembed.service.searching import Kept, search_archive
from vaultembed.service.showing import show_message
from vaultembed.service.similar import similar_messages

LEFT_OUT = "more in trash or spam: add in:anywhere"


def gmail(name: str, labels: str, thread: int = 1) -> bytes:
    return mail(name, f"the boiler leaks, {name}", message_id=f"{name}@x", headers=_gmail(labels, thread))


def _gmail(labels: str, thread: int) -> list[str]:
    return [f"X-Gmail-Labels: {labels}", f"X-GM-THRID: {thread}"]


def plain(name: str, *headers: str) -> bytes:
    return mail(name, f"the boiler leaks, {name}", message_id=f"{name}@x", headers=headers)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Mail in every kind of place; the subjects say what is in trash and in spam."""
    root = tmp_path / "mail"
    takeout = [
        gmail("kept-gmail", "Inbox,Work"),
        gmail("trash-gmail", "Trash,Work"),
        gmail("spam-gmail", '"Spam",Unread', 2),
        gmail("twice", "Trash", 3),
    ]
    mbox(root / "All mail Including Spam and Trash.mbox", takeout)
    mbox(root / "Inbox", [plain("kept-mbox"), plain("trash-expunged", "X-Mozilla-Status: 0009")])
    mbox(root / "Trash.sbd" / "Old project", [plain("trash-project")])
    maildir(root / "Maildir", {"1.a:2,S": plain("kept-maildir"), "2.b:2,ST": plain("trash-flag")})
    maildir(root / "Maildir" / ".Junk", {"3.c:2,": plain("spam-folder"), "4.d:2,": plain("twice-spam")})
    maildir(root / "Maildir" / ".Archive", {"5.e:2,": gmail("twice", "Trash", 3), "6.f:2,": plain("twice-spam")})
    mh = root / "mh"
    mh.mkdir()
    (mh / "1").write_bytes(plain("kept-mh"))
    (mh / ",4").write_bytes(plain("trash-mh"))
    archive = tmp_path / "a.db"
    import_mail(archive, [root])
    with open_archive(archive) as opened:
        run(opened)
    return archive


KEPT = {"kept-gmail", "kept-mbox", "kept-maildir", "kept-mh", "twice-spam"}
# a label is on the message, so that it counts in each of its places where the copy bears it
TRASH = {"trash-gmail", "trash-expunged", "trash-project", "trash-flag", "trash-mh", "twice"}
SPAM = {"spam-gmail", "spam-folder"}


def found(path: Path, query: str, mode: Mode = "text") -> set[str]:
    kept = Kept(lambda generation: WordHashEmbedder(generation.model.name))
    return {hit.subject for hit in search_archive(path, query, mode=mode, limit=100, kept=kept).data.results}


def subjects(path: Path) -> dict[str, int]:
    with open_archive_readonly(path) as archive:
        return dict(archive.rows("SELECT subject, id FROM messages"))


@pytest.mark.parametrize("mode", ["text", "vector", "hybrid"])
def test_a_search_leaves_trash_and_spam_out_and_says_so(path: Path, mode: Mode) -> None:
    assert found(path, "boiler", mode) == KEPT
    assert found(path, "boiler in:anywhere", mode) == KEPT | TRASH | SPAM
    kept = Kept(lambda generation: WordHashEmbedder(generation.model.name))
    result = search_archive(path, "boiler", mode=mode, kept=kept)
    assert result.data.left_out == len(TRASH | SPAM)
    assert f"{len(TRASH | SPAM)} {LEFT_OUT}" in result.notes
    everywhere = search_archive(path, "boiler in:anywhere", mode=mode, kept=kept)
    assert everywhere.data.left_out == 0
    assert not [note for note in everywhere.notes if LEFT_OUT in note]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("from:ada", KEPT),
        ("in:anywhere", KEPT | TRASH | SPAM),
        ("in:ANYWHERE boiler", KEPT | TRASH | SPAM),
        ("in:trash", TRASH),
        ("in:Spam", SPAM | {"twice-spam"}),
        ("is:trashed", TRASH),
        ("in:trash OR in:spam", TRASH | SPAM | {"twice-spam"}),
        ("in:anywhere -in:trash -in:spam", KEPT - {"twice-spam"}),
        ("-in:trash", KEPT),  # does not ask for it
        ("-in:anywhere", set()),
        ("NOT (NOT in:trash)", TRASH),
        ("label:trash", {"trash-gmail", "twice", "trash-project"}),
        ("in:junk", {"spam-folder", "twice-spam"}),
        ("in:trash/old-project OR subject:project in:anywhere", {"trash-project"}),
        ("label:work", {"kept-gmail"}),
        ("label:work in:anywhere", {"kept-gmail", "trash-gmail"}),
        ("subject:gmail -in:spam", {"kept-gmail"}),
    ],
)
def test_a_query_says_whether_it_wants_them(path: Path, query: str, expected: set[str]) -> None:
    assert found(path, query) == expected
    assert {hit for hit in subjects(path) if subjects(path)[hit] in select_messages(path, [query]).ids} == expected


def test_what_is_left_out_is_what_the_query_would_find(path: Path) -> None:
    for query in ("boiler", "gmail", "from:ada", "subject:mh", "label:work", "nothing", '"leaks trash"', "-in:trash"):
        left_out = search_archive(path, query, mode="text").data.left_out
        assert left_out == len(found(path, f"{query} in:anywhere") - found(path, query)), query
    assert search_archive(path, "boiler in:spam", mode="text").data.left_out == 0


def test_they_are_live_and_embedded(path: Path) -> None:
    with open_archive_readonly(path) as archive:
        covered = coverage_of(archive, 1)
    assert (covered.live, covered.embedded, covered.missing) == (13, 13, 0)
    check_invariants(path)


def test_a_deletion_takes_them_only_if_they_are_asked_for(path: Path) -> None:
    selection = select_messages(path, ["boiler"])
    assert (len(selection.ids), selection.set_aside) == (len(KEPT), len(TRASH | SPAM))
    assert f"{len(TRASH | SPAM)} {LEFT_OUT}" in delete_messages(path, selection, dry_run=True).notes
    delete_messages(path, select_messages(path, ["in:spam"]))
    assert found(path, "in:anywhere") == KEPT - {"twice-spam"} | TRASH
    by_id = subjects(path)["trash-mh"]
    assert select_messages(path, [str(by_id)]).ids == (by_id,)


def test_every_list_leaves_them_out(path: Path) -> None:
    def listed(filters: Filters) -> set[str]:
        return {message.subject for message in list_messages(path, filters=filters, limit=50).data.messages}

    assert listed(Filters()) == KEPT
    assert listed(Filters(label="Trash")) == {"trash-gmail", "twice", "trash-project"}
    assert count_by(path, "sender").data.messages == len(KEPT)
    similar = similar_messages(path, subjects(path)["kept-mh"], limit=50).data.results
    assert {message.subject for message in similar} == KEPT - {"kept-mh"}


def test_a_conversation_has_them_only_where_there_is_nothing_else(path: Path) -> None:
    ids = subjects(path)

    def of(name: str) -> set[str]:
        return {message.subject for message in read_thread(path, thread_of(path, ids[name])).data.messages}

    assert of("kept-gmail") == of("trash-gmail") == {"kept-gmail"}
    assert of("spam-gmail") == {"spam-gmail"}
    shown = {name: show_message(path, ids[name]).data.conversation for name in ("kept-gmail", "trash-gmail")}
    assert [len(lines) for lines in shown.values()] == [1, 2]


def test_an_assistant_sees_what_a_search_for_its_limit_finds(path: Path) -> None:
    for query, expected in (("boiler", KEPT), ("in:anywhere", KEPT | TRASH | SPAM), ("label:work", {"kept-gmail"})):
        within = only_matching(path, query)
        found = search_archive(within, "in:anywhere", mode="text", limit=100).data.results
        assert {hit.subject for hit in found} == expected


def test_a_message_exported_again_bears_its_new_labels(tmp_path: Path) -> None:
    archive, box = tmp_path / "a.db", tmp_path / "Mail" / "All mail.mbox"
    other = mbox(tmp_path / "other.mbox", [gmail("one", "Work,Later")])

    def state() -> tuple[set[str], bool]:
        with open_archive_readonly(archive) as opened:
            labels = opened.rows(
                "SELECT l.name FROM message_labels x JOIN labels l ON l.id = x.label_id WHERE l.kind = 'label'"
            )
            return {name for (name,) in labels}, bool(opened.scalar("SELECT set_aside FROM messages"))

    for labels, expected in (
        ("Inbox,Work", ({"Inbox", "Work"}, False)),
        ("Work,Trash", ({"Work", "Trash"}, True)),
        ("Work", ({"Work"}, False)),
        ("Spam", ({"Spam"}, True)),
    ):
        mbox(box, [gmail("one", labels)])
        import_mail(archive, [box.parent])
        assert state() == expected
    import_mail(archive, [other])  # of another export: both count
    assert state() == ({"Spam", "Work", "Later"}, False)
    mbox(box, [gmail("one", "Inbox")])
    import_mail(archive, [box.parent])
    assert state() == ({"Inbox", "Work", "Later"}, False)
    mbox(box, [gmail("another", "Inbox")])  # gone from there, where it stood last
    mbox(other, [gmail("one", "Trash")])
    import_mail(archive, [box.parent, other])
    assert state() == ({"Inbox", "Trash"}, True)


@pytest.mark.parametrize("statuses", [("0008", "0001"), ("0001", "0008")])
def test_a_copy_that_was_expunged_says_nothing_beside_one_that_was_not(
    tmp_path: Path, statuses: tuple[str, str]
) -> None:
    box = mbox(tmp_path / "Inbox", [plain("one", f"X-Mozilla-Status: {status}") for status in statuses])
    import_mail(tmp_path / "a.db", [box])
    assert found(tmp_path / "a.db", "boiler") == {"one"}


def test_a_message_follows_where_it_goes(tmp_path: Path) -> None:
    archive, root = tmp_path / "a.db", tmp_path / "Maildir"
    maildir(root, {"1.a:2,S": plain("one")})
    maildir(root / ".Trash", {})
    inbox, trash = root / "cur" / "1.a:2,S", root / ".Trash" / "cur" / "1.a:2,S"
    import_mail(archive, [root])
    assert found(archive, "boiler") == {"one"}
    for source, target, expected in (
        (inbox, root / "cur" / "1.a:2,ST", set()),  # without being read again
        (root / "cur" / "1.a:2,ST", inbox, {"one"}),
        (inbox, trash, set()),
        (trash, inbox, {"one"}),
        (inbox, trash, set()),
    ):
        source.rename(target)
        import_mail(archive, [root])
        assert found(archive, "boiler") == expected
        assert found(archive, "in:trash") == {"one"} - expected
    with open_archive(archive) as opened:  # from the inbox it went a while ago
        opened.execute("UPDATE message_sources SET gone_at = gone_at - 60")
    trash.unlink()  # the trash was emptied: that brings nothing back
    import_mail(archive, [root])
    assert found(archive, "boiler") == set()
    assert found(archive, "in:trash") == {"one"}


@pytest.mark.parametrize("name", ["Trash", "Junk.mbox", "Deleted Items"])
def test_a_trash_imported_by_its_own_name_is_one(tmp_path: Path, name: str) -> None:
    import_mail(tmp_path / "a.db", [mbox(tmp_path / name, [plain("one")])])
    assert found(tmp_path / "a.db", "boiler") == set()


def test_a_message_file_that_is_named_so_is_no_trash(tmp_path: Path) -> None:
    (tmp_path / "Spam.eml").write_bytes(plain("one"))
    import_mail(tmp_path / "a.db", [tmp_path / "Spam.eml"])
    assert found(tmp_path / "a.db", "boiler") == {"one"}
