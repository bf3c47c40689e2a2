"""How commands speak: JSON or tables on stdout, messages and progress on stderr, faults with a mend."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec

DONE, FAILED, MISUSED, MISCONFIGURED, PARTLY = 0, 1, 2, 3, 4
"""Exit codes, as the help of `autocity` tells them."""


class Refusal(Exception):
    """A command cannot go on; the message says what, where and the mend."""

    def __init__(self, message: str, code: int = FAILED) -> None:
        super().__init__(message)
        self.code = code


def complain(fault: Exception) -> int:
    """Tell a fault on stderr and return the exit code. A traceback only with AUTOCITY_DEBUG=1."""
    from autocity.config import SettingsError
    from autocity.errors import CityError

    if os.environ.get("AUTOCITY_DEBUG") == "1":
        traceback.print_exception(fault)
    if isinstance(fault, SettingsError):
        note(f"Settings are wrong:\n{fault}")
        return MISCONFIGURED
    if isinstance(fault, Refusal):
        note(str(fault))
        return fault.code
    if isinstance(fault, CityError):
        note(f"{fault.title}: {fault.detail}")
        return FAILED
    if isinstance(fault, OSError):
        note(f"{fault.strerror or fault}{': ' + str(fault.filename) if fault.filename else ''}")
        return FAILED
    note(f"Unexpected {type(fault).__name__}: {fault}\nSet AUTOCITY_DEBUG=1 to see where it happened.")
    return FAILED


def note(message: str) -> None:
    """A message for the person, on stderr."""
    print(message, file=sys.stderr, flush=True)


def data(value: Any) -> None:
    """One JSON document on stdout."""
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n")


def lines(values: Iterable[Any]) -> None:
    """JSON lines on stdout."""
    for value in values:
        sys.stdout.write(msgspec.json.encode(value).decode() + "\n")


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]], title: str = "") -> None:
    """A table on stdout; plain columns when stdout is not a terminal."""
    rows = [["" if cell is None else str(cell) for cell in row] for row in rows]
    if not sys.stdout.isatty():
        for row in (columns, *rows):
            sys.stdout.write("\t".join(row) + "\n")
        return
    from rich.console import Console
    from rich.table import Table

    shown = Table(title=title or None, title_justify="left", box=None, header_style="bold", pad_edge=False)
    for column in columns:
        shown.add_column(column, overflow="fold")
    for row in rows:
        shown.add_row(*row)
    Console().print(shown)


@contextmanager
def progress(title: str, total: int | None = None, quiet: bool = False) -> Iterator[Any]:
    """A progress bar on stderr when a person watches, else silence. Yields `advance(n)`."""
    if quiet or not sys.stderr.isatty():
        yield lambda n=1: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=total)
        yield lambda n=1: bar.advance(task, n)


def confirm(question: str, yes: bool) -> None:
    """Go on only when the person agrees or said `--yes`."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise Refusal(f"{question} Add --yes to agree in a script.", MISUSED)
    note(f"{question} [y/N] ")
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise Refusal("Nothing was done.", FAILED)
