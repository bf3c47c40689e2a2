"""Listeners are told in order, and do not disturb each other."""

from __future__ import annotations

import asyncio
from typing import Any

from autocity.model import Logged
from autocity.store.listeners import Listeners

LINE = Logged(seq=1, tenant="", id="urn:x", operation="create", types=(), attributes=(), at=0)


async def test_a_listener_that_fails_does_not_keep_others_from_hearing() -> None:
    faults: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
    listeners, heard = Listeners(), list[Logged]()

    def fail(lines: Any) -> None:
        raise RuntimeError("deaf")

    listeners.add(fail)
    end = listeners.add(heard.extend)
    listeners.tell([LINE])
    assert heard == [LINE]
    assert "deaf" in str(faults[0]["exception"])
    end()
    end()
    listeners.tell([LINE])
    assert heard == [LINE]


async def test_silence_is_not_told() -> None:
    listeners, calls = Listeners(), list[int]()
    listeners.add(lambda lines: calls.append(len(lines)))
    listeners.tell([])
    assert calls == []
