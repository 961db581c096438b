from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import pytest
import typer

from tests.kit.archives import add
from tests.kit.embedded import embedded_archive
from tests.kit.mail import mail, many, mbox
from tests.kit.processes import COMMAND, environment, vaultembed, vaultembed_json
from vaultembed.archive.database import open_archive, open_archive_readonly
from vaultembed.cli.embeddings_app import embeddings_app
from vaultembed.embeddings.build import Options
from vaultembed.errors import UsageError
from vaultembed.failpoints import action_at
from vaultembed.models.model_file import ModelFile


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, model: ModelFile) -> Path:
    """A small archive, imported and built by the real commands with the real model."""
    folder = tmp_path_factory.mktemp("built")
    messages = [
        mail("Water everywhere", "The pipe under the sink burst and the whole kitchen is flooded."),
        mail("Sunday", "Shall we take the children to the zoo? The penguins hatched."),
        mail("Invoice 4411", "Please pay the attached invoice within fourteen days."),
        mail("", ""),
    ]
    box = mbox(folder / "box", messages)
    archive = folder / "a.db"
    assert vaultembed("import", box, archive=archive).returncode == 0
    done = vaultembed("embeddings", "build", archive=archive)
    assert done.returncode == 0, done.stderr
    return archive


@pytest.mark.parametrize(
    ("arguments", "unwanted"),
    [
        (["--help"], {"numpy", "llama_cpp", "rich", "huggingface_hub", "apsw", "gguf", "chardet", "resiliparse"}),
        (
            ["search", "--mode", "text", "zoo"],
            {"numpy", "llama_cpp", "huggingface_hub", "gguf", "chardet", "resiliparse"},
        ),
    ],
)
def test_heavy_modules_are_loaded_only_where_they_are_needed(
    built: Path, arguments: list[str], unwanted: set[str]
) -> None:
    code = (
        "import sys, atexit; atexit.register(lambda: print('LOADED', *sys.modules));"
        f"sys.argv = ['vaultembed', *{arguments!r}]; from vaultembed.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(built), capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.split("LOADED", 1)[1].split())
    assert not loaded & unwanted


def test_search_by_meaning_finds_what_shares_no_word(built: Path) -> None:
    data = vaultembed_json("search", "plumbing disaster at home", archive=built)
    assert data["results"][0]["subject"] == "Water everywhere"
    assert data["results"][0]["text"] is None
    assert "burst" in data["results"][0]["passage"]["text"]
    assert vaultembed_json("search", "--mode", "text", "plumbing disaster", archive=built)["results"] == []


def test_search_prints_date_sender_subject_and_passage(built: Path) -> None:
    done = vaultembed("search", "-n", "1", "animals outing", archive=built)
    assert done.returncode == 0
    assert "2003-02-03" in done.stdout
    assert "Ada <ada@example.org>" in done.stdout
    assert "Sunday" in done.stdout
    assert "penguins" in done.stdout


def test_what_is_not_covered_is_said_last(built: Path, tmp_path: Path) -> None:
    archive = tmp_path / "copy.db"
    archive.write_bytes(built.read_bytes())
    assert vaultembed("search", "zoo", archive=archive).stderr == ""
    vaultembed("import", mbox(tmp_path / "more", many(2)), archive=archive)
    done = vaultembed("search", "zoo", archive=archive)
    assert done.stderr.strip() == ("Not covered by meaning: 2 missing of 6 messages. Next: vaultembed embeddings build")


def test_coverage_adds_up_in_every_report(built: Path) -> None:
    coverage = {"live": 4, "embedded": 3, "blank": 1, "failed": 0, "missing": 0, "in_part": 0, "outside_scope": 0}
    generation = vaultembed_json("stats", archive=built)["vector_search"]["active_generation"]
    reports = [
        vaultembed_json("embeddings", archive=built)["generations"][0]["coverage"],
        {name: generation[name] for name in coverage},
        vaultembed_json("search", "zoo", archive=built)["coverage"],
        vaultembed_json("doctor", archive=built)["counted"]["generations"][0]["coverage"],
    ]
    assert reports == [coverage] * 4


def test_a_second_build_does_nothing_and_says_so(built: Path) -> None:
    done = vaultembed("embeddings", "build", archive=built)
    assert done.returncode == 0
    assert "Nothing to do" in done.stdout


def test_show_stats_and_problems_print_what_there_is(built: Path) -> None:
    shown = vaultembed("show", "1", archive=built).stdout
    assert "Water everywhere" in shown
    assert "flooded" in shown
    assert vaultembed("show", "1", "--raw", archive=built).stdout.startswith("From: Ada")
    assert "Messages:       4" in vaultembed("stats", archive=built).stdout
    assert "No problems." in vaultembed("problems", archive=built).stderr


ERRORS = [
    (["search", "x"], "none.db", 1, "vaultembed import PATH"),
    (["show", "99"], None, 1, "no message 99"),
    (["search", ""], None, 2, "empty"),
    (["search", "before:soon"], None, 2, "no date"),
    (["import", "/nowhere/at/all"], None, 2, "/nowhere/at/all"),
    (["embeddings", "build", "--model", "nonesuch"], None, 4, "nonesuch"),
    (["models", "info", "nonesuch"], None, 4, "all-minilm-l6-v2"),
    (["embeddings", "build", "--model", "/nowhere/x.gguf"], None, 4, "/nowhere/x.gguf"),
]


@pytest.mark.parametrize(("arguments", "other", "code", "says"), ERRORS)
def test_errors_say_what_and_the_way_out_in_words_and_in_json(
    built: Path, tmp_path: Path, arguments: list[str], other: str | None, code: int, says: str
) -> None:
    archive = tmp_path / other if other else built
    done = vaultembed(*arguments, archive=archive)
    assert done.returncode == code
    assert done.stdout == ""
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    done = vaultembed(*arguments, "--json", archive=archive)
    document = json.loads(done.stdout)
    assert done.returncode == document["exit_code"] == code
    assert says in f"{document['error']['message']} {document['error']['hint']}"


def test_an_unknown_option_or_mode_is_a_usage_error(built: Path) -> None:
    for arguments in (
        ["search", "--wings", "x"],
        ["search", "--mode", "magic", "x"],
        ["search", "-n", "0", "x"],
        ["show", "9" * 30],
        ["show", "1", "--raw", "--json"],
        ["fly"],
    ):
        done = vaultembed(*arguments, archive=built)
        assert done.returncode == 2
        assert "Traceback" not in done.stderr


def test_the_archive_may_be_named_by_option_or_environment_and_stays_private(tmp_path: Path) -> None:
    box = mbox(tmp_path / "box", many(1))
    assert vaultembed("import", box, "--archive", tmp_path / "x" / "a.db").returncode == 0
    assert (tmp_path / "x" / "a.db").stat().st_mode & 0o077 == 0
    data = tmp_path / "data"
    default = subprocess.run(
        [*COMMAND, "import", str(box), "--json"],
        env={**{k: v for k, v in os.environ.items() if k != "VAULTEMBED_ARCHIVE"}, "XDG_DATA_HOME": str(data)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert Path(json.loads(default.stdout)["data"]["archive"]).exists()


def test_control_characters_of_a_mail_do_not_reach_the_terminal(tmp_path: Path) -> None:
    archive = tmp_path / "a.db"
    subject = "red \x1b[31m alert \x9b2J \u202e desrever"
    body = "bell \x07 and \x1b]0;title\x07 text \u200b\U000e0041"
    kind = "Content-Type: text/plain; charset=utf-8"
    box = mbox(tmp_path / "box", [mail(subject, body, headers=[kind, "X-Keywords: \x1b[5mlabel"])])
    vaultembed("import", box, archive=archive)
    dangerous = {"\x1b", "\x07", "\x9b", "\u202e", "\u200b", "\U000e0041"}
    for arguments in (["search", "--mode", "text", "alert"], ["show", "1"], ["delete", "1", "--dry-run"]):
        for form in ([], ["--json"]):
            done = vaultembed(*arguments, *form, archive=archive)
            assert not dangerous & set(done.stdout + done.stderr)


def test_output_that_cannot_be_written_is_an_input_output_error(built: Path) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*COMMAND, "stats"], env=environment(built), stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 74
    assert "No space left" in done.stderr
    assert "bug" not in done.stderr


def test_an_empty_file_that_becomes_an_archive_becomes_private(tmp_path: Path) -> None:
    archive = tmp_path / "a.db"
    archive.touch()
    archive.chmod(0o644)
    assert vaultembed("import", mbox(tmp_path / "box", many(1)), archive=archive).returncode == 0
    assert archive.stat().st_mode & 0o077 == 0


def test_a_closed_pipe_is_no_error(built: Path) -> None:
    done = subprocess.run(
        f"{sys.executable} -m vaultembed show 1 | head -c 1",
        shell=True,
        env=environment(built),
        capture_output=True,
        check=False,
    )
    assert b"Traceback" not in done.stderr
    assert b"Error" not in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["embeddings", "build", "--after", "foo"],
        ["embeddings", "build", "--before", "2019-02-30"],
        ["embeddings", "build", "--max-time", "soon"],
        ["embeddings", "build", "--rate-limit", "0"],
        ["repair-encoding", "--ids", "one"],
        ["repair-encoding", "--only", "nose"],
    ],
)
def test_a_value_that_means_nothing_is_a_usage_error_in_words_and_in_json(tmp_path: Path, arguments: list[str]) -> None:
    done = vaultembed(*arguments, archive=tmp_path / "a.db")
    assert (done.returncode, done.stdout, "bug" in done.stderr) == (2, "", False)
    assert f"{arguments[-1]}" in done.stderr
    done = vaultembed(*arguments, "--json", archive=tmp_path / "a.db")
    document = json.loads(done.stdout)
    assert done.returncode == document["exit_code"] == 2
    assert arguments[-1] in document["error"]["message"]
    assert done.stderr == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ["stats", "--archive", "~nosuchuser/a.db"],
        ["migrate", "--archive", "~nosuchuser/a.db"],
        ["restore", "b.db", "--archive", "~nosuchuser/a.db"],
        ["restore", "~nosuchuser/a.db"],
        ["restore", "~nosuchuser/a.db", "--check"],
        ["backup", "~nosuchuser/a.db"],
    ],
)
def test_the_home_of_somebody_who_is_not_here_is_a_usage_error(tmp_path: Path, arguments: list[str]) -> None:
    archive = tmp_path / "a.db"
    done = vaultembed(*arguments, archive=archive)
    assert (done.returncode, "~nosuchuser/a.db" in done.stderr, "bug" in done.stderr) == (2, True, False)
    error = json.loads(vaultembed(*arguments, "--json", archive=archive).stdout)["error"]
    assert error["kind"] == "UsageError"


