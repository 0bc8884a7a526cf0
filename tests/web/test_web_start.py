"""A server, or a command that changes keys, whose folder, database or address is not fit: told with the next step."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from telltale.cli import app
from web_server import running

PAGE_BYTES = 4096


def invoke(data: Path, *options: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["serve", "--data", str(data), "--port", "0", *options])
    return done.exit_code, done.stderr


def overwritten(database: Path) -> None:
    database.write_bytes(b"no database " * 1000)


def damaged(database: Path) -> None:
    """All but the first page, which has the tables' names."""
    database.write_bytes(database.read_bytes()[:PAGE_BYTES].ljust(20 * PAGE_BYTES, b"\xff"))


def a_folder(database: Path) -> None:
    database.unlink()
    database.mkdir()


def of_another_version(database: Path) -> None:
    with closing(sqlite3.connect(database)) as db:
        db.execute("PRAGMA user_version = 99")


@pytest.mark.parametrize("options", [[], ["--require-key"], ["--new-key", "bob"], ["--drop-key", "alice"]])
@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (overwritten, "file is not a database); put a copy in its place, or choose another --data folder"),
        (damaged, "database disk image is malformed); put a copy in its place, or choose another --data folder"),
        (a_folder, "unable to open database file); let this user write it and its folder, or choose another --data"),
        (of_another_version, "was written by another version of Telltale; choose another --data folder"),
    ],
)
def test_a_database_that_cannot_be_used_is_named_with_the_next_step(
    tmp_path: Path, options: list[str], spoil: Callable[[Path], None], told: str
) -> None:
    assert invoke(tmp_path, "--new-key", "alice")[0] == 0
    spoil(tmp_path / "telltale.db")
    code, said = invoke(tmp_path, *options)
    assert code == 2
    assert str(tmp_path / "telltale.db") in said
    assert told in said


def test_folders_among_the_files_of_a_server_keep_it_from_nothing(tmp_path: Path, redness: Path) -> None:
    for name in ("uploads", "media", "results"):
        (tmp_path / name / "stray").mkdir(parents=True)
        (tmp_path / name / "stray" / "file").touch()
    with running(tmp_path, redness) as server, server.client() as client:
        assert client.is_ready()
    assert len(list(tmp_path.glob("*/stray/file"))) == 2  # somebody put them there


@pytest.mark.parametrize(
    ("host", "option"), [("nope.invalid", "--host"), ("203.0.113.9", "--host"), ("127.0.0.1", "--port")]
)
def test_an_address_that_cannot_be_listened_on_is_told_which_part_to_change(
    tmp_path: Path, redness: Path, host: str, option: str
) -> None:
    with running(tmp_path / "other", redness) as other:
        code, said = invoke(tmp_path / "data", "--host", host, "--port", str(other.port))
    assert code == 2
    assert said.rstrip().endswith(f"; choose another {option}")


def test_the_first_key_is_told_with_the_command_that_makes_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("telltale.web.server.serve", lambda *_, **__: None)
    data = tmp_path / "my data"
    code, said = invoke(data, "--require-key")
    assert code == 0
    assert f"telltale serve --new-key NAME --data '{data}'" in said
