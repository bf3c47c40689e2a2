"""The command line. One file per group of commands; heavy modules are imported inside the commands,
so that `--help` answers at once. Data goes to stdout, everything said about it to stderr."""

from __future__ import annotations

import sys

import typer

from autocity import __version__
from autocity.cli import care, data, model, people, run, settings

EPILOG = """\
[bold]Exit codes[/bold]  0 done · 1 it failed, or a fault was found · 2 the command was not understood ·
3 a setting or the environment is wrong · 4 done in part: the report names what was left out · 130 interrupted

[bold]Settings[/bold]  autocity.toml, then AUTOCITY_SECTION__KEY, then flags: `autocity config show`
"""

app = typer.Typer(
    name="autocity",
    help="""The platform that an automobile city runs on.

    [bold]Try[/bold]

      autocity demo                                a living city on the screen in a minute
      autocity serve --data ./city                 your own city, empty
      autocity import stations.csv --mapping m.toml --data ./city
      autocity query --type Streetlight --q 'status!="ok"'
    """,
    epilog=EPILOG,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

for part in (run, data, model, care, settings, people):
    part.add_to(app)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"autocity {__version__}")
        raise typer.Exit


@app.callback()
def common(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Show the version."
    ),
) -> None:
    """What every command shares."""


def main() -> None:
    """Run the command line; every fault becomes one clear message and an exit code."""
    from autocity.cli.say import complain

    try:
        app()
    except KeyboardInterrupt:
        typer.echo("Interrupted.", err=True)
        sys.exit(130)
    except BrokenPipeError:
        # The reader of our output went away (`| head`); that is its right.
        sys.stderr.close()
        sys.exit(0)
    except Exception as fault:  # noqa: BLE001 - the process edge
        sys.exit(complain(fault))