def test_a_model_in_the_home_of_somebody_who_is_not_here_is_named(tmp_path: Path) -> None:
    archive = tmp_path / "a.db"
    assert vaultembed("import", mbox(tmp_path / "box", [mail("a", "b")]), archive=archive).returncode == 0
    model = "~nosuchuser/x.gguf"
    done = vaultembed("embeddings", "build", "--model", model, archive=archive)
    assert (done.returncode, model in done.stderr, "bug" in done.stderr) == (2, True, False)


DISK = PermissionError(errno.EACCES, "Permission denied", "some/file")


@pytest.mark.parametrize(
    ("error", "code", "name", "told"),
    [
        (DISK, 74, "storage_failed", "Error: some/file: Permission denied\n"),
        (UsageError("that makes no sense", "Do this."), 2, "invalid_request", "Error: that makes no sense\nDo this.\n"),
    ],
)
def test_an_error_outside_of_what_a_command_calls_is_told_like_any_other(
    error: Exception, code: int, name: str, told: str
) -> None:
    def fail() -> NoReturn:
        raise error

    with action_at("command.begins", fail):
        done = vaultembed("stats")
        document = json.loads(vaultembed("stats", "--json").stdout)
    assert (done.returncode, done.stdout, done.stderr) == (code, "", told)
    assert (document["command"], document["exit_code"], document["error"]["code"]) == ("stats", code, name)


