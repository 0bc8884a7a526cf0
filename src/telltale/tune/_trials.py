"""What every trial of a search gave, kept as it goes: one that was stopped goes on where it was.

OUT/trials.json says what is searched and lists a value and the seconds for each setting and fold that is done. It goes
when the search has ended.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from telltale._files import write_files
from telltale.errors import DataError, UsageError
from telltale.types import Written

NAME = "trials.json"


class Trial(Written):
    """One setting on one fold."""

    setting: int
    """Its place among those that are tried."""
    fold: int
    value: float
    seconds: float


class _Held(Written):
    search: dict[str, Any]
    trials: tuple[Trial, ...] = ()


class Trials:
    """Those of the search in `out`, by setting and fold."""

    def __init__(self, out: Path, search: Mapping[str, Any], *, resume: bool) -> None:
        """`search` says what is searched, as JSON has it. Raises UsageError where `out` holds a search that was stopped
        and `resume` is off, or that searched for something else; DataError where its record is damaged."""
        self._out, self._search = out, dict(search)
        self.done: dict[tuple[int, int], Trial] = {}
        if not (out / NAME).exists():
            return
        if not resume:
            raise UsageError(f"{out} holds a search that was stopped: go on with --resume, or choose another --out")
        held = _read(out / NAME)
        changed = sorted(name for name in self._search if held.search.get(name) != self._search[name])
        if changed:
            raise UsageError(
                f"{out} holds a search that began with other {', '.join(changed)}: --resume goes on with what it began "
                "with, or choose another --out"
            )
        self.done = {(trial.setting, trial.fold): trial for trial in held.trials}

    def add(self, trial: Trial) -> None:
        """Kept at once. Raises OutputError."""
        self.done[trial.setting, trial.fold] = trial
        held = _Held(search=self._search, trials=tuple(self.done.values()))
        write_files(self._out, {NAME: (held.model_dump_json(indent=1) + "\n").encode()})

    def end(self) -> None:
        """The search's own files have everything now."""
        (self._out / NAME).unlink(missing_ok=True)


def _read(path: Path) -> _Held:
    try:
        return _Held.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise DataError(
            f"{path} is damaged, so nobody knows what was tried: delete it to search anew, or choose another --out"
        ) from error
