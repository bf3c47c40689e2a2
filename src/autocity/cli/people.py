"""`user` and `token`: who may do what in the city of a data folder or of a running server."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

import typer

from autocity.cli.city import Data, TokenOption, Url
from autocity.cli.settings import AsJson

PANEL = "Set up"
user = typer.Typer(
    no_args_is_help=True,
    help="""Manage local users.

    Examples:

      autocity user add wei --role editor --data ./city
    """,
)
token = typer.Typer(
    no_args_is_help=True,
    help="""Manage API tokens.

    Examples:

      autocity token issue "weather gateway" --scope read --scope write --days 30 --data ./city
    """,
)


def add_to(app: typer.Typer) -> None:
    app.add_typer(user, name="user", rich_help_panel=PANEL)
    app.add_typer(token, name="token", rich_help_panel=PANEL)


def _ask(method: str, path: str, body: Any, url: str, api_token: str | None, data: Path | None) -> Any:
    import asyncio

    import msgspec

    from autocity.cli.city import expect, reach

    async def go() -> Any:
        async with reach(url, api_token, data) as city:
            content = msgspec.json.encode(body) if body is not None else b""
            headers = {"Content-Type": "application/json"} if content else {}
            return expect(await city.request(method, path, content, headers)).json()

    return asyncio.run(go())


@user.command("add")
def add_user(
    username: str,
    role: str = typer.Option("viewer", "--role", help="viewer, operator, editor, approver or administrator."),
    name: str = typer.Option("", "--name", help="The person's name."),
    password: str = typer.Option(
        ...,
        "--password",
        prompt=True,
        hide_input=True,
        confirmation_prompt=True,
        envvar="AUTOCITY_NEW_PASSWORD",
    ),
    url: str = Url,
    api_token: str | None = TokenOption,
    data: Path | None = Data,
) -> None:
    """Make a user; the password is asked for, or read from AUTOCITY_NEW_PASSWORD."""
    from autocity.cli import say

    made = _ask(
        "POST",
        "/auth/users",
        {"username": username, "password": password, "role": role, "name": name},
        url,
        api_token,
        data,
    )
    say.note(f"User {made['id']} is {made['role']}.")


@user.command("list")
def list_users(
    as_json: bool = AsJson, url: str = Url, api_token: str | None = TokenOption, data: Path | None = Data
) -> None:
    """List users."""
    from autocity.cli import say

    found = _ask("GET", "/auth/users", None, url, api_token, data)
    if as_json:
        say.data(found)
    else:
        say.table(
            ("user", "name", "role", "state"),
            [(u["id"], u["name"], u["role"], "off" if u["disabled"] else "on") for u in found],
        )


@user.command("change")
def change_user(
    username: str,
    role: str | None = typer.Option(None, "--role", help="The new role."),
    disabled: bool | None = typer.Option(None, "--off/--on", help="Switch the user off or on."),
    url: str = Url,
    api_token: str | None = TokenOption,
    data: Path | None = Data,
) -> None:
    """Give a user another role, or switch the user off or on."""
    from autocity.cli import say

    body = {key: value for key, value in (("role", role), ("disabled", disabled)) if value is not None}
    made = _ask("PATCH", f"/auth/users/{quote(username, safe='')}", body, url, api_token, data)
    say.note(f"User {made['id']} is {made['role']}, {'off' if made['disabled'] else 'on'}.")


@token.command("issue")
def issue_token(
    name: str = typer.Argument(..., help="What the token is for."),
    scope: list[str] = typer.Option(
        [], "--scope", help="read, write, subscribe, operate, approve, admin; repeat."
    ),
    days: int = typer.Option(90, "--days", min=1, max=3650, help="How long it is good."),
    tenant: str | None = typer.Option(None, "--bind-tenant", help="Good in this tenant only."),
    as_json: bool = AsJson,
    url: str = Url,
    api_token: str | None = TokenOption,
    data: Path | None = Data,
) -> None:
    """Make an API token and show it, once."""
    from autocity.cli import say

    body = {"name": name, "scopes": scope or ["read", "write", "subscribe"], "days": days, "tenant": tenant}
    made = _ask("POST", "/auth/tokens", body, url, api_token, data)
    if as_json:
        say.data(made)
    else:
        say.note(
            f"Token {made['id']} for {', '.join(made['scopes'])} until {made['expiresAt']}. Keep it now:"
        )
        print(made["token"])


@token.command("list")
def list_tokens(
    as_json: bool = AsJson, url: str = Url, api_token: str | None = TokenOption, data: Path | None = Data
) -> None:
    """List tokens."""
    from autocity.cli import say

    found = _ask("GET", "/auth/tokens", None, url, api_token, data)
    if as_json:
        say.data(found)
    else:
        say.table(
            ("token", "name", "owner", "scopes", "good until"),
            [(t["id"], t["name"], t["user"], ",".join(t["scopes"]), t["expiresAt"]) for t in found],
        )


@token.command("revoke")
def revoke_token(
    id: str, url: str = Url, api_token: str | None = TokenOption, data: Path | None = Data
) -> None:
    """End a token at once."""
    from autocity.cli import say

    _ask("DELETE", f"/auth/tokens/{quote(id, safe='')}", None, url, api_token, data)
    say.note(f"Token {id} is revoked.")
