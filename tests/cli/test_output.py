"""What is printed can be printed anywhere, and read by any program; an output that fails is told."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import apsw
import pytest

from tests.kit.mail import mail, mbox
from tests.kit.processes import COMMAND, environment, vaultembed
from vaultembed.archive.database import explained_errors
from vaultembed.cli import main
from vaultembed.cli.embedding import first_second
from vaultembed.cli.wording import safe_line
from vaultembed.errors import StorageError
from vaultembed.failpoints import action_at

TEXT = "Größe → 漢字 \U0001f600 Ω ñ"
LONE = re.compile("[\ud800-\udfff]")


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("output")
    kind = "Content-Type: text/plain; charset=utf-8"
    odd = mail("odd", "é", headers=["Content-Type: text/plain; charset=klingon"])
    box = mbox(folder / "box", [mail(f"barn {TEXT}", f"the barn {TEXT}", headers=[kind]), odd])
    assert vaultembed("import", box, archive=folder / "a.db").returncode == 0
    return folder / "a.db"


def shell(archive: Path, line: str, **variables: str) -> subprocess.CompletedProcess[bytes]:
    """`vaultembed` in a shell line, which says where the output goes."""
    command = f"{sys.executable} -m vaultembed {line}"
    return subprocess.run(
        ["/bin/sh", "-c", command],
        env={**environment(archive), **variables},
        capture_output=True,
        check=False,
    )


def values(document: object) -> list[str]:
    if isinstance(document, dict):
        return [text for pair in document.items() for part in pair for text in values(part)]
    if isinstance(document, list):
        return [text for part in document for text in values(part)]
    return [document] if isinstance(document, str) else []


@pytest.mark.parametrize(
    "arguments",
    [
        ["import", "{folder}/Entw\udcfcrfe"],
        ["import", "{folder}/not\udcfcthere"],
        ["search", "--mode", "text", "\udcff barn"],
        ["search", "--mode", "text", "from:\udcff barn"],
        ["search", "--mode", "text", "\ud800"],
        ["delete", "--dry-run", "\udcff barn"],
        ["delete", "--dry-run", "label:\udcff"],
        ["problems", "--kind", "\udcff"],
        ["repair-encoding", "--dry-run", "--source", "\udcff"],
        ["repair-encoding", "--dry-run", "--only", "\udcff"],
        ["backup", "{folder}/back\udcff"],
        ["restore", "--check", "{folder}/back\udcff"],
        ["stats", "--archive", "{folder}/arch\udcff"],
        ["models", "info", "\udcff"],
        ["embeddings", "build", "--model", "\udcff"],
        ["embeddings", "build", "--source", "\udcff"],
    ],
)
def test_no_lone_surrogate_is_printed(archive: Path, tmp_path: Path, arguments: list[str]) -> None:
    there = tmp_path / "Entw\udcfcrfe"
    there.mkdir()
    (there / "1.eml").write_bytes(mail("draft", "of a letter"))
    copy = shutil.copy(archive, tmp_path / "a.db")
    filled = [argument.format(folder=tmp_path) for argument in arguments]
    for form in ([], ["--json"]):
        done = vaultembed(*filled, *form, archive=Path(copy))
        assert "Internal error" not in done.stderr
        assert not LONE.search(done.stdout + done.stderr)
        if form and done.stdout:
            assert not [text for text in values(json.loads(done.stdout)) if LONE.search(text)]


def test_a_byte_of_an_argument_is_written_out_as_in_the_archive(archive: Path, tmp_path: Path) -> None:
    there = tmp_path / "Entw\udcfcrfe"
    there.mkdir()
    (there / "1.eml").write_bytes(mail("draft", "of a letter"))
    done = vaultembed("import", there, "--json", archive=tmp_path / "b.db")
    assert json.loads(done.stdout)["data"]["paths"] == [f"{tmp_path}/Entw\\xfcrfe"]
    done = vaultembed("search", "--mode", "text", "--json", "\udcff barn", archive=archive)
    data = json.loads(done.stdout)["data"]
    assert data["query"] == "\\xff barn"


@pytest.mark.parametrize("encoding", ["cp1252", "gbk", "latin-1", "ascii"])
def test_an_output_that_is_no_utf8_lacks_characters_and_nothing_else(archive: Path, encoding: str) -> None:
    for line in ("search --mode text barn", "show 1", "stats", "search --help"):
        done = shell(archive, line, PYTHONIOENCODING=encoding)
        assert done.returncode == 0
        assert b"rror" not in done.stderr
        done.stdout.decode("utf-8" if encoding == "ascii" else encoding)  # ASCII stands for a locale that says nothing
    done = shell(archive, "show 1 --json", PYTHONIOENCODING=encoding)
    assert json.loads(done.stdout)["data"]["subject"] == f"barn {TEXT}"


@pytest.mark.parametrize("line", ["stats", "stats --json", "search --mode text barn", "show 1 --raw", "problems"])
def test_a_full_output_is_an_input_output_error(archive: Path, line: str) -> None:
    done = shell(archive, f"{line} > /dev/full")
    assert done.returncode == 74
    assert done.stderr == b"Error: the output could not be written: No space left on device\n"
    assert shell(archive, f"{line} > /dev/full 2>&1").returncode == 74


LONG = [
    "import {box}",
    "doctor --json",
    "repair-encoding --dry-run",
    "backup {box}.db --overwrite",
    "delete --dry-run barn",
]


@pytest.mark.parametrize("line", ["stats", "stats --json", "search --mode text barn", "show 1", "show 1 --raw", *LONG])
def test_a_closed_output_is_no_error(archive: Path, line: str) -> None:
    for redirection in (">&-", "2>&-", "<&- >&- 2>&-"):
        done = shell(archive, f"{line.format(box=archive.with_name('box'))} {redirection}")
        assert done.returncode == 0
        assert b"rror" not in done.stderr


@pytest.mark.parametrize(("line", "code"), [("undelete", 0), ("delete --dry-run barn", 0), ("stat", 2), ("show x", 2)])
def test_what_stderr_has_no_room_for_changes_no_exit_code(archive: Path, line: str, code: int) -> None:
    assert shell(archive, f"{line} 2> /dev/full").returncode == code


def test_a_reader_that_has_seen_enough_is_no_error(archive: Path) -> None:
    for arguments in (["show", "1"], ["search", "--mode", "text", "barn"], ["stats", "--json"], ["show", "1", "--raw"]):
        reading, writing = os.pipe()
        os.close(reading)
        with os.fdopen(writing) as output:
            done = subprocess.run(
                [*COMMAND, *arguments],
                env=environment(archive),
                stdout=output,
                stderr=subprocess.PIPE,
                check=False,
            )
        assert (done.returncode, done.stderr) == (0, b"")


def test_an_archive_that_cannot_be_looked_at_is_an_input_output_error(archive: Path, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir()
    shutil.copy(archive, closed / "a.db")
    vaultembed("stats", "--json", archive=tmp_path / "none.db")  # loads what that user may not read
    closed.chmod(0)
    try:
        if os.getuid() == 0:  # who may look at everything
            os.seteuid(65534)
        done = vaultembed("stats", "--json", archive=closed / "a.db")
    finally:
        if os.getuid() == 0:
            os.seteuid(0)
        closed.chmod(0o700)
    assert done.returncode == 74, done.stderr
    assert "cannot read" in json.loads(done.stdout)["error"]["message"]


@pytest.mark.parametrize("name", ["x" * 300, "x" * 250, "\udcff.db", "~nobody here/x", ""])
def test_what_can_be_no_path_is_a_usage_error(archive: Path, tmp_path: Path, name: str) -> None:
    place = f"{tmp_path}/{name}" if name[:1] in ("x", "\udcff") else name
    for arguments in (
        ["stats", "-a", place],
        ["import", str(archive.with_name("box")), "-a", place],
        ["import", place, "-a", str(tmp_path / "new.db")],
        ["restore", "--check", place],
        ["restore", place, "-a", str(tmp_path / "new.db")],
        ["backup", place, "-a", str(archive)],
    ):
        if len(name) == 250 and arguments[0] == "backup":
            continue  # that of its companion is what is too long, and only while it is written
        done = vaultembed(*arguments)
        assert done.returncode == 2, arguments
        assert not re.search(r"Path\(|codec|\\udc", done.stderr)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("url", ["postgresql://ada:secret@host/mail", "file:///mail.db", "sqlite:///mail.db"])
def test_a_url_is_no_path(archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.chdir(tmp_path)
    box = mbox(tmp_path / "box", [mail("a", "b")])
    for arguments in (
        ["import", str(box), "--archive", url],
        ["stats", "--archive", url],
        ["backup", url, "--archive", str(archive)],
        ["restore", url, "--archive", str(archive)],
        ["restore", "--check", url],
        ["import", url, "--archive", str(archive)],
        ["import", str(box), "--vectors", url, "--archive", str(archive)],
        ["demo", "--keep", url],
        ["models", "add", url],
        ["models", "info", url],
        ["embeddings", "build", "--model", url, "--archive", str(archive)],
        ["mcp", "--http", "--token-file", url, "--archive", str(archive)],
    ):
        done = vaultembed(*arguments)
        assert done.returncode == 2
        assert "is a URL" in done.stderr
        assert "secret" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["box"]
    (tmp_path / "odd:").mkdir()
    assert vaultembed("import", str(box), "--archive", "odd:/a.db").returncode == 0  # a folder of that name is there


@pytest.mark.parametrize(
    ("text", "second"),
    [
        ("2014", 1_388_534_400),
        ("2014-03-04", 1_393_891_200),
        ("2014-03-04T10:00:00+00:00", 1_393_927_200),
        ("2014-03-04T10:00:00Z", 1_393_927_200),
        ("2014-03-04T12:00:00.250+02:00", 1_393_927_200),
        ("4 March 2014", 1_393_891_200),
    ],
)
def test_a_scope_takes_dates_as_queries_do_and_as_they_are_printed(text: str, second: int) -> None:
    assert first_second("--after", text) == second


def test_what_a_bug_prints_is_obeyed_by_no_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise ValueError("\x1b]0;owned\x07")

    monkeypatch.delenv("VAULTEMBED_DEBUG", raising=False)
    with action_at("command.begins", fail), pytest.raises(SystemExit):
        main()
    assert "Internal error: ValueError: \\u{1b}]0;owned\\u{7}\n" in capsys.readouterr().err


@pytest.mark.parametrize("columns", ["1", "-1", "abc"])
def test_any_width_of_a_terminal_will_do(archive: Path, columns: str) -> None:
    for line in ("search --mode text barn", "show 1", "stats"):
        done = shell(archive, line, COLUMNS=columns)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("number", "folder", "told"),
    [
        (apsw.SQLITE_CANTOPEN, "none", r"its folder cannot be written\nCopy both files"),
        (apsw.SQLITE_PROTOCOL, "", r"cannot be locked.*\n.*a disk of this machine"),
        (apsw.SQLITE_IOERR_LOCK, "", r"cannot be locked.*\n.*a disk of this machine"),
        (apsw.SQLITE_IOERR_READ, "", r"cannot read or write"),
    ],
)
def test_a_disk_that_is_not_enough_for_sqlite_is_told_with_the_way_out(
    tmp_path: Path, number: int, folder: str, told: str
) -> None:
    with pytest.raises(StorageError, match=told), explained_errors(tmp_path / folder / "a.db"):
        raise apsw.exception_for(number)


def test_a_name_of_megabytes_does_not_fill_the_terminal() -> None:
    assert len(safe_line("y" * 1_000_000)) == 5_000
    assert safe_line("y" * 5_000) == "y" * 5_000
