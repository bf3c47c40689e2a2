"""Files in: CSV, JSON, JSON lines, GeoJSON and NGSI-LD; every bad row named, every good one kept."""

from __future__ import annotations

import asyncio
import codecs
import csv
import gzip
import io
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Protocol

import msgspec
from msgspec import Struct, field

from autocity.errors import ConfigError, StoreUnavailable
from autocity.ingest import mapping as mappings
from autocity.ingest.mapping import Fault, Mapping, SourceRule

log = logging.getLogger(__name__)

Row = dict[str, Any]
Line = tuple[int, Row]
Progress = Callable[[int, int], None]

RECORD_LINES = 64
"""A CSV record of more lines than this has lost a quote."""

SERIES_CHUNK = 20
"""Batches of rows that are sorted by entity and time before a series goes out."""

BREATH = 200
"""Rows after which others on the event loop get their turn."""

PAUSES = (0.5, 1.0, 2.0, 4.0)
"""Seconds to wait before each further attempt when the sink is out of reach."""


class Sink(Protocol):
    """Where entities go. An answer is given when they are durable."""

    async def upsert(self, entities: Sequence[Row]) -> Sequence[str | None]:
        """Create or update entities (normalized, with `@context`), in order; an id may come several times.
        Per entity: None when taken, else the reason of the refusal."""

    async def record(self, histories: Sequence[Row]) -> Sequence[str | None]:
        """Put instances into history without touching the present (EntityTemporal, 5.6.11): each attribute
        is a list of instances with `observedAt`. Per history: None when taken, else the reason."""


