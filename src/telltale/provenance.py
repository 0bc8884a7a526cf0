"""Where a file comes from, by its own account: Content Credentials (C2PA), and what its container says.

    provenance = read_provenance("clip.mp4", worker)
    provenance.credentials.status       # absent, valid, invalid, unreadable or not_checked

Nothing here alters a score. Most genuine files carry no credentials, and anyone can strip them or write any metadata,
so absence proves nothing. Everything is read in the worker process; credentials are checked by c2pa-python with every
network access switched off. A file without the bytes that all credentials begin with is not even handed to it.
"""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Iterator
from contextlib import closing
from typing import Any

from telltale._source import Source
from telltale._text import MAX_ENTRIES, encodable, short
from telltale._wire import Message
from telltale.errors import DeadlineExceeded, InputError, WorkerError
from telltale.sandbox import Worker
from telltale.types import Credentials, Provenance

_MARK = b"c2pa"
"""The label of every C2PA manifest store, embedded uncompressed (C2PA specification 2, 11.1)."""
_REMOTE_NAME = b"dcterms:provenance"
_REMOTE = re.compile(rb"dcterms:provenance\s*=\s*[\"'](https?:[^\"'<>]{1,1000})[\"']", re.IGNORECASE)
_BLOCK_BYTES, _OVERLAP_BYTES = 8 << 20, 2048
_SETTINGS = {"verify": {"remote_manifest_fetch": False, "ocsp_fetch": False, "verify_trust": False}}
_MEDIA_TYPES = {
    "an MP4 video": "video/mp4",
    "an AVI video": "video/avi",
    "a JPEG picture": "image/jpeg",
    "a PNG picture": "image/png",
    "a WebP picture": "image/webp",
    "a GIF picture": "image/gif",
    "an AVIF picture": "image/avif",
}
_DEADLINE_S = 120.0
_ABSENT = (
    "The file carries no Content Credentials. Most files do not, and platforms remove them; nothing follows from it."
)
_INSTALL = "pip install 'telltale[provenance]'"


def read_provenance(
    path: str | os.PathLike[str],
    worker: Worker,
    *,
    deadline_s: float = _DEADLINE_S,
    stop: threading.Event | None = None,
) -> Provenance:
    """What `path` says about where it comes from. Whatever goes wrong is in the answer; raises `Stopped` alone."""
    args = {"path": os.fspath(path)}
    try:
        with closing(worker.run("provenance", args, deadline_s=deadline_s, stop=stop)) as messages:
            (found,) = list(messages)  # leaving early would end the worker
        return Provenance.model_validate(dict(found.data))
    except DeadlineExceeded as error:  # says nothing about the file
        told = f"Content Credentials and metadata were not looked for to the end: {encodable(error.message)}"
        return Provenance(credentials=Credentials(status="not_checked", told=told))
    except (InputError, WorkerError) as error:
        reason = error.message
    except ValueError:
        reason = "the worker's answer makes no sense"
    told = f"Content Credentials and metadata could not be read: {encodable(reason)}"
    return Provenance(credentials=Credentials(status="unreadable", told=told))


def provenance_job(args: dict[str, Any]) -> Iterator[Message]:
    """The worker's side: one message. Raises `InputError`s by name."""
    from telltale._container_info import describe

    with Source(args["path"]) as source:
        credentials = _credentials(source, _MEDIA_TYPES.get(source.kind))
        found = Provenance(credentials=credentials, container=describe(source))
    yield Message("provenance", found.model_dump(mode="json"))


