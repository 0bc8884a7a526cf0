"""What docs/deploy.md offers is run here: nginx with the configuration that is shipped, and checks of the rest."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from web_server import Process, environment, free_port

DEPLOY = Path(__file__).parents[2] / "deploy"
NGINX = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory, redness: Path) -> Iterator[Process]:
    options = ("--behind-proxy", "127.0.0.1", "--allow-host", "localhost", "--workers", "1")
    with Process(tmp_path_factory.mktemp("deploy") / "data", redness, *options) as app:
        with contextlib.ExitStack() as stack:
            http = stack.enter_context(httpx2.Client(headers={"host": "localhost"}))
            ends_at = time.monotonic() + 60
            while not _answers(http, f"{app.url}/readyz"):
                assert time.monotonic() < ends_at
                time.sleep(0.1)
        yield app


@pytest.fixture(scope="module")
def address(app: Process, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """nginx in front of it, with the shipped configuration."""
    if NGINX is None or shutil.which("openssl") is None:
        pytest.skip("needs nginx and openssl")
    folder, port = tmp_path_factory.mktemp("nginx"), free_port()
    _certificate(folder)
    shipped = (DEPLOY / "nginx.conf").read_text("utf-8")
    site = shipped.replace("127.0.0.1:8000;", f"127.0.0.1:{app.port};").replace(
        "listen 443", f"listen 127.0.0.1:{port}"
    )
    site = site.replace("telltale.example.org", "localhost").replace("/etc/telltale/", f"{folder}/")
    paths = "".join(
        f"{name}_temp_path {folder}/{name};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "site.conf").write_text(site, "utf-8")
    (folder / "nginx.conf").write_text(
        f"daemon off; pid {folder}/pid; error_log {folder}/error.log;\n"
        f"events {{}}\nhttp {{ access_log off; {paths} include {folder}/site.conf; }}\n"
    )
    command = [NGINX, "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")]
    nginx = subprocess.Popen(command)
    try:
        with httpx2.Client(verify=_trusting(folder)) as http:
            ends_at = time.monotonic() + 30
            while not _answers(http, f"https://localhost:{port}/healthz"):
                assert nginx.poll() is None, (folder / "error.log").read_text()
                assert time.monotonic() < ends_at
                time.sleep(0.1)
        yield f"https://localhost:{port}"
    finally:
        nginx.terminate()
        nginx.wait(timeout=10)


@pytest.fixture
def trusting(address: str, tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:  # noqa: ARG001 - makes the folder
    return _trusting(max(tmp_path_factory.getbasetemp().glob("nginx*")))


@pytest.fixture
def http(address: str, trusting: ssl.SSLContext) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=address, verify=trusting, timeout=60) as http:
        yield http


def test_uploads_reports_and_events_pass_through_nginx(http: httpx2.Client, face_clip: Path) -> None:
    entry = http.post("/api/v1/scans", files={"file": face_clip.read_bytes()})
    assert entry.status_code == 202
    scan = f"/api/v1/scans/{entry.json()['id']}"
    with http.stream("GET", f"{scan}/events") as stream:
        events = [line for line in stream.iter_lines() if line.startswith("event: ")]
    assert events[-1] == "event: end"
    assert http.get(scan).json()["state"] == "done"
    assert http.get(f"{scan}/media", headers={"range": "bytes=0-3"}).status_code == 206
    assert http.get("/").status_code == 200


def test_nginx_adds_its_part_and_keeps_figures_to_the_operator(http: httpx2.Client) -> None:
    headers = http.get("/").headers
    assert headers["strict-transport-security"]
    assert "default-src 'none'" in headers["content-security-policy"]
    assert http.get("/metrics").status_code == 404


def test_the_page_may_upload_from_its_own_origin_and_no_other(http: httpx2.Client, address: str) -> None:
    own = http.post("/api/v1/scans", files={"file": b"x"}, headers={"origin": address})
    assert own.status_code == 202
    other = http.post("/api/v1/scans", files={"file": b"x"}, headers={"origin": "https://evil.example"})
    assert other.json()["code"] == "foreign_origin"


def test_the_proxy_is_believed_about_scheme_and_host(http: httpx2.Client, address: str) -> None:
    examples = http.get("/docs").text.split("<pre>")[1].split("</pre>")[0]
    assert f"{address}/api/v1/scans" in examples


def test_an_early_refusal_passes_through_nginx(http: httpx2.Client) -> None:
    answer = http.post("/api/v1/scans", content=b"x" * 3_000_000, headers={"content-type": "text/plain"})
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")


def test_slow_senders_of_one_address_lock_nobody_out_behind_nginx(
    http: httpx2.Client, trusting: ssl.SSLContext
) -> None:
    head = (
        b"POST /api/v1/scans HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n"
        b"content-type: multipart/form-data; boundary=x\r\n\r\n-"
    )
    assert http.base_url.port is not None
    with contextlib.ExitStack() as stack:
        for _ in range(100):
            plain = stack.enter_context(socket.create_connection(("127.0.0.1", http.base_url.port)))
            stack.enter_context(trusting.wrap_socket(plain, server_hostname="localhost")).sendall(head)
        assert http.get("/healthz").status_code == 200


def test_the_image_runs_without_root() -> None:
    lines = (DEPLOY / "Dockerfile").read_text("utf-8").splitlines()
    user = [line for line in lines if line.startswith("USER ")]
    assert user == ["USER telltale"]
    assert lines.index(user[0]) < next(i for i, line in enumerate(lines) if line.startswith("ENTRYPOINT"))


def test_the_image_asks_for_keys_whatever_options_are_given() -> None:
    dockerfile = (DEPLOY / "Dockerfile").read_text("utf-8")
    (always,) = re.findall(r"^ENTRYPOINT (.*)$", dockerfile, re.MULTILINE)
    assert "--require-key" in json.loads(always)


CONFINING = {"landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self", "seccomp"}
"""What the worker calls to confine itself."""


def test_the_unit_lets_the_decoder_be_confined() -> None:
    assert _let_through() >= CONFINING


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_under_the_filter_of_the_unit_a_worker_is_confined_as_without() -> None:
    """What is not let through ends with EPERM, as in the unit."""
    inside, outside = (_confined(calls) for calls in (_expanded(_let_through()), set()))
    assert inside == outside


def _confined(calls: set[str]) -> object:
    program = [sys.executable, str(Path(__file__).parents[1] / "confined_in_unit.py")]
    told = subprocess.run(
        program, input="\n".join(calls), capture_output=True, text=True, check=True, env=environment()
    )
    return json.loads(told.stdout)


def _let_through() -> set[str]:
    (line,) = re.findall(r"^SystemCallFilter=(.*)$", (DEPLOY / "telltale.service").read_text("utf-8"), re.MULTILINE)
    return set(line.split())


def _expanded(names: set[str]) -> set[str]:
    """The calls behind the names of groups, as the systemd of this machine has them."""
    calls: set[str] = set()
    for name in names:
        if not name.startswith("@"):
            calls.add(name)
            continue
        command = ["systemd-analyze", "syscall-filter", name]
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        members = {line.strip() for line in told.splitlines()[1:]} - {""}
        calls |= _expanded({member for member in members if not member.startswith("#")})
    return calls


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_the_unit_is_one_that_systemd_takes(tmp_path: Path) -> None:
    unit = (DEPLOY / "telltale.service").read_text("utf-8")
    program = tmp_path / "telltale"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    file = tmp_path / "telltale.service"
    file.write_text(unit.replace("/opt/telltale/bin/telltale", str(program)), "utf-8")
    done = subprocess.run(["systemd-analyze", "verify", str(file)], capture_output=True, text=True, check=False)
    told = [line for line in done.stderr.splitlines() if "telltale.service" in line]
    assert told == []


def test_what_is_started_is_what_the_command_line_offers() -> None:
    from typer.testing import CliRunner

    from telltale.cli import app

    unit = (DEPLOY / "telltale.service").read_text("utf-8")
    dockerfile = (DEPLOY / "Dockerfile").read_text("utf-8")
    page = (DEPLOY.parent / "docs" / "deploy.md").read_text("utf-8")
    started = [
        *re.findall(r"^ExecStart=\S+ serve (.*)$", unit, re.MULTILINE),
        *re.findall(r"^(?:ENTRYPOINT|CMD) (\[.*)$", dockerfile, re.MULTILINE),
        *re.findall(r"^ +telltale (--.*)$", page, re.MULTILINE),
        *re.findall(r"telltale serve (--.*)$", page, re.MULTILINE),
    ]
    assert len(started) > 6
    help_text = CliRunner().invoke(app, ["serve", "--help"]).output
    for option in re.findall(r"--[a-z-]+", " ".join(started)):
        assert option in help_text


def _answers(http: httpx2.Client, url: str) -> bool:
    try:
        return http.get(url).status_code == 200
    except httpx2.TransportError:
        return False


def _certificate(folder: Path) -> None:
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"),
            *("-keyout", str(folder / "privkey.pem"), "-out", str(folder / "fullchain.pem")),
        ],
        check=True,
        capture_output=True,
    )


def _trusting(folder: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(folder / "fullchain.pem"))
