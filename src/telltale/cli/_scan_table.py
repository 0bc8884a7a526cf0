"""`telltale scan` of thousands of files: into a table, here or on a cluster."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from telltale.cli._errors import EXIT_INPUT_FAILED, say

if TYPE_CHECKING:
    from telltale.engine import Engine
    from telltale.many import Bucket, Item, Totals
    from telltale.scan import ScanSettings


def from_and_to(
    inputs: Sequence[str], *, bucket: str | None, out: Path | None, out_bucket: str | None
) -> tuple[list[Item], Path | Bucket]:
    """What is scanned, and where the table goes. `UsageError` where one of the two is said twice, or not at all."""
    from telltale.cli._inputs import expand
    from telltale.errors import UsageError
    from telltale.many import Bucket, in_bucket, listed

    if out is not None and out_bucket is None:
        place: Path | Bucket = out
    elif out_bucket is not None and out is None:
        place = Bucket(out_bucket)
    else:
        raise UsageError(
            "a table of results needs a place: --out DIR, a folder that all machines see, or --out-bucket URL"
        )
    if bucket is not None and inputs:
        raise UsageError("give inputs or --bucket, not both")
    return listed(expand(inputs, out=out)) if bucket is None else in_bucket(bucket), place


def scan_table(
    items: Sequence[Item],
    place: Path | Bucket,
    *,
    model: str,
    settings: ScanSettings,
    engine: Engine,
    retry_failed: bool,
) -> None:
    """Scan into the table at `place`; exit code 3 where a file failed."""
    from telltale._text import plural
    from telltale.cli._bar import share_progress
    from telltale.many import scan_into

    with share_progress("scanning") as show:

        def told(totals: Totals) -> None:
            doing = f"{totals.n_done:,} of {totals.n_total:,}"
            show(totals.n_done / max(totals.n_total, 1), f"{doing}, {totals.n_failed:,} failed")

        totals = scan_into(
            place,
            items,
            model=model,
            settings=replace(settings, pictures=False, provenance=False),
            engine=engine,
            retry_failed=retry_failed,
            on_progress=told,
        )
    before = f", {totals.n_skipped:,} of them before" if totals.n_skipped else ""
    say(f"{plural(totals.n_done, 'file')} done{before}; {totals.n_fake:,} called fake, {totals.n_failed:,} failed")
    say(f"Table: {place}/table")
    if totals.n_failed:
        raise typer.Exit(EXIT_INPUT_FAILED)