def test_a_discard_abandons_the_generation_that_was_asked_about(tmp_path: Path) -> None:
    """Not the one that another process has begun while the question stood."""
    archive = embedded_archive(tmp_path / "a.db", 3)
    with open_archive(archive) as opened:
        opened.db.execute("UPDATE generations SET state = 'building' WHERE id = 1")
    process, terminal = asked("embeddings", "discard", archive=archive)
    with open_archive(archive) as opened:
        opened.db.execute("UPDATE generations SET state = 'retired' WHERE id = 1")
        opened.db.execute("UPDATE generations SET state = 'building' WHERE id = 2")
    os.write(terminal, b"y\n")
    assert process.wait(20) == 2
    os.close(terminal)
    with open_archive_readonly(archive) as opened:
        assert opened.rows("SELECT state FROM generations ORDER BY id") == [("retired",), ("building",)]


def test_the_defaults_of_options_are_those_of_a_build() -> None:
    """They are written twice, as `--help` would have to load all that a build needs to know them."""
    group = typer.main.get_command(embeddings_app)
    for name in ("build", "activate"):
        options = {option.name: option.default for option in group.commands[name].params}  # type: ignore[attr-defined]
        assert options["max_failed"] == Options().max_failed
        assert options.get("backstop_hours", Options().backstop_hours) == Options().backstop_hours


def test_ctrl_c_at_a_question_ends_with_130_and_changes_nothing(tmp_path: Path) -> None:
    archive = tmp_path / "a.db"
    with open_archive(archive) as opened:
        add(opened, "hello", "world")
    process, terminal = asked("delete", "1", archive=archive)
    deadline = time.monotonic() + 20
    while process.poll() is None and time.monotonic() < deadline:
        # again and again, as a person would: one that comes just before it begins to wait is only seen after it
        process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):  # one that comes while it ends would kill it
            process.wait(3)
    assert process.poll() == 130
    os.close(terminal)
    with open_archive(archive) as opened:
        assert opened.scalar("SELECT deleted_at FROM messages") is None


def asked(*arguments: str, archive: Path) -> tuple[subprocess.Popen[bytes], int]:
    """A command that has asked its question, and the terminal in which it waits for the answer."""
    terminal, other = os.openpty()
    process = subprocess.Popen(
        [*COMMAND, *arguments],
        env=environment(archive),
        stdin=other,
        stdout=other,
        stderr=other,
        start_new_session=True,
    )
    os.close(other)
    seen = b""
    while b"[y/N]" not in seen:
        seen += os.read(terminal, 1000)
    return process, terminal
