"""A typed client for a Telltale server.

    with Client("http://127.0.0.1:8000") as client:
        report = client.scan("clip.mp4")
        for entry in client.scans(q="clip"):
            print(entry.name, entry.outcome)

A server that is busy (429) or just being stopped (503) says when to come back; uploads are then repeated by themselves.
One that is started anew still has its scans: `wait` and `events` go on with them.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx2
from pydantic import TypeAdapter

from telltale.errors import FileMissing, FileUnreadable, TelltaleError, UsageError
from telltale.types import Report
from telltale.web.schema import (
    ENDED,
    FILE_FIELD,
    MAX_NAME_CHARS,
    Health,
    ModelEntry,
    Problem,
    Scan,
    ScanEntry,
    ScanOptions,
    ScanPage,
    State,
)

SCANS = "/api/v1/scans"
_OK, _BEING_MADE, _TRY_AGAIN, _STOPPED = 200, 202, 429, 503
_PASSING = frozenset({_TRY_AGAIN, 502, _STOPPED, 504})
"""Answers that say nothing of the scan: too much at once, and a proxy's while the server behind it is started anew."""
_NOT_TEXT = re.compile("[\ud800-\udfff]")
_POLL_S = 0.5
_BUSY_S = 5.0
"""Before a file is sent again to a server, or a proxy before it, that says no time."""
_T = TypeVar("_T")


class ApiError(TelltaleError):
    """The server refused; `problem` has its words (RFC 9457)."""

    code = "api"

    def __init__(self, problem: Problem, *, retry_after_s: float | None = None) -> None:
        super().__init__(f"{problem.title}: {problem.detail} ({problem.code})")
        self.problem = problem
        self.retry_after_s = retry_after_s

    def __reduce__(self) -> tuple[Callable[..., ApiError], tuple[Problem, float | None]]:
        return _api_error, (self.problem, self.retry_after_s)


def _api_error(problem: Problem, retry_after_s: float | None) -> ApiError:
    """Of an `ApiError` that was pickled, as those of a pool's workers are."""
    return ApiError(problem, retry_after_s=retry_after_s)


class ServerUnreachable(TelltaleError):
    """No answer; `code` is stable."""

    code = "server_unreachable"


