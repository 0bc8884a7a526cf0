"""The OpenAPI document: what the framework makes of the routes, with our errors and our upload form in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fastapi import FastAPI

from telltale.web.routes.uploads import UPLOAD_PATH
from telltale.web.schema import FILE_FIELD, Problem, ScanOptions


def describe(app: FastAPI, *, model_names: Sequence[str]) -> None:
    """Have `app.openapi()` say what the routes do not say by themselves."""
    make = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = make()
            _put_problems(document)
            form = {"multipart/form-data": {"schema": _form_schema(model_names)}}
            document["paths"][UPLOAD_PATH]["post"]["requestBody"] = {"required": True, "content": form}
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _put_problems(document: dict[str, Any]) -> None:
    """Our problem in the place of the framework's own error schema."""
    schemas: dict[str, Any] = document.setdefault("components", {}).setdefault("schemas", {})
    schemas["Problem"] = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    for operation in _operations(document):
        answer = operation["responses"].get("422", {}).get("content", {})
        if "application/json" in answer:
            del operation["responses"]["422"]


def _operations(document: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for methods in document["paths"].values():
        yield from methods.values()


def _form_schema(model_names: Sequence[str]) -> dict[str, Any]:
    """The upload form: the file, the model, and the settings. The route reads the body itself, as it comes."""
    properties: dict[str, Any] = {
        FILE_FIELD: {"type": "string", "format": "binary", "description": "A video or picture."},
        "model": {"type": "string", "enum": list(model_names), "description": "Which model; the first is the default."},
    }
    for name, field in ScanOptions.model_json_schema()["properties"].items():
        (kind,) = [one for one in field["anyOf"] if one.get("type") != "null"]
        properties[name] = kind | {"description": field["description"]}
    return {
        "type": "object",
        "required": [FILE_FIELD],
        "properties": properties,
        "additionalProperties": False,
    }


__all__ = ["describe"]
