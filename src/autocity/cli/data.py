"""`import`, `export`, `query`: what goes into a city and what comes out of it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import typer

from autocity.cli.city import Data, Tenant, TokenOption, Url
from autocity.cli.settings import AsJson

PANEL = "Data"
PAGE = 1000
LINK = '<{}>; rel="http://www.w3.org/ns/json-ld#context"; type="application/ld+json"'


def add_to(app: typer.Typer) -> None:
    app.command("import", rich_help_panel=PANEL)(import_)
    app.command("export", rich_help_panel=PANEL)(export)
    app.command("query", rich_help_panel=PANEL)(query)


def import_(
    file: Path = typer.Argument(..., help="CSV, JSON, JSON lines, GeoJSON or NGSI-LD; `.gz` too."),
    mapping: Path | None = typer.Option(
        None, "--mapping", "-m", help="TOML or JSON: how a row becomes an entity."
    ),
    report: Path | None = typer.Option(None, "--report", help="Where to write the report (.json or .csv)."),
    first_line: int = typer.Option(1, "--from-line", help="Go on from this line of an import that stopped."),
    batch: int = typer.Option(500, "--batch", min=1, max=5000, help="Entities a request."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Read and check everything, write nothing."),
    quiet: bool = typer.Option(False, "--quiet", "-q", help="No progress bar."),
    as_json: bool = AsJson,
    url: str = Url,
    token: str | None = TokenOption,
    data: Path | None = Data,
    tenant: str = Tenant,
) -> None:
    """Bring a file into the city. Every bad row is named with line and reason; the good ones are kept.

    Examples:

      autocity import entities.jsonld

      autocity import stations.csv --mapping stations.toml --dry-run

      autocity import weather.csv.gz -m weather.toml --report faults.csv --data ./city
    """
    import asyncio

    from autocity.cli import say
    from autocity.cli.city import ApiSink, reach
    from autocity.ingest import files
    from autocity.ingest import mapping as mappings

    if not file.exists():
        raise say.Refusal(f"{file}: no such file.")
    rules = mappings.load(mapping) if mapping else None

    async def go() -> files.Report:
        with say.progress(file.name, file.stat().st_size, quiet) as advance:
            seen = 0

            def moved(read: int, _: int) -> None:
                nonlocal seen
                advance(read - seen)
                seen = read

            options: dict[str, Any] = {
                "batch": batch,
                "first_line": first_line,
                "dry_run": dry_run,
                "progress": moved,
            }
            if dry_run:
                return await files.run(file, _Nowhere(), rules, **options)
            async with reach(url, token, data, tenant) as city:
                return await files.run(file, ApiSink(city), rules, **options)

    done = asyncio.run(go())
    target = report or (file.with_name(file.name + ".report.json") if done.faults or done.stopped else None)
    if target is not None:
        done.write(target)
    if as_json:
        say.data(done)
    else:
        verb = "would be taken" if dry_run else "taken"
        say.note(f"{file.name}: {done.taken} of {done.rows} rows {verb}, {len(done.faults)} faults.")
        for fault in done.faults[:10]:
            say.note(f"  {fault}")
        if len(done.faults) > 10:
            say.note(f"  … and {len(done.faults) - 10} more")
        if target is not None:
            say.note(f"Report: {target}")
    if done.stopped:
        raise say.Refusal(f"Stopped: {done.stopped}. Go on with --from-line {done.next_line}.")
    if done.faults:
        raise typer.Exit(say.PARTLY if done.taken else say.FAILED)


class _Nowhere:
    """A sink that takes everything and keeps nothing, for `--dry-run`."""

    async def upsert(self, entities: Any) -> list[str | None]:
        return [None] * len(entities)

    async def record(self, histories: Any) -> list[str | None]:
        return [None] * len(histories)


def export(
    target: Path | None = typer.Argument(None, help="File to write; stdout when left away."),
    type: str | None = typer.Option(None, "--type", "-t", help="Only this type selection."),
    form: str = typer.Option("jsonl", "--format", "-f", help="jsonl (NGSI-LD lines), geojson or csv."),
    context: str | None = typer.Option(None, "--context", help="@context URL that gives the short names."),
    quiet: bool = typer.Option(False, "--quiet", "-q", help="No progress bar."),
    url: str = Url,
    token: str | None = TokenOption,
    data: Path | None = Data,
    tenant: str = Tenant,
) -> None:
    """Take entities out of the city: NGSI-LD JSON lines (which `import` reads back), GeoJSON or CSV.

    Examples:

      autocity export city.jsonl

      autocity export --type Streetlight --format csv > lights.csv
    """
    import asyncio

    import msgspec

    from autocity.cli import say
    from autocity.cli.city import expect, reach
    from autocity.cli.tabular import CsvRows

    if form not in ("jsonl", "geojson", "csv"):
        raise say.Refusal("--format is jsonl, geojson or csv.", say.MISUSED)
    headers = {"Accept": "application/geo+json" if form == "geojson" else "application/ld+json"}
    if context:
        headers["Link"] = LINK.format(context)
    selection = {"type": type} if type else {"local": "true"}

    async def go(out: Any) -> int:
        written = 0
        rows = CsvRows(out) if form == "csv" else None
        async with reach(url, token, data, tenant) as city:
            with say.progress("export", None, quiet or target is None) as advance:
                if form == "geojson":
                    out.write('{"type":"FeatureCollection","features":[')
                while True:
                    asked = selection | {"limit": str(PAGE), "offset": str(written)}
                    if form == "csv":
                        asked["options"] = "keyValues"
                    reply = expect(
                        await city.request("GET", f"/ngsi-ld/v1/entities?{urlencode(asked)}", headers=headers)
                    )
                    page = reply.json()
                    found = page["features"] if form == "geojson" else page
                    for number, entity in enumerate(found):
                        if rows is not None:
                            rows.write(entity)
                        elif form == "geojson":
                            out.write("," if written + number else "")
                            out.write(msgspec.json.encode(entity).decode())
                        else:
                            out.write(msgspec.json.encode(entity).decode() + "\n")
                    written += len(found)
                    advance(len(found))
                    if len(found) < PAGE:
                        break
                if form == "geojson":
                    out.write("]}\n")
                if rows is not None:
                    rows.finish()
        return written

    if target is None:
        say.note(f"{asyncio.run(go(sys.stdout))} entities.")
        return
    # Written beside and moved into place, so that Ctrl-C leaves no half file under the real name.
    part = target.with_name(target.name + ".part")
    try:
        with part.open("w", encoding="utf-8", newline="") as out:
            count = asyncio.run(go(out))
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    say.note(f"{count} entities in {target}.")


def query(
    id: str | None = typer.Argument(None, help="One entity by its id."),
    type: str | None = typer.Option(None, "--type", "-t", help="Type selection."),
    q: str | None = typer.Option(None, "--q", help="Filter, e.g. 'temperature>20;status==\"ok\"'."),
    attrs: str | None = typer.Option(None, "--attrs", help="Only these attributes, comma separated."),
    near: str | None = typer.Option(None, "--near", help="lon,lat,metres: only entities this near."),
    limit: int = typer.Option(20, "--limit", min=1, max=1000),
    history: bool = typer.Option(False, "--history", help="What was recorded instead of what is."),
    last: int = typer.Option(10, "--last", min=1, help="With --history: newest instances of each attribute."),
    context: str | None = typer.Option(None, "--context", help="@context URL that gives the short names."),
    key_values: bool = typer.Option(
        False, "--key-values", "-k", help="Plain values instead of normalized NGSI-LD."
    ),
    as_json: bool = AsJson,
    url: str = Url,
    token: str | None = TokenOption,
    data: Path | None = Data,
    tenant: str = Tenant,
) -> None:
    """Ask the city, over its API.

    Examples:

      autocity query --type Streetlight --limit 5

      autocity query urn:ngsi-ld:AirQualityObserved:1 --history --last 24 --json

      autocity query -t EVChargingStation --near 125.2,43.83,2000 -k --json
    """
    import asyncio

    from autocity.cli import say
    from autocity.cli.city import expect, reach
    from autocity.cli.tabular import flat

    asked: dict[str, str] = {}
    if near:
        try:
            longitude, latitude, metres = (float(part) for part in near.split(","))
        except ValueError:
            raise say.Refusal(
                "--near is lon,lat,metres, for example 125.2,43.83,2000.", say.MISUSED
            ) from None
        asked |= {
            "georel": f"near;maxDistance=={metres:g}",
            "geometry": "Point",
            "coordinates": f"[{longitude},{latitude}]",
        }
    asked |= {name: value for name, value in (("type", type), ("q", q), ("attrs", attrs)) if value}
    path = "/ngsi-ld/v1/temporal/entities" if history else "/ngsi-ld/v1/entities"
    if id is not None:
        path += "/" + quote(id, safe="")
    else:
        asked["limit"] = str(limit)
        if not (type or q or attrs or near):
            asked["local"] = "true"
    if history:
        asked["lastN"] = str(last)
        if id is None:
            asked |= {"timerel": "after", "timeAt": "1970-01-01T00:00:00Z"}
    if key_values:
        asked["options"] = "temporalValues" if history else "keyValues"
    headers = {"Accept": "application/ld+json"}
    if context:
        headers["Link"] = LINK.format(context)

    async def go() -> Any:
        async with reach(url, token, data, tenant) as city:
            return expect(
                await city.request("GET", f"{path}?{urlencode(asked)}", headers=headers), 200, 206
            ).json()

    answer = asyncio.run(go())
    if as_json or history or id is not None:
        say.data(answer)
        return
    rows = [flat(entity) for entity in answer]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    say.table(columns, [[row.get(name) for name in columns] for row in rows])
