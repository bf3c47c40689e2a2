"""Running the real program from a test."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from email.message import Message
from pathlib import Path
from typing import Any

from msgspec import Struct


class Reply(Struct):
    """An HTTP answer."""

    status: int
    headers: Message
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Program(Struct):
    """A running city."""

    process: subprocess.Popen[str]
    address: str
    said: list[str]

    def request(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> Reply:
        data = body if isinstance(body, bytes) else json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(self.address.rstrip("/") + path, data=data, method=method)
        if data is not None:
            request.add_header("Content-Type", "application/json")
        for name, value in (headers or {}).items():
            request.add_header(name, value)
        opener = urllib.request.build_opener(_NoRedirect)
        try:
            with opener.open(request, timeout=20) as answer:
                return Reply(answer.status, answer.headers, answer.read())
        except urllib.error.HTTPError as answer:
            with answer:
                return Reply(answer.code, answer.headers, answer.read())

    def find(self, pattern: str) -> str:
        """What the program said on stderr that fits; the first group."""
        found = re.search(pattern, "\n".join(self.said))
        assert found, f"{pattern!r} was not said: {self.said}"
        return found.group(1)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


def environment(**extra: str) -> dict[str, str]:
    """A clean environment: no setting of the machine reaches the program."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AUTOCITY_")}
    return kept | {"PYTHONUNBUFFERED": "1"} | extra


@contextlib.contextmanager
def running(*arguments: str, timeout: float = 60, **settings: str) -> Iterator[Program]:
    """`autocity ARGUMENTS` until the block ends, once it has printed its address."""
    process = subprocess.Popen(
        [sys.executable, "-m", "autocity", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(**settings),
    )
    assert process.stdout is not None
    assert process.stderr is not None
    said: list[str] = []
    stderr = process.stderr
    listener = threading.Thread(target=lambda: said.extend(line.rstrip() for line in stderr), daemon=True)
    listener.start()
    killer = threading.Timer(timeout, process.kill)
    killer.start()
    try:
        address = process.stdout.readline().strip()
        killer.cancel()
        if not address:
            process.wait(5)
            listener.join(5)
            raise AssertionError(f"the program did not start: {said}")
        yield Program(process, address, said)
    finally:
        killer.cancel()
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(5)
        listener.join(5)
        process.stdout.close()
        process.stderr.close()


def run(
    *arguments: str, check: int | None = 0, stdin: str = "", **settings: str
) -> subprocess.CompletedProcess[str]:
    """`autocity ARGUMENTS` to its end; its exit code must be `check` unless that is None."""
    done = subprocess.run(
        [sys.executable, "-m", "autocity", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=110,
        env=environment(**settings),
    )
    assert check is None or done.returncode == check, (
        done.returncode,
        done.stdout[-2000:],
        done.stderr[-2000:],
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


def wait_until(true: Any, seconds: float = 10, step: float = 0.05) -> None:
    """Until the condition holds; AssertionError when it does not in time."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(step)


def data(folder: Path) -> list[str]:
    """The arguments that name a data folder and a free port."""
    return ["--data", str(folder), "--port", "0"]
