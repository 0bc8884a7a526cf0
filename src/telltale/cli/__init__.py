"""The command line: it parses, calls the public functions and prints. One file a command.

Only typer is imported here, so that `telltale --help` answers at once; everything else is imported
inside the command that needs it.

    telltale scan clip.mp4 --out report
"""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from telltale.cli import (
    compare,
    doctor,
    evaluate,
    explain,
    export,
    inspect,
    models,
    prepare,
    scan,
    serve,
    split,
    train,
    tune,
)
from telltale.cli._errors import EXIT_USAGE, cannot_write

app = typer.Typer(
    name="telltale",
    help="Is this video real? Tells real faces from deepfakes, says when it cannot, and shows why.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # rich panels take .3 s more
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 done (of prepare also where files failed, which its table says), 1 a fault in Telltale, "
    "2 not carried out as asked, 3 a file failed in scan or doctor found something to fix, 130 stopped with Ctrl-C.",
)
app.command()(scan.scan)
app.command()(prepare.prepare)
app.command()(split.split)
app.command()(inspect.inspect)
app.command()(export.export)
app.command()(train.train)
app.command()(tune.tune)
app.command()(evaluate.evaluate)
app.command()(compare.compare)
app.command()(explain.explain)
app.command()(serve.serve)
app.command()(doctor.doctor)
app.add_typer(models.app, name="models")


def _print_version(wanted: bool) -> None:
    if wanted:
        from telltale import __version__

        typer.echo(f"telltale {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Is this video real? Tells real faces from deepfakes, says when it cannot, and shows why."""


def main(args: list[str] | None = None) -> None:
    """Run the command line and exit; `args` are those after the program's name."""
    # Closed by whoever called (2>&-): nobody reads it, and the next file opened would take its place.
    sys.stdout, sys.stderr = (stream or Path(os.devnull).open("w") for stream in (sys.stdout, sys.stderr))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        # A file name may hold anything, and a terminal may take only ASCII.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    given = sys.argv[1:] if args is None else args
    if given[:1] == ["scan"]:
        scan.begin(given[1:])
    try:
        app(args)
    except OSError as error:  # of help and usage, which no command prints
        if not cannot_write(error):
            raise
        sys.exit(EXIT_USAGE)


__all__ = ["app", "main"]
