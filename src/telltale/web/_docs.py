"""The OpenAPI document as plain values for a page that needs no script and no CDN."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Parameter:
    name: str
    place: str
    """query, path or form"""
    kind: str
    is_required: bool
    text: str


@dataclass(frozen=True, slots=True)
class Operation:
    method: str
    path: str
    anchor: str
    title: str
    text: str
    parameters: list[Parameter]
    answers: list[tuple[str, str, str]]
    """(status, description, what it looks like)"""


def operations(document: Mapping[str, Any]) -> dict[str, list[Operation]]:
    """Tag -> its operations, in the document's order."""
    groups: dict[str, list[Operation]] = {}
    for path, methods in document["paths"].items():
        for method, one in methods.items():
            groups.setdefault(one.get("tags", ["other"])[0], []).append(_operation(path, method, one))
    return groups


def _operation(path: str, method: str, one: Mapping[str, Any]) -> Operation:
    parameters = [
        Parameter(
            name=parameter["name"],
            place=parameter["in"],
            kind=_kind(parameter.get("schema", {})),
            is_required=parameter.get("required", False),
            text=parameter.get("description", ""),
        )
        for parameter in one.get("parameters", [])
    ]
    for content in one.get("requestBody", {}).get("content", {}).values():
        form = content["schema"]
        parameters += [
            Parameter(name, "form", _kind(field), name in form.get("required", []), field.get("description", ""))
            for name, field in form.get("properties", {}).items()
        ]
    answers = [
        (status, answer.get("description", ""), ", ".join(_shown(answer)))
        for status, answer in sorted(one.get("responses", {}).items())
    ]
    return Operation(
        method=method.upper(),
        path=path,
        anchor=one["operationId"],
        title=one.get("summary", ""),
        text=one.get("description", ""),
        parameters=parameters,
        answers=answers,
    )


def _shown(answer: Mapping[str, Any]) -> list[str]:
    return [
        f"{kind} ({name})" if (name := _kind(content.get("schema", {}))) else kind
        for kind, content in answer.get("content", {}).items()
    ]


def _kind(schema: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        return str(schema["$ref"]).rsplit("/", 1)[-1]
    if "anyOf" in schema:
        return " or ".join(kind for one in schema["anyOf"] if (kind := _kind(one)) and kind != "null")
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    if schema.get("format") == "binary":
        return "file"
    if schema.get("type") == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    return str(schema.get("type", ""))
