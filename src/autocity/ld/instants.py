"""DateTimes of the standard (4.6.3) to instants and back; its own module, for everything else in `ld` needs it."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from autocity.errors import BadRequestData
from autocity.model import Instant

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_DATE_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:[.,]\d{1,6})?Z", re.ASCII)


def instant(text: str) -> Instant:
    """The instant of a DateTime (4.6.3): UTC with `Z`, at most six decimals, a comma tolerated.

    Raises `errors.BadRequestData`.
    """
    if isinstance(text, str) and _DATE_TIME.fullmatch(text):
        try:
            return (datetime.fromisoformat(text) - _EPOCH) // _MICROSECOND
        except ValueError:
            pass
    raise BadRequestData(f"{text!r:.60} is not a DateTime such as 2026-11-22T08:30:00Z")


def timestamp(at: Instant) -> str:
    """The DateTime of an instant: UTC, `Z`, no fraction when whole seconds, no trailing zeros."""
    text = (_EPOCH + timedelta(microseconds=at)).isoformat()[:-6]
    return (text.rstrip("0") if "." in text else text) + "Z"
