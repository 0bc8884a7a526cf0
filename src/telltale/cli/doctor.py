"""`telltale doctor`: whether this installation is fit, one line a check, each with its fix."""

from __future__ import annotations

from typing import Annotated

import typer

from telltale.cli._errors import told

_FAILED = 3


@told
def doctor(json: Annotated[bool, typer.Option("--json", help="Print one JSON object on one line.")] = False) -> None:
    """Check versions, weights, codecs, isolation, memory and disks; exit code 3 where something must be fixed."""
    from telltale._text import visible
    from telltale.cli._json import print_json
    from telltale.doctor import examine

    checks = []
    for check in examine():
        checks.append(check)
        if not json:
            fix = f" -> {check.fix}" if check.fix else ""
            typer.echo(f"{check.status:5}{check.name}: {visible(check.told)}{visible(fix)}")
    n_failed = sum(check.status == "fail" for check in checks)
    if json:
        rows = [check.model_dump(mode="json") for check in checks]
        print_json({"fit": not n_failed, "checks": rows})
    elif n_failed:
        typer.echo(f"{n_failed} to fix", err=True)
    if n_failed:
        raise typer.Exit(_FAILED)


__all__ = ["doctor"]
