"""The OpenAPI document is what the server does: schemathesis sends what it allows, and what it does not."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from telltale.errors import UsageError
from telltale.web._docs import operations
from telltale.web.app import create_app
from telltale.web.settings import ServeSettings
from web_load import run_schemathesis
from web_server import Running, running


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, redness: Path) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("openapi") / "data", redness) as server:
        yield server


@pytest.mark.skipif(importlib.util.find_spec("schemathesis") is None, reason="needs schemathesis")
def test_the_server_does_what_its_document_says(server: Running, tmp_path: Path) -> None:
    done = run_schemathesis(server.url, tmp_path, "--phases", "fuzzing", "--max-examples", "3", "--seed", "1")
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]


def test_every_route_of_the_issue_is_there(server: Running) -> None:
    document = httpx2.get(f"{server.url}/openapi.json").json()
    routes = {f"{method.upper()} {path}" for path, methods in document["paths"].items() for method in methods}
    assert {
        "POST /api/v1/scans",
        "GET /api/v1/scans",
        "GET /api/v1/scans/{scan_id}",
        "DELETE /api/v1/scans/{scan_id}",
        "GET /api/v1/scans/{scan_id}/events",
        "GET /api/v1/scans/{scan_id}/report.html",
        "GET /api/v1/scans/{scan_id}/annotated.mp4",
        "GET /api/v1/models",
        "GET /healthz",
        "GET /readyz",
        "GET /metrics",
    } <= routes


def test_an_operation_is_called_as_its_route(server: Running) -> None:
    document = httpx2.get(f"{server.url}/openapi.json").json()
    ids = [operation["operationId"] for methods in document["paths"].values() for operation in methods.values()]
    assert len(ids) == len(set(ids))
    assert {"create_scan", "list_scans", "get_scan", "delete_scan", "scan_events", "models"} <= set(ids)


def test_below_a_path_of_another_application_it_says_that_it_wants_a_name(tmp_path: Path, redness: Path) -> None:
    inner = create_app(ServeSettings(data=tmp_path / "data", models=(redness,), workers=1))
    outer = Starlette(routes=[Mount("/telltale", inner)])

    async def upload() -> None:
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(outer), base_url="http://host") as http:
            await http.post("/telltale/api/v1/scans", files={"file": bytes(100_000)})

    try:
        with pytest.raises(UsageError, match="at the root of a host name only"):
            asyncio.run(upload())
    finally:
        inner.state.service.close()


def test_every_error_is_documented_as_a_problem(server: Running) -> None:
    document = httpx2.get(f"{server.url}/openapi.json").json()
    for methods in document["paths"].values():
        for operation in methods.values():
            for status, answer in operation["responses"].items():
                if int(status) >= 400:
                    assert list(answer["content"]) == ["application/problem+json"], (operation["operationId"], status)
    assert "HTTPValidationError" not in document["components"]["schemas"]


def test_a_server_with_keys_documents_them(tmp_path: Path, redness: Path) -> None:
    app = create_app(ServeSettings(data=tmp_path / "data", models=(redness,), workers=1, require_key=True))
    try:
        document = app.openapi()
        for path, method in (("/api/v1/scans", "post"), ("/metrics", "get")):
            operation = document["paths"][path][method]
            assert operation["security"] == [{"HTTPBearer": []}], path
            assert "401" in operation["responses"], path
        assert "security" not in document["paths"]["/healthz"]["get"]
    finally:
        app.state.service.close()


def test_a_server_without_keys_documents_none(server: Running) -> None:
    document = httpx2.get(f"{server.url}/openapi.json").json()
    for path, methods in document["paths"].items():
        for operation in methods.values():
            assert "security" not in operation, path
            assert "401" not in operation["responses"], path


def test_the_page_about_the_api_shows_every_operation_and_field(server: Running) -> None:
    document = httpx2.get(f"{server.url}/openapi.json").json()
    shown = [one for group in operations(document).values() for one in group]
    assert len(shown) == sum(len(methods) for methods in document["paths"].values())
    (upload,) = [one for one in shown if one.method == "POST"]
    assert {"file", "model", "fps", "detector"} <= {parameter.name for parameter in upload.parameters}
    page = httpx2.get(f"{server.url}/docs").text
    assert all(one.path in page for one in shown)
    assert "<script" not in page
