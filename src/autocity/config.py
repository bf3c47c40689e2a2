"""Settings: read once from defaults, file, environment and flags into one frozen struct that knows
where each value came from. Nothing else in the program reads the environment.

Order, later wins: default < `autocity.toml` < `AUTOCITY_SECTION__KEY` < flag. A value of the form
`file:/run/secrets/name` is replaced by the content of that file, so that secrets need not stand in
the environment.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_type_hints

import msgspec
from msgspec import Struct, field

PREFIX = "AUTOCITY_"
FILE_NAME = "autocity.toml"


class SettingsError(ValueError):
    """A setting is wrong; the message names it, where it came from, and the mend."""


class Server(Struct, frozen=True, forbid_unknown_fields=True):
    """Where the program listens and what it accepts."""

    host: str = "127.0.0.1"
    """Address to listen on; the loopback address keeps the city to this machine."""
    port: int = 8026
    """Port to listen on; 0 takes a free one."""
    workers: int = 1
    """Processes that answer HTTP. The embedded store adds one process that writes."""
    public_url: str = ""
    """The address that others reach this server under, when it stands behind a proxy."""
    cors_origins: tuple[str, ...] = ()
    """Web origins whose pages may call the API from a browser; `*` for all."""
    max_body_mb: int = 32
    """Largest request body accepted, in MiB."""
    secure_cookies: bool = False
    """Send cookies over TLS only; switch on behind a TLS proxy."""


class StoreSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Where the city is kept."""

    url: str = "embedded"
    """`embedded` (one file in the data folder), `memory`, or a `postgresql://` address."""
    data: str = "data"
    """The data folder."""


class Access(Struct, frozen=True, forbid_unknown_fields=True):
    """Who may do what without signing in."""

    guest: str = "auto"
    """Role of a visitor without session or token: `none`, `viewer`, `operator`, `editor`, or `auto`:
    editor while the server listens on loopback only, none once it is open to others."""
    session_hours: int = 12
    """How long a console session lives without use."""


class Network(Struct, frozen=True, forbid_unknown_fields=True):
    """What the program may reach."""

    allow_private: bool = False
    """Let contexts and notifications go to private and loopback addresses. On by itself when the
    server listens on loopback only."""


class Log(Struct, frozen=True, forbid_unknown_fields=True):
    """What the program writes about itself."""

    level: str = "info"
    """debug, info, warning or error."""
    format: str = "auto"
    """`json`, `text`, or `auto`: text on a terminal, else JSON."""
    requests: str = "refused"
    """Which requests get a line: `all`, or `refused` (status 400 and above)."""


class Settings(Struct, frozen=True, forbid_unknown_fields=True):
    """Every setting of the program."""

    server: Server = Server()
    store: StoreSettings = StoreSettings()
    access: Access = Access()
    network: Network = Network()
    log: Log = Log()
    origins: dict[str, str] = field(default_factory=dict)
    """Where each setting came from, by `section.key`."""


SECTIONS: dict[str, type[Struct]] = {
    name: kind for name, kind in get_type_hints(Settings).items() if name != "origins"
}


def names() -> list[str]:
    """Every setting as `section.key`, in the order of this file."""
    return [f"{section}.{key}" for section, kind in SECTIONS.items() for key in kind.__struct_fields__]


def describe() -> dict[str, str]:
    """What each setting means, from the text under its field in this file."""
    import ast
    from itertools import pairwise

    tree = ast.parse(Path(__file__).read_text(encoding="utf-8"))
    classes = {node.name: node.body for node in tree.body if isinstance(node, ast.ClassDef)}
    found: dict[str, str] = {}
    for section, kind in SECTIONS.items():
        body = classes[kind.__name__]
        for this, following in pairwise(body):
            if (
                isinstance(this, ast.AnnAssign)
                and isinstance(this.target, ast.Name)
                and isinstance(following, ast.Expr)
                and isinstance(following.value, ast.Constant)
            ):
                found[f"{section}.{this.target.id}"] = " ".join(str(following.value.value).split())
    return found