class Client:
    """One server. Safe to share between threads."""

    def __init__(self, url: str = "http://127.0.0.1:8000", *, key: str | None = None, timeout_s: float = 60.0) -> None:
        """`timeout_s` bounds the silence between two bytes, not a whole upload. Raises `UsageError` for a key or
        an address that cannot be one."""
        if not url.lower().startswith(("http://", "https://")):
            raise UsageError("the address of a server begins with http:// or https://; put that before it")
        headers = {"Authorization": f"Bearer {_plain(key)}"} if key else {}
        try:
            self._http = httpx2.Client(base_url=url, headers=headers, timeout=timeout_s)
        except httpx2.InvalidURL as error:
            raise UsageError(f"the address of a server cannot be read ({error}); check its spelling") from error

    def scan(
        self,
        path: str | os.PathLike[str],
        *,
        model: str | None = None,
        options: ScanOptions | None = None,
        wait_s: float = 3600.0,
    ) -> Report:
        """Upload a file and wait for its report. Whatever is wrong with the file is in the report.

        Raises `ApiError`, `ServerUnreachable`, `TimeoutError`, and `TelltaleError` if the scan was cancelled.
        """
        entry = self.submit(path, model=model, options=options, wait_s=wait_s)
        scan = self.wait(entry.id, wait_s=wait_s)
        if scan.report is None:
            reason = scan.error.message if scan.error else f"the scan is {scan.state}"
            raise TelltaleError(f"{scan.name}: there is no report: {reason}")
        return scan.report

    def submit(
        self,
        path: str | os.PathLike[str],
        *,
        name: str | None = None,
        model: str | None = None,
        options: ScanOptions | None = None,
        wait_s: float = 600.0,
    ) -> ScanEntry:
        """Upload a file; the analysis goes on by itself. A busy server is asked again for up to `wait_s`."""
        file = Path(path)
        fields = (options or ScanOptions()).model_dump(exclude_none=True, mode="json")
        form = {key: json.dumps(value) if isinstance(value, bool) else str(value) for key, value in fields.items()}
        if model is not None:
            form["model"] = model
        # As browsers do where a name's bytes are no text. (An escape has a backslash, at which the server cuts.) A very
        # long name would be no form that the server reads.
        sent_name = _NOT_TEXT.sub("\ufffd", name or file.name)[-MAX_NAME_CHARS:]
        ends_at = time.monotonic() + wait_s
        while True:
            try:
                with file.open("rb") as content:
                    answer = self._send("POST", SCANS, data=form, files={FILE_FIELD: (sent_name, content)})
                return _read(ScanEntry, answer)
            except FileNotFoundError as error:
                raise FileMissing(f"{file} does not exist; check the spelling and the folder") from error
            except OSError as error:
                raise FileUnreadable(f"{file} cannot be read ({error.strerror}); check its permissions") from error
            except ApiError as error:
                pause_s = error.retry_after_s or (_BUSY_S if error.problem.status == _TRY_AGAIN else None)
                if pause_s is None or time.monotonic() + pause_s > ends_at:
                    raise
                time.sleep(pause_s)

    def get(self, scan_id: str) -> Scan:
        """A scan, with its report once it has ended. Raises `ApiError` (`not_found`)."""
        return _read(Scan, self._send("GET", f"{SCANS}/{scan_id}"))

    def wait(self, scan_id: str, *, wait_s: float = 3600.0) -> Scan:
        """The scan when it has ended. Raises `TimeoutError` after `wait_s`.

        A server that is gone may come back with its scans: only after `wait_s` is `ServerUnreachable` raised, or the
        `ApiError` of a proxy.
        """
        ends_at = time.monotonic() + wait_s
        while True:
            try:
                scan = self.get(scan_id)
            except (ApiError, ServerUnreachable) as error:
                pause_s = _pause_s(error)
                if pause_s is None or time.monotonic() + pause_s > ends_at:
                    raise
                time.sleep(pause_s)
                continue
            if scan.state in ENDED:
                return scan
            if time.monotonic() > ends_at:
                raise TimeoutError(f"scan {scan_id} is still {scan.state} after {wait_s:g} s")
            time.sleep(_POLL_S)

    def events(self, scan_id: str, *, wait_s: float = 600.0) -> Iterator[ScanEntry]:
        """The scan every time there is news, the last time when it has ended.

        A stream that ends before the scan is opened anew. Raises `ServerUnreachable`, or the `ApiError` of a proxy,
        after `wait_s` without an answer, and `ApiError` (`not_found`) where the scan was deleted.
        """
        told: ScanEntry | None = None
        ends_at: float | None = None
        while True:
            try:
                for entry in self._stream(scan_id):
                    ends_at = None
                    if entry != told:
                        told = entry
                        yield entry
                    if entry.state in ENDED:
                        return
            except (ApiError, ServerUnreachable) as error:
                ends_at = ends_at or time.monotonic() + wait_s
                pause_s = _pause_s(error)
                if pause_s is None or time.monotonic() + pause_s > ends_at:
                    raise
                time.sleep(pause_s)

    def _stream(self, scan_id: str) -> Iterator[ScanEntry]:
        """What one stream tells. Raises `ServerUnreachable` at its end."""
        try:
            with self._http.stream("GET", f"{SCANS}/{scan_id}/events") as answer:
                if not answer.is_success:
                    answer.read()
                _check(answer, kind="text/event-stream")
                for data in _data_of(answer):
                    yield _read(ScanEntry, answer, data)
        except httpx2.RequestError as error:
            raise _unreachable(error) from error
        raise ServerUnreachable("the server ended the stream before the scan; is it being started anew?")

    def page(self, *, limit: int = 20, cursor: str | None = None, q: str = "", state: State | None = None) -> ScanPage:
        """One page of scans, the newest first."""
        query = {"limit": limit, "cursor": cursor, "q": q, "state": state}
        given = {key: value for key, value in query.items() if value}
        return _read(ScanPage, self._send("GET", SCANS, params=given))

    def scans(self, *, q: str = "", state: State | None = None) -> Iterator[ScanEntry]:
        """All scans, the newest first."""
        cursor: str | None = None
        while True:
            page = self.page(limit=100, cursor=cursor, q=q, state=state)
            yield from page.items
            cursor = page.next
            if cursor is None:
                return

    def delete(self, scan_id: str) -> None:
        """Cancel the scan if it waits or runs; delete it if it has ended."""
        answer = self._send("DELETE", f"{SCANS}/{scan_id}")
        if answer.status_code == _OK:
            _read(ScanEntry, answer)

    def report_html(self, scan_id: str) -> str:
        """The report as one self-contained page."""
        return self._send("GET", f"{SCANS}/{scan_id}/report.html").text

    def save_annotated(self, scan_id: str, path: str | os.PathLike[str], *, wait_s: float = 3600.0) -> None:
        """Write the clip with what was found drawn into it (MP4), which the server makes now if it has not yet.

        Raises `ApiError` (`no_result` for pictures and failed scans, `not_drawn`), `TimeoutError`, and `OSError` for
        `path`.
        """
        ends_at = time.monotonic() + wait_s
        while True:
            try:
                with self._http.stream("GET", f"{SCANS}/{scan_id}/annotated.mp4") as answer:
                    if answer.status_code == _OK:
                        _check(answer, kind="video/mp4")
                        return _save(answer, Path(path))
                    answer.read()
            except httpx2.RequestError as error:
                raise _unreachable(error) from error
            pause_s = float(answer.headers.get("retry-after", "1"))
            if answer.status_code not in (_BEING_MADE, _TRY_AGAIN):
                _check(answer)
            if time.monotonic() + pause_s > ends_at:
                raise TimeoutError(f"the annotated clip of scan {scan_id} is not there after {wait_s:g} s")
            time.sleep(pause_s)

    def models(self) -> list[ModelEntry]:
        """The models of the server, with their cards."""
        return _read(list[ModelEntry], self._send("GET", "/api/v1/models"))

    def is_ready(self) -> bool:
        """Whether the server can take uploads."""
        try:
            _read(Health, self._send("GET", "/readyz"))
        except (ApiError, ServerUnreachable):
            return False
        return True

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()

    def _send(self, method: str, path: str, **options: Any) -> httpx2.Response:
        try:
            answer = self._http.request(method, path, **options)
        except httpx2.RequestError as error:
            raise _unreachable(error) from error
        _check(answer)
        return answer


