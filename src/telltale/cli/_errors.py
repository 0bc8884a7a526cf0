"""How a command ends: every error is one line with its code, never a traceback."""

from __future__ import annotations

import errno
import functools
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

import typer

EXIT_USAGE = 2
EXIT_INPUT_FAILED = 3
EXIT_INTERRUPTED = 130
_EXIT_BUG = 1
_CANNOT_WRITE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG}
"""No fault of ours: the disk is full, over its quota or read-only, or takes no file so large."""
_P = ParamSpec("_P")
_R = TypeVar("_R")


def told(command: Callable[_P, _R]) -> Callable[_P, _R]:
    """`command`, ending with a message and an exit code where it would end with an exception."""

    @functools.wraps(command)
    def run(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        from telltale.errors import TelltaleError

        try:
            return command(*args, **kwargs)
        except TelltaleError as error:
            say(f"telltale: {error.code}: {error.message}")
            raise typer.Exit(EXIT_USAGE) from None
        except KeyboardInterrupt as error:
            say("; ".join(["telltale: stopped", *map(str, error.args)]))
            raise typer.Exit(EXIT_INTERRUPTED) from None
        except (typer.Exit, typer.Abort, typer.BadParameter, BrokenPipeError):
            raise
        except Exception as error:
            if os.environ.get("TELLTALE_DEBUG"):
                raise
            if isinstance(error, OSError) and cannot_write(error):
                raise typer.Exit(EXIT_USAGE) from None
            say(
                f"telltale: internal: {type(error).__name__}: {error}. This is a fault in Telltale: please report it "
                "with the output of the same command under TELLTALE_DEBUG=1"
            )
            raise typer.Exit(_EXIT_BUG) from None

    return run


@contextmanager
def to_be_resumed() -> Iterator[None]:
    """Whoever stops this is told how to go on."""
    on = "go on with --resume"
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(on) from None
    except SystemExit:
        say(f"telltale: stopped; {on}")
        raise


def cannot_write(error: OSError) -> bool:
    """Whether there is no room for what was to be written; said then."""
    if error.errno not in _CANNOT_WRITE:
        return False
    where = f"{error.filename}: " if error.filename else ""
    say(f"telltale: output_failed: {where}{error.strerror}; free some space or write elsewhere")
    _drop_unwritten()
    return True


def _drop_unwritten() -> None:
    """Else Python tries once more to write what is left for standard output, and ends with a traceback of its own."""
    if sys.__stdout__ is not None and sys.stdout is sys.__stdout__:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.__stdout__.fileno())


def say(message: str) -> None:
    """One line on standard error."""
    from telltale._text import visible

    print(visible(message), file=sys.stderr, flush=True)  # noqa: T201 - the command line prints
