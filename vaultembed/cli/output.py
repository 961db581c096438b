"""How every command ends: print the result or the error, and exit with its code."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, NoReturn, TextIO, TypeVar

import typer

from vaultembed.cli.wording import in_line, say
from vaultembed.deadline import heeding
from vaultembed.errors import StoppedError, StorageError, TerminatedError, UsageError, VaultembedError
from vaultembed.service.display import escaped_json, shown, visible
from vaultembed.service.result import Result, envelope, error_envelope

T = TypeVar("T")


class CancelledError(VaultembedError):
    """The person was asked, and said no."""


class OutputFailedError(StorageError):
    """Stdout takes no more, so nothing can be said there."""


def finish(
    command: str,
    call: Callable[[], Result[T]],
    render: Callable[[T], None],
    *,
    as_json: bool,
    text: Callable[[str], str] = in_line,
) -> NoReturn:
    """Run a command to its exit: data on stdout, errors and notes on stderr, or all of it as one JSON document. What is
    rendered has gone through `text`, whoever wrote it; `visible` where it is to have more lines than one."""
    with reported_errors(command, as_json=as_json):
        result = call()
    if as_json:
        with written():
            print_json(envelope(result))
    else:
        with written():
            render(shown(result.data, text))
            sys.stdout.flush()
        for note in result.notes:
            say(" ".join(note.split("\n")), err=True)
    raise typer.Exit(result.exit_code)


@contextmanager
def written() -> Iterator[None]:
    """For what prints: a full disk under stdout is told as any other.

    Raises:
        OutputFailedError: stdout takes no more.
    """
    try:
        yield
    except BrokenPipeError:  # `vaultembed search … | head`: who reads has seen enough
        let_go_of(sys.stdout)
    except OSError as error:
        let_go_of(sys.stdout)
        raise OutputFailedError(f"the output could not be written: {error.strerror}") from error


def let_go_of(stream: TextIO) -> None:
    """What it still holds is not written: Python would fail at it once more when it ends, with another exit code."""
    with suppress(OSError):  # a stream of no file
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


@contextmanager
def reported_errors(command: str, *, as_json: bool) -> Iterator[None]:
    """Inside, an error ends the command as in `finish`. Also for options that are looked at before `finish`."""
    try:
        yield
    except VaultembedError as error:
        report(command, error, as_json=as_json)
        raise typer.Exit(error.exit_code) from error
    except typer.BadParameter as wrong:
        if not as_json:
            raise  # is shown with the command's usage
        usage = UsageError(wrong.format_message())
        report(command, usage, as_json=as_json)
        raise typer.Exit(usage.exit_code) from wrong


def report(command: str, error: VaultembedError, *, as_json: bool) -> None:
    if as_json and not isinstance(error, OutputFailedError):
        with suppress(OutputFailedError), written():
            print_json(error_envelope(command, error))
            return
    kind = "" if isinstance(error, CancelledError | StoppedError) else "Error: "
    say(f"{kind}{error.message}", err=True)
    if error.hint:
        say(error.hint, err=True)


def print_json(document: dict[str, Any]) -> None:
    # JSON is UTF-8, and another encoding lacks characters
    is_utf8 = sys.stdout.encoding.lower().replace("-", "") == "utf8"
    typer.echo(escaped_json(json.dumps(document, ensure_ascii=not is_utf8, indent=2)))


class Stop:
    """Set by the first Ctrl-C or SIGTERM; read between batches."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def __call__(self) -> bool:
        return self.signal is not None

    def exit_code(self, result: Result[T]) -> Result[T]:
        """The result with the exit code of the signal that ended it early: 130 or 143."""
        if result.exit_code == 130 and self.signal == signal.SIGTERM:
            return Result(result.command, result.data, result.notes, 143)
        return result


@contextmanager
def stopping() -> Iterator[Stop]:
    """Inside, the first Ctrl-C or SIGTERM asks to stop after the step in hand; the second stops at once."""
    stop = Stop()

    def on_signal(number: int, _frame: FrameType | None) -> None:
        if stop.signal is not None:
            raise KeyboardInterrupt
        stop.signal = number
        say("\nStopping after this step; what is done stays. Once more to stop at once.", err=True)

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with heeding(stop):
            yield stop
    except StoppedError as error:
        if stop.signal != signal.SIGTERM:
            raise
        raise TerminatedError(error.message, error.hint) from error
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def confirmed(question: str, *, yes: bool) -> None:
    """Return if the person agrees, or said --yes beforehand.

    Raises:
        CancelledError: they do not.
        UsageError: there is no terminal to ask on.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError(f"cannot ask for confirmation (no terminal): {question}", "To agree beforehand: --yes")
    try:
        agrees = typer.confirm(visible(question), default=False, err=True)
    except typer.Abort:  # Ctrl-C, or the end of input
        say("\nNothing was changed.", err=True)
        raise typer.Exit(130) from None
    if not agrees:
        raise CancelledError("Cancelled; nothing was changed.")