class Report(Struct, kw_only=True):
    """What became of a file. `stopped` says why the import ended early; then `next_line` is where to go
    on, and everything before it is settled. `sample` shows the first entities of a dry run."""

    source: str
    rows: int = 0
    taken: int = 0
    faults: list[Fault] = field(default_factory=list)
    stopped: str = ""
    next_line: int | None = None
    sample: list[Row] = field(default_factory=list)

    def write(self, path: Path) -> None:
        """Write the report: `.csv` gives one line a fault, anything else JSON."""
        if path.suffix != ".csv":
            path.write_bytes(msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n")
            return
        with path.open("w", encoding="utf-8", newline="") as out:
            table = csv.writer(out)
            table.writerow(Fault.__struct_fields__)
            table.writerows(msgspec.structs.astuple(fault) for fault in self.faults)


async def run(
    source: Path,
    sink: Sink,
    mapping: Mapping | None = None,
    *,
    batch: int = 500,
    first_line: int = 1,
    dry_run: bool = False,
    progress: Progress | None = None,
    report: Report | None = None,
) -> Report:
    """Import a file. Without a mapping its entries must be NGSI-LD entities.

    `first_line` skips what an earlier run settled. With `dry_run` nothing reaches the sink.
    `progress(bytes read, bytes in all)`. `report` is filled as the import goes, so that whoever passes
    one has it after an interruption too. Raises `ConfigError` when the mapping and the file do not fit
    at all, before anything is written.
    """
    report = report or Report(source=str(source))
    read = mappings.reader(mapping) if mapping else _entity
    carry = (_Series if mapping and mapping.series else _Plain)(_Courier(sink, report, dry_run), batch)
    with _open(source) as (stream, position):
        size = source.stat().st_size
        rows = _rows(source, stream, mapping.source if mapping else SourceRule(), mapping, report)
        try:
            for line, row in rows:
                if line < first_line:
                    continue
                report.rows += 1
                entity, faults = read(row, line)
                report.faults += faults
                if entity is not None and await carry.take(line, entity) and progress:
                    progress(position(), size)
                if report.rows % BREATH == 0:
                    await asyncio.sleep(0)
            await carry.finish()
        except (_Stopped, asyncio.CancelledError) as stop:
            report.stopped = str(stop) or "interrupted"
            report.next_line = carry.unsettled(first_line)
            if isinstance(stop, asyncio.CancelledError):
                raise
    if progress and not report.stopped:
        progress(size, size)
    report.faults.sort(key=lambda fault: fault.line)
    return report


# What goes out


class _Stopped(Exception):
    """The sink cannot be reached; what was not acknowledged is still to do."""


class _Courier:
    """Takes batches to the sink, tries again when it is out of reach, and books what became of each line."""

    def __init__(self, sink: Sink, report: Report, dry_run: bool) -> None:
        self._sink, self._report, self._dry = sink, report, dry_run

    async def upsert(self, batch: Sequence[Line]) -> None:
        if self._dry:
            self._report.sample += [entity for _, entity in batch[: max(0, 3 - len(self._report.sample))]]
            self._report.taken += len(batch)
            return
        outcome = await self._patiently(self._sink.upsert, [entity for _, entity in batch])
        for (line, entity), refusal in zip(batch, outcome, strict=True):
            self._book([line], entity["id"], refusal)

    async def record(self, histories: Sequence[tuple[list[int], Row]]) -> None:
        if self._dry:
            self._report.taken += sum(len(lines) for lines, _ in histories)
            return
        outcome = await self._patiently(self._sink.record, [history for _, history in histories])
        for (lines, history), refusal in zip(histories, outcome, strict=True):
            self._book(lines, history["id"], refusal)

    def _book(self, lines: Sequence[int], id: str, refusal: str | None) -> None:
        if refusal is None:
            self._report.taken += len(lines)
        else:
            self._report.faults += [Fault(line, "", id, refusal) for line in lines]

    async def _patiently(
        self, send: Callable[[Sequence[Row]], Awaitable[Sequence[str | None]]], bodies: Sequence[Row]
    ) -> Sequence[str | None]:
        """What is sent again leaves the same behind, so trying is safe."""
        for pause in (*PAUSES, None):
            try:
                return await send(bodies)
            except (StoreUnavailable, OSError) as fault:
                if pause is None:
                    raise _Stopped(f"the city cannot be reached: {fault}") from fault
                log.warning("import waits for the city", extra={"seconds": pause, "reason": str(fault)})
                await asyncio.sleep(pause)
        raise AssertionError("the last pause is None")


class _Plain:
    """Each row is the state of an entity."""

    def __init__(self, courier: _Courier, batch: int) -> None:
        self._courier, self._batch = courier, batch
        self._waiting: list[Line] = []
        self._seen = 0

    async def take(self, line: int, entity: Row) -> bool:
        """Keep a row; True when a batch went out."""
        self._waiting.append((line, entity))
        self._seen = line
        if len(self._waiting) < self._batch:
            return False
        await self.finish()
        return True

    async def finish(self) -> None:
        """Send what waits."""
        if self._waiting:
            await self._courier.upsert(self._waiting)
            self._waiting = []

    def unsettled(self, first_line: int) -> int:
        """The first line that is not known to be durable."""
        return self._waiting[0][0] if self._waiting else max(first_line, self._seen + 1)


class _Series:
    """Each row is an instant of an entity: the newest becomes its present in the end; the rest history."""

    def __init__(self, courier: _Courier, batch: int) -> None:
        self._courier, self._batch = courier, batch
        self._waiting: list[Line] = []
        self._seen = 0
        self._newest: dict[str, tuple[str, int, Row]] = {}

    async def take(self, line: int, entity: Row) -> bool:
        """Keep a row; True when a chunk of history went out."""
        self._waiting.append((line, entity))
        self._seen = line
        if len(self._waiting) < self._batch * SERIES_CHUNK:
            return False
        await self._record()
        return True

    async def finish(self) -> None:
        """Send the rest of history, then the newest row of each entity."""
        await self._record()
        present = [(line, entity) for _, line, entity in self._newest.values()]
        for start in range(0, len(present), self._batch):
            await self._courier.upsert(present[start : start + self._batch])
        self._newest = {}

    async def _record(self) -> None:
        by_id: dict[str, list[tuple[str, int, Row]]] = {}
        for line, entity in self._waiting:
            by_id.setdefault(entity["id"], []).append((_time_of(entity), line, entity))
        newest: dict[str, tuple[str, int, Row]] = {}
        histories: list[tuple[list[int], Row]] = []
        for id, rows in by_id.items():
            if id in self._newest:
                rows.append(self._newest[id])
            rows.sort(key=lambda row: row[:2])
            newest[id] = rows.pop()
            for start in range(0, len(rows), self._batch):
                part = rows[start : start + self._batch]
                histories.append(
                    ([line for _, line, _ in part], _evolution([entity for _, _, entity in part]))
                )
        if histories:
            await self._courier.record(histories)
        self._newest |= newest
        self._waiting = []

    def unsettled(self, first_line: int) -> int:
        """The first line that is not known to be durable; some behind it may be."""
        lines = [line for _, line, _ in self._newest.values()] + [line for line, _ in self._waiting[:1]]
        return min(lines, default=max(first_line, self._seen + 1))


def _time_of(entity: Row) -> str:
    """The instant of a row: all its attributes share one, in UTC, so that text order is time order."""
    return next((a["observedAt"] for a in entity.values() if isinstance(a, dict) and "observedAt" in a), "")


def _evolution(entities: Sequence[Row]) -> Row:
    """States of one entity as one EntityTemporal; what bears no time is no history."""
    evolution: Row = {name: member for name, member in entities[0].items() if not isinstance(member, dict)}
    for entity in entities:
        for name, member in entity.items():
            if isinstance(member, dict) and "observedAt" in member:
                evolution.setdefault(name, []).append(member)
    return evolution


# What comes in


def _entity(row: Row, line: int) -> tuple[Row | None, list[Fault]]:
    """An entry that is an entity already; the sink judges the rest."""
    faults = [
        Fault(line, member, "", "is missing", "an NGSI-LD entity has an id and a type, or give a mapping")
        for member in ("id", "type")
        if not isinstance(row.get(member), str | list)
    ]
    return (None if faults else row), faults


@contextmanager
def _open(path: Path) -> Iterator[tuple[IO[bytes], Callable[[], int]]]:
    """The bytes of a file, unpacked when it is a gzip file, and how many of them were read."""
    with path.open("rb") as raw:
        packed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        yield (io.BufferedReader(gzip.GzipFile(fileobj=raw)) if packed else raw), raw.tell


def _rows(
    source: Path, stream: IO[bytes], rule: SourceRule, mapping: Mapping | None, report: Report
) -> Iterator[Line]:
    """Rows with their lines; what cannot be read goes to the report as faults."""
    form = rule.format or _form(source, stream)
    if form == "csv":
        if mapping is None:
            raise ConfigError(
                f"{source.name}: a table needs a mapping that says what a row becomes (--mapping)"
            )
        return _csv(source, stream, rule, mapping, report)
    if form == "jsonl":
        return _json_lines(stream, report)
    return _json(source, stream, rule, mapping, report)


FORMS = {
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".jsonld": "json",
    ".geojson": "json",
}


def _form(source: Path, stream: IO[bytes]) -> str:
    """By its name, else by how it begins: an object on the first line and more lines are JSON lines."""
    suffixes = [suffix for suffix in source.suffixes if suffix != ".gz"]
    known = FORMS.get(suffixes[-1].lower()) if suffixes else None
    if known and known != "json":
        return known
    head = stream.peek(1 << 16).lstrip()  # type: ignore[attr-defined]
    first = head.split(b"\n", 1)[0].rstrip()
    if first.startswith(b"{") and first.endswith(b"}") and b"\n" in head.rstrip():
        return "jsonl"
    return known or ("json" if head[:1] in (b"[", b"{") else "csv")


def _json_lines(stream: IO[bytes], report: Report) -> Iterator[Line]:
    for line, text in enumerate(stream, 1):
        if not text.strip():
            continue
        try:
            row = msgspec.json.decode(text)
        except (msgspec.DecodeError, UnicodeDecodeError) as fault:
            report.rows += 1
            report.faults.append(Fault(line, "", _shown(text), f"is not JSON: {fault}"))
            continue
        if isinstance(row, dict):
            yield line, row
        else:
            report.rows += 1
            report.faults.append(Fault(line, "", _shown(text), "is not a JSON object"))


def _json(
    source: Path, stream: IO[bytes], rule: SourceRule, mapping: Mapping | None, report: Report
) -> Iterator[Line]:
    data = stream.read()
    try:
        whole = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as fault:
        raise ConfigError(f"{source.name} is not JSON: {fault}") from None
    for step in filter(None, rule.items.split(".")):
        whole = whole.get(step) if isinstance(whole, dict) else None
    if whole is None:
        raise ConfigError(f"{source.name}: there is nothing at {rule.items!r} (source.items)")
    collection = isinstance(whole, dict) and whole.get("type") == "FeatureCollection"
    items = whole.get("features") if collection else whole if isinstance(whole, list) else [whole]
    for number, item in enumerate(items or [], 1):
        if not isinstance(item, dict):
            report.rows += 1
            report.faults.append(Fault(number, "", _shown(item), "is not a JSON object"))
        elif item.get("type") == "Feature":
            yield number, _feature(item, whole if collection else {}, mapping)
        else:
            yield number, item


def _feature(feature: Row, collection: Row, mapping: Mapping | None) -> Row:
    """A GeoJSON feature as a row (properties, `id`, `geometry`), or as the NGSI-LD entity it stands for
    (5.2.29: the entity's type and attributes are the properties)."""
    properties = feature.get("properties") or {}
    if mapping:
        return {"id": feature.get("id"), "geometry": feature.get("geometry"), **properties}
    context = feature.get("@context") or collection.get("@context")
    entity = {"id": feature.get("id"), **properties}
    if feature.get("geometry") and "location" not in entity:
        entity["location"] = {"type": "GeoProperty", "value": feature["geometry"]}
    return entity | ({"@context": context} if context else {})


def _csv(
    source: Path, stream: IO[bytes], rule: SourceRule, mapping: Mapping, report: Report
) -> Iterator[Line]:
    encoding = rule.encoding or _encoding(stream)
    # Bytes that are no text come through as lone surrogates, so that the cell is named and the rest goes on.
    errors = "surrogateescape" if encoding.startswith("utf-8") else "replace"
    with io.TextIOWrapper(stream, encoding=encoding, errors=errors, newline="") as text:
        lines = _Lines(text)
        delimiter = rule.delimiter or _delimiter(lines.peek())
        head = next(_records(lines, delimiter, report, 0), None)
        if head is None:
            raise ConfigError(f"{source.name} is empty")
        header = [name.strip() for name in head[1]]
        _check_header(source, header, mapping)
        for line, cells in _records(lines, delimiter, report, len(header)):
            yield line, dict(zip(header, cells, strict=False))


def _check_header(source: Path, header: list[str], mapping: Mapping) -> None:
    twice = sorted({name for name in header if name and header.count(name) > 1})
    wanted = mappings.columns(mapping)
    if wanted & set(twice):
        raise ConfigError(f"{source.name}: the header names {', '.join(twice)} more than once")
    absent = sorted(wanted - set(header))
    if absent:
        raise ConfigError(
            f"{source.name}: the mapping reads {', '.join(absent)}, the header has {', '.join(header)}"
        )


class _Lines:
    """Lines of text with their numbers, which can be put back."""

    def __init__(self, text: IO[str]) -> None:
        self._text = enumerate(text, 1)
        self._back: deque[tuple[int, str]] = deque()

    def next(self) -> tuple[int, str] | None:
        return self._back.popleft() if self._back else next(self._text, None)

    def put_back(self, lines: Sequence[tuple[int, str]]) -> None:
        self._back.extendleft(reversed(lines))

    def peek(self) -> str:
        first = self.next()
        if first is None:
            return ""
        self.put_back([first])
        return first[1]


def _records(lines: _Lines, delimiter: str, report: Report, width: int) -> Iterator[tuple[int, list[str]]]:
    """Records with the number of their first line. A record may span lines inside quotes; a lost quote
    costs the line it is on and no other: the lines behind it are read again on their own."""
    while (first := lines.next()) is not None:
        if not first[1].strip():
            continue
        taken = [first]
        cells, reason = _cells(first[1], delimiter, width)
        while reason is UNCLOSED and len(taken) < RECORD_LINES and (more := lines.next()) is not None:
            taken.append(more)
            cells, reason = _cells("".join(text for _, text in taken), delimiter, width)
        if cells is not None:
            yield first[0], cells
            continue
        lines.put_back(taken[1:])
        report.rows += 1
        report.faults.append(Fault(first[0], "", _shown(first[1]), reason, f"{width} cells" if width else ""))


UNCLOSED = "has a quote that is never closed"


def _cells(text: str, delimiter: str, width: int) -> tuple[list[str] | None, str]:
    """The cells of a record, or why they cannot be had."""
    try:
        (found,) = csv.reader([text], delimiter=delimiter, strict=True)
    except csv.Error as fault:
        return None, UNCLOSED if "end of data" in str(fault) else f"is not CSV: {fault}"
    except ValueError:
        return None, "is not one record"
    while width and len(found) > width and not found[-1].strip():
        found.pop()
    if width and len(found) != width:
        return None, f"has {len(found)} cells, the header has {width}"
    return found, ""


def _encoding(stream: IO[bytes]) -> str:
    """By its byte order mark, else UTF-8 when the beginning is, else GB 18030, which Chinese tables use."""
    head: bytes = stream.peek(1 << 16)[: 1 << 16]  # type: ignore[attr-defined]
    if head.startswith(codecs.BOM_UTF8):
        return "utf-8-sig"
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    # A few stray bytes do not make a UTF-8 file a Chinese one: most of what is not ASCII decides.
    text = head.decode("utf-8", "surrogateescape")
    stray = sum("\udc80" <= letter <= "\udcff" for letter in text)
    fine = sum(letter > "\x7f" for letter in text) - stray
    return "gb18030" if stray > fine + 3 else "utf-8"


def _delimiter(header: str) -> str:
    """The separator that the header uses most, outside quotes."""
    bare = "".join(header.split('"')[::2])
    return max(",;\t|", key=bare.count)


def _shown(value: Any) -> str:
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    text = text.encode("utf-8", "replace").decode().strip()
    return text if len(text) <= 80 else text[:79] + "…"
