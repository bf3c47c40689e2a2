"""`doctor`, `backup`, `restore`, `service`: keeping a city well."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import typer

from autocity.cli.settings import AsJson, ConfigFile

PANEL = "Care"
service = typer.Typer(no_args_is_help=True, help="Run the city as a service of the operating system.")


def add_to(app: typer.Typer) -> None:
    app.command(rich_help_panel=PANEL)(doctor)
    app.command(rich_help_panel=PANEL)(backup)
    app.command(rich_help_panel=PANEL)(restore)
    app.add_typer(service, name="service", rich_help_panel=PANEL)


def doctor(
    data: Path | None = typer.Option(None, "--data", help="The data folder to look into."),
    config_file: Path | None = ConfigFile,
    deep: bool = typer.Option(False, "--deep", help="Read the whole store for faults."),
    as_json: bool = AsJson,
) -> None:
    """Look for what could keep the city from running; every fault names its mend.

    Examples:

      autocity doctor

      autocity doctor --data ./city --deep --json
    """
    from autocity.cli import examine as checks
    from autocity.cli import say

    found = checks.everything(data=data, config_file=config_file, deep=deep)
    if as_json:
        say.data(found)
    else:
        signs = {"ok": "ok  ", "warning": "warn", "fault": "FAIL"}
        for finding in found:
            mend = f"\n       {finding.mend}" if finding.mend else ""
            say.note(f"{signs[finding.state]}  {finding.name}: {finding.detail}{mend}")
    if any(finding.state == "fault" for finding in found):
        raise typer.Exit(say.FAILED)


def backup(
    target: Path = typer.Argument(..., help="The file to write; it must not exist."),
    data: Path = typer.Option(Path("data"), "--data", help="The data folder; a server may be running on it."),
    store: str = typer.Option("", "--store", help="A postgresql:// address instead of a data folder."),
    as_json: bool = AsJson,
) -> None:
    """Write one file with the whole city, while it runs, and check it.

    Examples:

      autocity backup city-2026-11-22.autocity --data ./city

      autocity backup city-2026-11-22.dump --store postgresql://city@db/city
    """
    from autocity.cli import say
    from autocity.store import archive

    if store:
        _dumped(store, target, as_json)
        return
    with say.progress("backup"):
        made = archive.backup(data, target)
    if as_json:
        say.data(made)
    else:
        say.note(f"{made.entities} entities in {target}, {made.size} bytes, sha256 {made.sha256}.")


def restore(
    source: Path = typer.Argument(..., help="A file that `autocity backup` wrote."),
    data: Path | None = typer.Option(None, "--data", help="An empty or missing folder."),
    store: str = typer.Option("", "--store", help="A postgresql:// address of a database without a city."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Check the backup, write nothing."),
    as_json: bool = AsJson,
) -> None:
    """Put a backup into an empty data folder, after checking its sum, its version and its integrity;
    or into a database, all of it or nothing, and check it there.

    Examples:

      autocity restore city-2026-11-22.autocity --data ./city2 --dry-run

      autocity restore city-2026-11-22.dump --store postgresql://city@db/city2
    """
    from autocity.cli import say
    from autocity.store import archive

    if store:
        _restored(store, source, dry_run=dry_run, as_json=as_json)
        return
    if data is None:
        raise say.Refusal("where to? Name a folder with --data, or a database with --store.", say.MISUSED)
    with say.progress("restore"):
        made = archive.restore(source, data, dry_run=dry_run)
    verb = "would be restored" if dry_run else "restored"
    if as_json:
        say.data(made)
    else:
        say.note(f"{made.entities} entities {verb} into {data}, written by autocity {made.version}.")


def _dumped(url: str, target: Path, as_json: bool) -> None:
    import asyncio

    from autocity.cli import say
    from autocity.store.postgres import dump

    with say.progress("backup"):
        asyncio.run(dump.backup(_address(url), target))
    size = target.stat().st_size
    if as_json:
        say.data({"target": str(target), "size": size})
    else:
        say.note(f"The city is in {target}, {size} bytes; PostgreSQL reads its contents.")


def _restored(url: str, source: Path, *, dry_run: bool, as_json: bool) -> None:
    import asyncio

    from autocity.cli import say
    from autocity.store.postgres import PostgresStore, dump

    async def restore() -> int:
        await dump.inspect(source)
        if dry_run:
            return 0
        await dump.restore(source, url)
        store = PostgresStore(url)
        await store.open()
        try:
            faults = await store.check()
            if faults:
                raise say.Refusal(f"the city is restored, but not sound: {'; '.join(faults)}")
            return await store.count()
        finally:
            await store.close()

    _address(url)
    with say.progress("restore"):
        entities = asyncio.run(restore())
    if as_json:
        say.data({"source": str(source), "restored": not dry_run, "entities": entities})
    elif dry_run:
        say.note(f"{source} is a dump that PostgreSQL reads; nothing was written.")
    else:
        say.note(f"{entities} entities restored and checked.")


def _address(url: str) -> str:
    from autocity.cli import say

    if not url.startswith(("postgresql://", "postgres://")):
        raise say.Refusal(
            "--store takes a postgresql:// address here; a data folder goes with --data.", say.MISUSED
        )
    return url


@service.command()
def install(
    data: Path = typer.Option(Path("/var/lib/autocity"), "--data", help="The data folder."),
    host: str = typer.Option("127.0.0.1", "--host", help="Address to listen on."),
    port: int = typer.Option(8026, "--port", help="Port."),
    target: Path = typer.Option(Path("/etc/systemd/system/autocity.service"), "--target", help="Unit file."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Show the unit, write nothing."),
) -> None:
    """Write a hardened systemd unit.

    Examples:

      autocity service install --dry-run

      sudo autocity service install --data /var/lib/autocity
    """
    from autocity.cli import say

    unit = systemd_unit(data, host, port)
    if dry_run:
        print(unit, end="")
        return
    target.write_text(unit, encoding="utf-8")
    say.note(f"Written: {target}. Start it with: systemctl daemon-reload && systemctl enable --now autocity")


def systemd_unit(data: Path, host: str, port: int) -> str:
    """The text of the unit: a user of its own, nothing writable but the data folder."""
    where: dict[str, Any] = {"program": Path(sys.argv[0]).resolve(), "data": data, "host": host, "port": port}
    state = (
        f"StateDirectory={data.relative_to('/var/lib')}\nDynamicUser=yes"
        if data.is_relative_to("/var/lib")
        else f"ReadWritePaths={data}\nUser=autocity"
    )
    return UNIT.format(state=state, **where)


UNIT = """\
[Unit]
Description=autocity, the platform of an automobile city
Documentation=man:systemd.exec(5)
After=network-online.target
Wants=network-online.target

[Service]
ExecStart={program} serve --data {data} --host {host} --port {port}
Environment=AUTOCITY_LOG__FORMAT=json
{state}
Restart=on-failure
RestartSec=2
TimeoutStopSec=30
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectControlGroups=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
LockPersonality=yes
SystemCallFilter=@system-service
UMask=0077
LimitNOFILE=65536

[Install]
WantedBy=multi-user.target
"""
