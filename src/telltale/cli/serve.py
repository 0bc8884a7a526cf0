"""`telltale serve`: a page to drop a clip on, and an API."""

from __future__ import annotations

import ipaddress
import re
import shlex
from pathlib import Path
from typing import Annotated

import typer

from telltale.cli._choices import folder
from telltale.cli._errors import say, told

_LOCAL = ("127.0.0.1", "localhost", "::1")
_LONGEST_KEPT_H = 24 * 36_500
_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_.])?")


@told
def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8000,
    data: Annotated[
        Path, typer.Option(metavar="DIR", parser=folder, help="Where uploads, results and the queue are kept.")
    ] = Path("telltale-data"),
    model: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME|DIR", help="A model to offer; may be repeated.", show_default="default"),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Analyses at a time.", show_default="one a core, at most 4")
    ] = None,
    require_key: Annotated[
        bool, typer.Option("--require-key", help="Answer only those who send an API key, and show them only their own.")
    ] = False,
    new_key: Annotated[
        str | None, typer.Option(metavar="NAME", help="Print a new API key for NAME, replacing an old one, and end.")
    ] = None,
    drop_key: Annotated[str | None, typer.Option(metavar="NAME", help="Revoke the key of NAME, and end.")] = None,
    max_upload: Annotated[int, typer.Option(metavar="MB", min=1, help="The largest upload.")] = 1000,
    queue: Annotated[int, typer.Option(metavar="N", min=1, help="Analyses that may wait.")] = 256,
    per_client: Annotated[
        int, typer.Option(metavar="N", min=1, help="Scans of one client that may be on their way, wait or run.")
    ] = 64,
    keep: Annotated[float, typer.Option(metavar="HOURS", help="Remove uploads and results after so long.")] = 168.0,
    deadline: Annotated[float, typer.Option(metavar="S", help="The longest an analysis may take.")] = 600.0,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="A name to answer under, beside local ones; may be repeated.",
            show_default="local names where only this machine is served, else any",
        ),
    ] = None,
    behind_proxy: Annotated[
        str, typer.Option(metavar="ADDRESSES", help="Believe X-Forwarded-For from these, comma-separated.")
    ] = "",
) -> None:
    """Serve a page to drop clips on, and an API, until stopped with Ctrl-C."""
    import os

    from telltale.errors import UsageError, require

    for name, value in (("--keep", keep), ("--deadline", deadline)):
        if not 0 < value < float("inf"):
            raise UsageError(f"{name} must be a number above 0, got {value}")
    allowed_hosts = _allowed_hosts(host, allow_host or [])
    _check_proxies(behind_proxy)
    if keep > _LONGEST_KEPT_H:
        raise UsageError(f"--keep must be at most {_LONGEST_KEPT_H:,} hours, a hundred years, got {keep:g}")
    for module in ("fastapi", "uvicorn", "python_multipart"):
        require(module, "web")
    from telltale.web.server import serve as run
    from telltale.web.settings import ServeSettings

    _log_warnings()
    os.umask(0o077)  # before the first file is made: a folder that was there already may be open to all
    if new_key is not None or drop_key is not None:
        _change_keys(data, new_key, drop_key)
        return
    if require_key:
        _ensure_key(data)
    elif host not in _LOCAL:
        say("telltale: everybody who reaches this address shares one list of scans; --require-key keeps them apart")
    settings = ServeSettings(
        data=data,
        models=tuple(model or ("default",)),
        workers=workers or ServeSettings(data=data).workers,
        require_key=require_key,
        max_upload_bytes=max_upload * 1_000_000,
        queue_length=queue,
        per_client=per_client,
        keep_s=keep * 3600,
        deadline_s=deadline,
        allowed_hosts=allowed_hosts,
    )
    run(
        settings,
        host=host,
        port=port,
        trusted_proxies=behind_proxy,
        on_ready=lambda url: say(f"Telltale is at {url} (data in {data}; Ctrl-C stops it)"),
    )


def _log_warnings() -> None:
    import logging

    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for chatty in ("uvicorn.error", "python_multipart"):
        logging.getLogger(chatty).setLevel(logging.ERROR)  # else a line for every malformed request


def _allowed_hosts(host: str, names: list[str]) -> tuple[str, ...]:
    """The names to answer under; none: any."""
    if not names and host not in _LOCAL:
        return ()
    # Monitoring asks under a local name, and no page of a stranger can.
    return (*(_checked_name(name) for name in names), *_LOCAL)


def _checked_name(name: str) -> str:
    """As it is compared with what a browser asks for; any other spelling would never match. Raises `UsageError`."""
    from telltale.errors import UsageError

    if name.isascii() and _is_address(name):
        return str(ipaddress.ip_address(name))
    if _NAME.fullmatch(name) is None:
        raise UsageError(
            f"--allow-host takes one name or address, without https://, port, path or wildcard, got {name!r}; "
            "repeat the option for several, and write a name with other letters as xn--.."
        )
    return name.lower()


def _check_proxies(addresses: str) -> None:
    """Raises `UsageError` for what the server would take as nobody's address, in silence."""
    from telltale.errors import UsageError

    if addresses in ("", "*"):
        return
    for address in addresses.split(","):
        if not (_is_address(address.strip()) or _is_network(address.strip())):
            raise UsageError(
                "--behind-proxy takes addresses and networks, comma-separated, like 127.0.0.1,10.0.0.0/8, "
                f"or * alone, got {address.strip()!r}"
            )


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _is_network(text: str) -> bool:
    try:
        ipaddress.ip_network(text)
    except ValueError:
        return False
    return True


def _change_keys(data: Path, new: str | None, dropped: str | None) -> None:
    from telltale.errors import UsageError
    from telltale.web.guard import digest, new_key
    from telltale.web.keys import keys_of

    with keys_of(data) as keys:
        if dropped is not None and not keys.remove(dropped):
            names = ", ".join(keys.names()) or "none"
            raise UsageError(f"there is no key called {dropped!r}; there are: {names}")
        if new is not None:
            if not new.strip():
                raise UsageError("--new-key wants a name, which tells the keys apart")
            is_back = new not in keys.names() and keys.n_scans(new) > 0
            key = new_key()
            keys.add(new, digest(key))
            typer.echo(key)
            if is_back:
                say(
                    f"telltale: this key shows the scans that were sent with an earlier key of {new}; "
                    "if it is for somebody else, drop it and choose another name"
                )


def _ensure_key(data: Path) -> None:
    """The first start with --require-key makes a key; otherwise nobody could come in."""
    from telltale.web.guard import digest, new_key
    from telltale.web.keys import keys_of

    with keys_of(data) as keys:
        if not keys.names():
            key = new_key()
            keys.add("admin", digest(key))
            say(f"The key of admin, shown this once: {key}")
            say(f"More: telltale serve --new-key NAME --data {shlex.quote(str(data))}")


__all__ = ["serve"]