def load(
    *,
    file: Path | None = None,
    environment: Mapping[str, str] | None = None,
    flags: Mapping[str, Any] | None = None,
) -> Settings:
    """Settings from all sources. `flags` maps `section.key` to a value; None means not given.

    Raises SettingsError that lists every fault at once.
    """
    values: dict[str, Any] = {}
    origins = dict.fromkeys(names(), "default")
    faults: list[str] = []
    for source, found in (
        *_from_file(file, faults),
        *_from_environment(environment or {}, faults),
        *(
            (f"flag --{name.rpartition('.')[2]}", {name: v})
            for name, v in (flags or {}).items()
            if v is not None
        ),
    ):
        for name, value in found.items():
            if name not in origins:
                faults.append(f"{source}: {name} is not a setting{_nearest(name)}")
                continue
            values[name], origins[name] = _secret(value, name, source, faults), source
    sections: dict[str, Any] = {}
    for section, kind in SECTIONS.items():
        given = {n.partition(".")[2]: v for n, v in values.items() if n.startswith(f"{section}.")}
        for key, value in list(given.items()):
            try:
                if isinstance(value, str) and get_type_hints(kind)[key] == tuple[str, ...]:
                    value = [part.strip() for part in value.split(",") if part.strip()]
                given[key] = msgspec.convert(value, get_type_hints(kind)[key], strict=False)
            except msgspec.ValidationError as fault:
                name = f"{section}.{key}"
                faults.append(
                    f"{origins[name]}: {name} = {value!r}: {str(fault)[:1].lower()}{str(fault)[1:]}"
                )
                del given[key]
        sections[section] = kind(**given)
    settings = Settings(**sections, origins=origins)
    faults += _contradictions(settings)
    if faults:
        raise SettingsError("\n".join(faults))
    return settings


def _from_file(file: Path | None, faults: list[str]) -> list[tuple[str, dict[str, Any]]]:
    if file is None:
        return []
    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        faults.append(f"{file}: no such file; write it or leave --config away")
        return []
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as fault:
        faults.append(f"{file}: not valid TOML: {fault}")
        return []
    flat: dict[str, Any] = {}
    for section, content in document.items():
        if isinstance(content, dict):
            flat |= {f"{section}.{key}": value for key, value in content.items()}
        else:
            flat[section] = content
    return [(str(file), flat)]


def _from_environment(environment: Mapping[str, str], faults: list[str]) -> list[tuple[str, dict[str, Any]]]:
    found = []
    for variable, value in environment.items():
        if not variable.startswith(PREFIX):
            continue
        section, double, key = variable[len(PREFIX) :].lower().partition("__")
        if double:
            found.append((f"environment {variable}", {f"{section}.{key}": value}))
    return found


def _secret(value: Any, name: str, source: str, faults: list[str]) -> Any:
    if not (isinstance(value, str) and value.startswith("file:")):
        return value
    path = Path(value.removeprefix("file:"))
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError as fault:
        faults.append(f"{source}: {name} points at {path}: {fault.strerror}")
        return ""


def _contradictions(settings: Settings) -> list[str]:
    server, store, access, log = settings.server, settings.store, settings.access, settings.log
    rules = (
        (not 0 <= server.port <= 65535, "server.port must be 0 to 65535"),
        (not 1 <= server.workers <= 64, "server.workers must be 1 to 64"),
        (server.max_body_mb < 1, "server.max_body_mb must be at least 1"),
        (
            store.url not in ("embedded", "memory")
            and not store.url.startswith(("postgresql://", "postgres://")),
            "store.url must be `embedded`, `memory` or a postgresql:// address",
        ),
        (
            store.url == "memory" and server.workers > 1,
            "the memory store serves one process; set server.workers to 1",
        ),
        (
            access.guest not in ("auto", "none", "viewer", "operator", "editor"),
            "access.guest must be auto, none, viewer, operator or editor",
        ),
        (
            log.level not in ("debug", "info", "warning", "error"),
            "log.level must be debug, info, warning or error",
        ),
        (log.requests not in ("all", "refused"), "log.requests must be all or refused"),
        (log.format not in ("auto", "json", "text"), "log.format must be auto, json or text"),
    )
    return [message for broken, message in rules if broken]


def _nearest(name: str) -> str:
    near = difflib.get_close_matches(name, names(), n=1)
    return f"; did you mean {near[0]}?" if near else "; `autocity config show` lists them"