def _plain(key: str) -> str:
    """The key without the white space around it, as in a file's last line. Raises `UsageError`, without the key."""
    key = key.strip()
    if not (key and key.isascii() and key.isprintable()):
        raise UsageError("this cannot be an API key; copy it anew, as `telltale serve --new-key NAME` printed it")
    return key


def _pause_s(error: ApiError | ServerUnreachable) -> float | None:
    """Seconds until the server may be asked again; None where that would change nothing."""
    if isinstance(error, ServerUnreachable):
        return _POLL_S
    return error.retry_after_s or _POLL_S if error.problem.status in _PASSING else None


def _data_of(answer: httpx2.Response) -> Iterator[str]:
    """The JSON objects of a stream's events that came whole. Only a newline ends a line: a name may hold U+2028."""
    rest = ""
    for text in answer.iter_text():
        *events, rest = (rest + text).split("\n\n")
        for event in events:
            yield from (line[6:] for line in event.split("\n") if line.startswith("data: {"))


def _save(answer: httpx2.Response, path: Path) -> None:
    """All of it, or nothing."""
    part = path.with_name(f"{path.name}.part")
    try:
        with part.open("wb") as file:
            for chunk in answer.iter_bytes():
                file.write(chunk)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _unreachable(error: Exception) -> ServerUnreachable:
    return ServerUnreachable(f"the server does not answer ({error or type(error).__name__}); is it running?")


def _read(kind: type[_T], answer: httpx2.Response, text: str | bytes | None = None) -> _T:
    """The value in an answer, or in `text` of it. Raises `ApiError`."""
    try:
        return TypeAdapter(kind).validate_json(answer.content if text is None else text)
    except ValueError as error:  # a page of a proxy, a hotel or a company, or another version of Telltale
        raise ApiError(_no_answer(answer)) from error


def _no_answer(answer: httpx2.Response) -> Problem:
    """What is said of an answer that is none of Telltale's."""
    address = answer.request.url.copy_with(userinfo=b"")
    kind = answer.headers.get("content-type", "").partition(";")[0] or "no media type"
    return Problem(
        type="about:blank",
        title="No answer of Telltale's",
        status=answer.status_code,
        detail=f"{address} answered {answer.status_code} with {kind}; check the address, and any proxy or sign-in page "
        "on the way",
        code="api",
    )


def _check(answer: httpx2.Response, *, kind: str = "") -> None:
    """Raises `ApiError` for a refusal, and for an answer of another media type than `kind`."""
    if answer.is_success:
        if not answer.headers.get("content-type", "").startswith(kind):
            raise ApiError(_no_answer(answer))
        return
    try:
        problem = Problem.model_validate_json(answer.content)
    except ValueError:  # a proxy's own page
        problem = _no_answer(answer)
    wait = answer.headers.get("retry-after", "")
    is_temporary = answer.status_code in (_TRY_AGAIN, _STOPPED) and wait.isdigit()
    raise ApiError(problem, retry_after_s=float(wait) if is_temporary else None)


__all__ = ["ApiError", "Client", "ServerUnreachable"]
