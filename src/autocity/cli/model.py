"""`model list|show|validate`: the city's vocabulary."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import typer

from autocity.cli.settings import AsJson

model = typer.Typer(
    no_args_is_help=True,
    help="""Look at the city's types and check entities against them.

    Examples:

      autocity model list --subject Transportation

      autocity model show TrafficFlowObserved

      autocity model validate entities.jsonl
    """,
)


def add_to(app: typer.Typer) -> None:
    app.add_typer(model, name="model", rich_help_panel="Data")


@model.command("list")
def list_(
    subject: str | None = typer.Option(None, "--subject", help="Only types of this subject."),
    own: bool = typer.Option(False, "--own", help="Only the types defined by autocity."),
    language: str = typer.Option("en", "--language", help="Labels in en or zh."),
    as_json: bool = AsJson,
) -> None:
    """List the types of the catalogue."""
    from autocity import models
    from autocity.cli import say

    found = [
        kind
        for kind in models.catalogue().values()
        if (subject is None or kind.subject.lower() == subject.lower()) and (kind.own or not own)
    ]
    if not found and subject:
        subjects = sorted({kind.subject for kind in models.catalogue().values()})
        raise say.Refusal(f"No type of subject {subject}. Subjects: {', '.join(subjects)}.")
    if as_json:
        say.data(
            [
                {"name": k.name, "iri": k.iri, "subject": k.subject, "context": k.context, "labels": k.labels}
                for k in found
            ]
        )
        return
    say.table(
        ("type", "label", "subject", "required", "attributes"),
        [
            (
                k.name,
                k.labels.get(language, k.name),
                k.subject,
                ", ".join(k.required) or "-",
                len(k.attributes),
            )
            for k in found
        ],
    )


@model.command()
def show(
    name: str = typer.Argument(..., help="Short name or IRI of a type."),
    schema: bool = typer.Option(False, "--schema", help="The JSON Schema of its key-values form."),
    example: bool = typer.Option(False, "--example", help="A small valid entity."),
    language: str = typer.Option("en", "--language", help="Labels in en or zh."),
    as_json: bool = AsJson,
) -> None:
    """Show one type: attributes, kinds, units, what is required."""
    from autocity import models
    from autocity.cli import say

    try:
        kind = models.get(name)
    except models.UnknownType as fault:
        raise say.Refusal(str(fault)) from None
    if schema:
        say.data(models.schema(kind.name))
    elif example:
        say.data(models.example(kind.name))
    elif as_json:
        say.data(kind)
    else:
        say.note(
            f"{kind.name} ({kind.labels.get(language, kind.name)}), {kind.subject}\n"
            f"{kind.iri}\n{kind.context}\n"
        )
        if kind.description:
            say.note(kind.description + "\n")
        say.table(
            ("attribute", "label", "kind", "unit", "required", "meaning"),
            [
                (
                    a.name,
                    a.labels.get(language, a.name),
                    a.kind,
                    a.unit or "",
                    "yes" if a.name in kind.required else "",
                    a.description,
                )
                for a in kind.attributes.values()
            ],
        )


@model.command()
def validate(
    file: Path = typer.Argument(..., help="JSON, JSON lines or `-` for stdin: entities in any form."),
    type: str | None = typer.Option(
        None, "--type", "-t", help="Check against this type, whatever the entity says."
    ),
    as_json: bool = AsJson,
) -> None:
    """Check entities against the catalogue; every fault is named with its place."""
    from autocity import models
    from autocity.cli import say

    faults: list[dict[str, Any]] = []
    count = 0
    for line, entity in _entities(file):
        count += 1
        try:
            found = models.validate(entity, type)
        except models.UnknownType as fault:
            faults.append(
                {"line": line, "id": entity.get("id"), "where": "type", "reason": str(fault), "allowed": ""}
            )
            continue
        faults += [
            {"line": line, "id": entity.get("id"), "where": f.where, "reason": f.reason, "allowed": f.allowed}
            for f in found
        ]
    if as_json:
        say.data({"entities": count, "faults": faults})
    else:
        for told in faults:
            allowed = f" (allowed: {told['allowed']})" if told["allowed"] else ""
            say.note(f"line {told['line']}: {told['id']}: {told['where']}: {told['reason']}{allowed}")
        say.note(f"{count} entities, {len(faults)} faults.")
    if faults:
        raise typer.Exit(say.FAILED)


def _entities(file: Path) -> list[tuple[int, dict[str, Any]]]:
    import msgspec

    from autocity.cli import say

    try:
        text = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    except FileNotFoundError:
        raise say.Refusal(f"{file}: no such file.") from None
    try:
        whole = msgspec.json.decode(text)
        found = list(enumerate(whole if isinstance(whole, list) else [whole], 1))
    except msgspec.DecodeError:
        found = []
        for number, line in enumerate(text.splitlines(), 1):
            if line.strip():
                try:
                    found.append((number, msgspec.json.decode(line)))
                except msgspec.DecodeError as fault:
                    raise say.Refusal(f"{file}, line {number}: not JSON: {fault}") from None
    for number, entity in found:
        if not isinstance(entity, dict):
            raise say.Refusal(f"{file}, entry {number}: an entity is a JSON object.")
    return found
