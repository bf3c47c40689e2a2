"""Dates and times of the standard (4.6.3) to numbers and back; its own module, for all of `ld` needs it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal

from autocity.errors import BadRequestData
from autocity.model import Instant

SECOND = 1_000_000
DAY = 86_400 * SECOND

LAST: Instant = 253_402_300_799_999_999
"""The end of the year 9999, after which there is no DateTime."""

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001  naive on purpose: every instant is UTC
EPOCH_DAY = _EPOCH.toordinal()


def instant(text: str) -> Instant:
    """The instant of a DateTime (4.6.3): UTC with `Z`, at most six decimals, a comma tolerated.

    Raises `errors.BadRequestData`.
    """
    at = read(text) if isinstance(text, str) else None
    if at is None:
        raise BadRequestData(f"{text!r:.60} is not a DateTime such as 2026-11-22T08:30:00Z")
    return at


def read(text: str) -> Instant | None:
    """The instant of a DateTime (4.6.3), None for any other text."""
    if (
        len(text) < 20
        or text[-1] != "Z"
        or text[10] != "T"
        or text[4] != "-"
        or text[7] != "-"
        or text[13] != ":"
        or text[16] != ":"
        or text[11:13] == "24"  # newer Pythons read it as the next midnight
    ):
        return None
    try:
        whole = datetime.fromisoformat(text[:19])
    except ValueError:
        return None
    seconds = (whole.hour * 60 + whole.minute) * 60 + whole.second
    at = (whole.toordinal() - EPOCH_DAY) * DAY + seconds * SECOND
    if len(text) == 20:
        return at
    decimals = text[20:-1]
    if text[19] not in ".," or not 1 <= len(decimals) <= 6 or not (decimals.isascii() and decimals.isdigit()):
        return None
    return at + int(decimals.ljust(6, "0"))


def timestamp(at: Instant) -> str:
    """The DateTime of an instant: UTC, `Z`, no fraction when whole seconds, no trailing zeros."""
    text = (_EPOCH + timedelta(0, 0, at)).isoformat()
    return (text if len(text) == 19 else text.rstrip("0")) + "Z"


def moment(text: str) -> tuple[Literal["DateTime", "Date", "Time"], int] | None:
    """What a text is as a DateTime, Date or Time (4.6.3): microseconds since 1970, days since 1970,
    microseconds since midnight; None when it is none of them."""
    size = len(text)
    if not 9 <= size <= 27 or not "0" <= text[0] <= "9":
        return None
    if size == 10 and text[4] == "-":
        midnight = read(text + "T00:00:00Z")
        return None if midnight is None else ("Date", midnight // DAY)
    if text[2] == ":":
        since_midnight = read("1970-01-01T" + text)
        return None if since_midnight is None else ("Time", since_midnight)
    at = read(text)
    return None if at is None else ("DateTime", at)