def _credentials(source: Source, media_type: str | None) -> Credentials:
    is_marked, remote_url = _look_for_marks(source)
    if not is_marked:
        if remote_url is None:
            return Credentials(status="absent", told=_ABSENT)
        told = "The file says that its Content Credentials lie on a server. Nothing is fetched, so they are unknown."
        return Credentials(status="not_checked", told=told, remote_url=remote_url)
    if media_type is None:
        told = "There are traces of Content Credentials, in a kind of file for which they are not read here."
        return Credentials(status="not_checked", told=told, remote_url=remote_url)
    try:
        import c2pa
    except ImportError:
        told = f"There are traces of Content Credentials, but what reads them is not installed: {_INSTALL}"
        return Credentials(status="not_checked", told=told, remote_url=remote_url)
    context = c2pa.Context(settings=c2pa.Settings.from_dict(_SETTINGS))
    try:
        with source.file() as file, c2pa.Reader(media_type, file, context=context) as reader:
            return _described(json.loads(reader.json()), str(reader.get_validation_state()), remote_url)
    except c2pa.C2paError.ManifestNotFound:
        return Credentials(status="absent", told=_ABSENT, remote_url=remote_url)
    except (c2pa.C2paError, ValueError, KeyError, TypeError, AttributeError) as error:
        told = f"There are Content Credentials, but they cannot be read ({short(error)})."
        return Credentials(status="unreadable", told=told, remote_url=remote_url)


def _look_for_marks(source: Source) -> tuple[bool, str | None]:
    """Whether there is a mark, and the address of credentials that lie elsewhere. Block by block: a mapped file of
    gigabytes would count as memory of the worker."""
    is_marked, remote, before = False, None, b""
    with source.file() as file:
        while (not is_marked or remote is None) and (block := file.read(_BLOCK_BYTES)):
            data = before + block
            is_marked = is_marked or _MARK in data
            if remote is None and _REMOTE_NAME in data.lower():  # many times as fast as the expression
                remote = _REMOTE.search(data)
            before = data[-_OVERLAP_BYTES:]
    return is_marked, short(remote[1].decode("utf-8", "replace")) if remote else None


def _described(store: dict[str, Any], state: str, remote_url: str | None) -> Credentials:
    manifest = store["manifests"][store["active_manifest"]]
    signature = manifest.get("signature_info") or {}
    problems = tuple(
        dict.fromkeys(short(entry.get("code", "")) for entry in (store.get("validation_status") or [])[:MAX_ENTRIES])
    )
    is_valid = state.lower() in ("valid", "trusted")
    actions = [
        action
        for assertion in manifest.get("assertions") or []
        if str(assertion.get("label", "")).startswith("c2pa.actions")
        for action in (assertion.get("data") or {}).get("actions") or []
    ][:MAX_ENTRIES]
    issuer = _optional(signature.get("issuer"))
    generator = manifest.get("claim_generator") or next(
        (info.get("name") for info in manifest.get("claim_generator_info") or []), None
    )
    return Credentials(
        status="valid" if is_valid else "invalid",
        told=_told(is_valid, issuer),
        title=_optional(manifest.get("title")),
        generator=_optional(generator),
        issuer=issuer,
        signer=_optional(signature.get("common_name")),
        signed_at=_optional(signature.get("time")),
        actions=tuple(short(action.get("action", "")) for action in actions),
        source_types=tuple(
            dict.fromkeys(
                short(str(action["digitalSourceType"]).rsplit("/", 1)[-1])
                for action in actions
                if action.get("digitalSourceType")
            )
        ),
        ingredients=tuple(
            short(ingredient.get("title") or ingredient.get("instance_id") or "unnamed")
            for ingredient in (manifest.get("ingredients") or [])[:MAX_ENTRIES]
        ),
        problems=problems,
        remote_url=remote_url,
    )


def _told(is_valid: bool, issuer: str | None) -> str:
    by = f"signed by “{issuer}”, as the signer calls itself" if issuer else "signed"
    if is_valid:
        return (
            f"The file carries Content Credentials, {by}, and has not been changed since. Whether that signer deserves "
            "trust was not checked: anyone can make a certificate."
        )
    return (
        f"The file carries Content Credentials, {by}, but they do not fit it: the file was changed after it was "
        "signed, or the credentials are damaged."
    )


def _optional(value: object) -> str | None:
    return short(value) if value else None


__all__ = ["provenance_job", "read_provenance"]
