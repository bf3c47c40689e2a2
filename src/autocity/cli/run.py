"""`demo` and `serve`: a city on the screen, or one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from autocity.cli.settings import AsJson, ConfigFile

PANEL = "Run a city"

Port = typer.Option(None, "--port", "-p", help="Port; 0 takes a free one.")
Host = typer.Option(None, "--host", help="Address to listen on; 127.0.0.1 keeps it to this machine.")
StoreUrl = typer.Option(None, "--store", help="embedded, memory, or a postgresql:// address.")
Workers = typer.Option(None, "--workers", help="Processes that answer HTTP.")
Open = typer.Option(True, "--open/--no-open", help="Open the console in a browser.")
DemoData = typer.Option(None, "--data", help="Where the demo keeps its city.")

demo = typer.Typer(
    invoke_without_command=True,
    help="""A living city in a minute: Changchun International Automobile City, from stated facts, an open
    data series and a simulated layer that is labelled synthetic. Its data never mixes with real data.

    Examples:

      autocity demo

      autocity demo --port 0 --no-open

      autocity demo reset
    """,
)


def add_to(app: typer.Typer) -> None:
    app.add_typer(demo, name="demo", rich_help_panel=PANEL)
    app.command(rich_help_panel=PANEL)(serve)


@demo.callback()
def start_demo(
    context: typer.Context,
    port: int | None = Port,
    host: str | None = Host,
    data: Path | None = DemoData,
    store: str | None = StoreUrl,
    workers: int | None = Workers,
    seed: int = typer.Option(471, "--seed", help="Another seed, another synthetic city."),
    open_browser: bool = Open,
) -> None:
    """Start the demo city."""
    if context.invoked_subcommand is not None:
        context.obj = data
        return
    from autocity import serving
    from autocity.ingest import demo as demo_city

    folder = data or default_folder()
    if store in (None, "embedded"):
        demo_city.mark(folder, seed)
    flags = _flags(port, host, folder, store, workers) | {"network.allow_private": True}
    if port is None:
        flags["server.port"] = serving.free_port(8026, host or "127.0.0.1")
    serving.serve(_settings(None, flags), demo_seed=seed, open_browser=open_browser)


@demo.command()
def reset(
    context: typer.Context,
    data: Path | None = DemoData,
    yes: bool = typer.Option(False, "--yes", "-y", help="Do not ask."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Say what would be deleted."),
) -> None:
    """Delete the demo city's data. Touches only a folder that the demo itself has marked as its own."""
    from autocity.cli import say
    from autocity.ingest import demo as demo_city

    folder = data or context.obj or default_folder()
    if not folder.exists():
        say.note(f"{folder}: there is no demo city.")
        return
    if not (folder / demo_city.MARK).exists():
        raise say.Refusal(f"{folder} is not a demo city (no {demo_city.MARK} in it); nothing was deleted.")
    if dry_run:
        say.note(f"Would delete the demo city in {folder}.")
        return
    say.confirm(f"Delete the demo city in {folder}?", yes)
    demo_city.wipe(folder)
    say.note(f"The demo city in {folder} is gone; `autocity demo` makes a new one.")


def serve(
    data: Path | None = typer.Option(None, "--data", help="The data folder; made when missing."),
    host: str | None = Host,
    port: int | None = Port,
    store: str | None = StoreUrl,
    workers: int | None = Workers,
    config_file: Path | None = ConfigFile,
    open_browser: bool = typer.Option(False, "--open/--no-open", help="Open the console in a browser."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Check settings and say what would be started."),
    as_json: bool = AsJson,
) -> None:
    """Run a city: NGSI-LD API under /ngsi-ld/v1, console at /.

    Examples:

      autocity serve --data ./city

      autocity serve --data /var/lib/autocity --host 0.0.0.0 --workers 2

      autocity serve --store memory --port 0
    """
    from autocity import serving
    from autocity.cli import say
    from autocity.main import visitor_role

    settings = _settings(config_file, _flags(port, host, data, store, workers))
    if dry_run:
        plan = {
            "address": f"http://{settings.server.host}:{settings.server.port}/",
            "store": settings.store.url,
            "data": str(Path(settings.store.data).resolve()),
            "workers": settings.server.workers,
            "visitors": visitor_role(settings) or "must sign in or send a token",
        }
        if as_json:
            say.data(plan)
        else:
            for name, value in plan.items():
                say.note(f"{name:10} {value}")
        return
    serving.serve(settings, open_browser=open_browser)


def default_folder() -> Path:
    """Where the demo city lives when no folder is named: the user's data folder (XDG)."""
    import os

    base = os.environ.get("XDG_DATA_HOME")
    return (Path(base) if base else Path.home() / ".local" / "share") / "autocity" / "demo"


def _flags(
    port: int | None, host: str | None, data: Path | None, store: str | None, workers: int | None
) -> dict[str, Any]:
    return {
        "server.port": port,
        "server.host": host,
        "server.workers": workers,
        "store.data": str(data) if data else None,
        "store.url": store,
    }


def _settings(config_file: Path | None, flags: dict[str, Any]) -> Any:
    import os

    from autocity import config

    if config_file is None and (folder := flags.get("store.data")):
        inside = Path(folder) / config.FILE_NAME
        config_file = inside if inside.exists() else None
    return config.load(file=config_file, environment=os.environ, flags=flags)
