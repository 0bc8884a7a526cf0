"""A model's card on the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rich.console import Console
from rich.table import Table
from rich.text import Text

from telltale._text import percent, visible
from telltale.bundle import Bundle, ModelCard


def print_card(bundle: Bundle) -> None:
    console, card = Console(), bundle.card
    console.print(Text(card.name, style="bold"), Text(visible(card.description)))
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for key, value in _rows(bundle, card):
        table.add_row(Text(key), Text(visible(value)))
    console.print(table)


def _rows(bundle: Bundle, card: ModelCard) -> Iterator[tuple[str, str]]:
    yield "folder", str(bundle.path)
    yield "SHA-256", bundle.sha256
    yield "looks at", f"{card.n_frames} face crop(s) of {card.size_px} px, margin {card.crop.margin_frac:g}"
    yield "samples", f"{card.sample.kind} {card.sample.value:g}"
    yield "detector", f"{card.detector.name}, confidence from {card.detector.min_confidence:g}"
    limits = card.thresholds
    yield (
        "says fake from",
        f"{percent(limits.fake_above)} (reached by at most {limits.false_positive_rate:.1%} of real faces)",
    )
    yield "says real below", f"{percent(limits.real_below)} (at most {limits.miss_rate:.1%} of fakes lie there)"
    if limits.population:
        yield "measured on", limits.population
    for source in card.training:
        yield "trained on", f"{source.name}: {source.n_real:,} real, {source.n_fake:,} fake. {source.terms}"
    yield from _flat(card.metrics)
    if card.licence:
        yield "licence", card.licence
    for limit in card.limits:
        yield "limit", limit


def _flat(values: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _flat(value, prefix=f"{name} / ")
        elif isinstance(value, float):
            yield name, f"{value:.4g}"
        else:
            yield name, str(value)


__all__ = ["print_card"]
