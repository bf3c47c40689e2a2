"""`config show|check`: what is set, where it came from, and whether it is right."""

from __future__ import annotations

from pathlib import Path

import typer

config = typer.Typer(
    no_args_is_help=True,
    help="""Show and check settings.

    Examples:

      autocity config show
      autocity config check --config /etc/autocity.toml
    """,
)

ConfigFile = typer.Option(None, "--config", help="A TOML file of settings.", envvar="AUTOCITY_CONFIG")
AsJson = typer.Option(False, "--json", help="Answer in JSON.")


def add_to(app: typer.Typer) -> None:
    app.add_typer(config, name="config", rich_help_panel="Set up")


@config.command()
def show(config_file: Path | None = ConfigFile, as_json: bool = AsJson) -> None:
    """Show every setting, its value, where it came from and what it means."""
    import os

    from autocity import config as settings
    from autocity.cli import say

    loaded = settings.load(file=config_file, environment=os.environ)
    meaning = settings.describe()
    rows = []
    for name in settings.names():
        section, _, key = name.partition(".")
        value = getattr(getattr(loaded, section), key)
        rows.append({"setting": name, "value": value, "from": loaded.origins[name], "meaning": meaning[name]})
    if as_json:
        say.data(rows)
    else:
        say.table(("setting", "value", "from", "meaning"), [tuple(row.values()) for row in rows])


@config.command()
def check(config_file: Path | None = ConfigFile, as_json: bool = AsJson) -> None:
    """Check the settings; every fault is named with its source and its mend."""
    import os

    from autocity import config as settings
    from autocity.cli import say

    try:
        settings.load(file=config_file, environment=os.environ)
        faults: list[str] = []
    except settings.SettingsError as fault:
        faults = str(fault).splitlines()
    if as_json:
        say.data({"ok": not faults, "faults": faults})
    for fault_line in faults:
        say.note(fault_line)
    if faults:
        raise typer.Exit(say.MISCONFIGURED)
    if not as_json:
        say.note("Settings are right.")
