"""What the report's page shows beside the verdict: how firm it is, where the file comes from, what lies beside.

    evidence = build_evidence(report, scale=ZoneScale(report.verdict.thresholds))
    evidence.stability.told, evidence.credentials.word

Every string that may come from a file passes `visible`.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

from telltale._report_chart import ZoneScale
from telltale._report_words import LABELS
from telltale._text import bit_rate, clock, file_size, percent, visible
from telltale.types import (
    Attachment,
    Code,
    ContainerInfo,
    Credentials,
    Label,
    Provenance,
    Report,
    Stability,
    StabilityRow,
    StreamInfo,
)

Pairs = list[tuple[str, str]]
_STATUS = {
    "absent": "none",
    "valid": "signed, unchanged since",
    "invalid": "signed, but changed or damaged",
    "unreadable": "cannot be read",
    "not_checked": "not checked",
}
UNLIKE = "unlike the faces that the model learned from"
ABSENT_IS_NOTHING = (
    "Missing credentials prove nothing, and present ones do not prove honesty. Neither changes the score."
)


@dataclass(frozen=True, slots=True)
class Treated:
    told: str
    label: Label
    word: str
    problem: str
    """Why there is no verdict, or none of "fake" in spite of the score; mostly empty."""
    score: str
    x: str
    """Where the score lies on the scale of zones; empty without one."""
    size: str
    is_baseline: bool


@dataclass(frozen=True, slots=True)
class Firmness:
    told: str
    stretch: str
    rows: list[Treated]


@dataclass(frozen=True, slots=True)
class Beside:
    """A file in the report's folder."""

    href: str
    name: str
    told: str
    facts: str
    kind: str


@dataclass(frozen=True, slots=True)
class Origin:
    word: str
    is_trouble: bool
    told: str
    remark: str
    facts: Pairs
    container: list[tuple[str, Pairs]]
    """What the file says about itself, group by group."""


@dataclass(frozen=True, slots=True)
class Evidence:
    stability: Firmness | None
    origin: Origin | None
    attachments: list[Beside]


def build_evidence(report: Report, *, scale: ZoneScale) -> Evidence:
    """The values of these sections for one report."""
    return Evidence(
        stability=None if report.stability is None else _firmness(report.stability, scale),
        origin=None if report.provenance is None else _origin(report.provenance),
        attachments=[_beside(one) for one in report.attachments],
    )


def _firmness(stability: Stability, scale: ZoneScale) -> Firmness:
    span = stability.stretch_s
    return Firmness(
        told=visible(stability.told),
        stretch="" if span is None else f"The seconds from {clock(span[0])} to {clock(span[1])} were treated.",
        rows=[_treated(stability.baseline, scale, True), *(_treated(row, scale, False) for row in stability.rows)],
    )


def _treated(row: StabilityRow, scale: ZoneScale, is_baseline: bool) -> Treated:
    return Treated(
        told=visible(row.told),
        label=row.label,
        word=LABELS[row.label].name,
        problem=visible(row.error or "") or (UNLIKE if Code.OUT_OF_DOMAIN in row.codes else ""),
        score="" if row.p_fake is None else percent(row.p_fake),
        x="" if row.p_fake is None else f"{100 * scale.fraction(row.p_fake):.2f}%",
        size=file_size(row.size_bytes) if row.size_bytes else "",
        is_baseline=is_baseline,
    )


def _beside(one: Attachment) -> Beside:
    facts = f"{one.width_px} × {one.height_px} pixels, {file_size(one.size_bytes)}"
    return Beside(quote(one.name), visible(one.name), visible(one.told), facts, one.kind)


def _origin(provenance: Provenance) -> Origin:
    found = provenance.credentials
    return Origin(
        word=_STATUS[found.status],
        is_trouble=found.status in ("invalid", "unreadable"),
        told=visible(found.told),
        remark=ABSENT_IS_NOTHING,
        facts=_credential_facts(found),
        container=[] if provenance.container is None else _container(provenance.container),
    )


def _credential_facts(found: Credentials) -> Pairs:
    facts = [
        ("Title, as claimed", found.title),
        ("Made with, as claimed", found.generator),
        ("Signer, as stated in its certificate", found.issuer),
        ("Name in the certificate", found.signer),
        ("Signed at", found.signed_at),
        ("Actions claimed", ", ".join(found.actions)),
        ("Kinds of source claimed", ", ".join(found.source_types)),
        ("Made from, as claimed", ", ".join(found.ingredients)),
        ("Checks that failed", ", ".join(found.problems)),
        ("Said to lie at (never fetched)", found.remote_url),
    ]
    return [(name, visible(value)) for name, value in facts if value]


def _container(found: ContainerInfo) -> list[tuple[str, Pairs]]:
    about: Pairs = [("Format", visible(found.format))]
    if found.bit_rate:
        about.append(("Bit rate", bit_rate(found.bit_rate)))
    if found.bits_per_pixel is not None:
        about.append(("Bits a pixel and frame", f"{found.bits_per_pixel:.4f}"))
    if found.key_frame_every_s is not None:
        about.append(("A key frame every", f"{found.key_frame_every_s:.2f} s"))
    about += [(visible(key), visible(value)) for key, value in found.metadata.items()]
    groups = [("The container", about)]
    groups += [(f"Stream {i}: {visible(one.kind)}", _stream(one)) for i, one in enumerate(found.streams)]
    return groups


def _stream(one: StreamInfo) -> Pairs:
    size = f"{one.width_px} × {one.height_px} pixels" if one.width_px and one.height_px else ""
    facts = [
        ("Codec", " ".join(part for part in (one.codec, one.profile, one.pixel_format) if part)),
        ("Picture", size),
        ("Frame rate", f"{one.fps:g} per second" if one.fps else ""),
        ("Bit rate", bit_rate(one.bit_rate) if one.bit_rate else ""),
        ("Sampling rate", f"{one.sample_rate_hz:,} Hz" if one.sample_rate_hz else ""),
        ("Channels", str(one.n_channels) if one.n_channels else ""),
        *one.metadata.items(),
    ]
    return [(visible(key), visible(value)) for key, value in facts if value]
