"""A model's card on the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rich.console import Console
from rich.table import Table
from rich.text import Text

from telltale._card_words import NOT_MEASURED, about
from telltale._text import percent, visible
from telltale.aggregate import Thresholds
from telltale.bundle import Bundle, ModelCard
from telltale.metrics import NO_INTERVAL
from telltale.sampling import SamplePlan

_FIGURES = (
    ("auc", "AUC"),
    ("balanced_accuracy", "balanced accuracy"),
    ("tpr_at_1pct_fpr", "fakes found at 1% false alarms"),
    ("ece", "calibration error"),
)


def print_card(bundle: Bundle) -> None:
    console, card = Console(), bundle.card
    console.print(Text(visible(card.name), style="bold"), Text(visible(card.description)))
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for key, value in _rows(bundle, card):
        table.add_row(Text(key), Text(visible(value)))
    console.print(table)
    console.print(Text("Figures in brackets are 95% intervals. --json prints the whole card.", style="dim"))


def _rows(bundle: Bundle, card: ModelCard) -> Iterator[tuple[str, str]]:
    yield "folder", str(bundle.path)
    yield "SHA-256", bundle.sha256
    if card.crop.kind == "centre_square":
        yield "looks at", f"the middle of {card.n_frames} frame(s), at {card.size_px} px: no face is looked for"
    else:
        yield "looks at", f"{card.n_frames} face crop(s) of {card.size_px} px, margin {card.crop.margin_frac:g}"
        yield "detector", f"{card.detector.name}, confidence from {card.detector.min_confidence:g}"
    yield "samples", _sampled(card.sample)
    limits = card.thresholds
    yield "says fake from", f"{percent(limits.fake_above)} ({_reached(limits)})"
    missed = f"{about(limits.miss_rate, 'fakes')} lie there" if limits.n_fake else NOT_MEASURED
    yield "says real below", f"{percent(limits.real_below)} ({missed})"
    if card.gate is not None:
        yield "calls no fake", f"faces unlike those it knows ({card.gate.fitted_on})"
    if limits.population:
        yield "measured on", limits.population
    for source in card.training:
        yield "trained on", f"{source.name}: {source.n_real:,} real, {source.n_fake:,} fake. {source.terms}"
    yield from _figures(card.metrics)
    if card.licence:
        yield "licence", card.licence
    for limit in card.limits:
        yield "limit", limit


def _sampled(plan: SamplePlan) -> str:
    parts = [f"{plan.kind} {plan.value:g}" + (" (the beginning only)" if plan.kind == "first" else "")]
    if plan.max_frames is not None:
        parts.append(f"the first {plan.max_frames:,} of these only")
    if plan.seconds is not None:
        parts.append(f"the first {plan.seconds:g} s only")
    return ", ".join(parts)


def _reached(limits: Thresholds) -> str:
    """By how many real faces the line for fake is reached."""
    if not limits.n_real:
        return NOT_MEASURED
    if limits.is_counted:
        return f"reached by {about(limits.false_positive_rate, 'real faces')}"
    if limits.n_real * limits.false_positive_rate < 1:
        return f"none of the {limits.n_real:,} real faces it was measured on reached it: too few to count a rate"
    return f"reached by {about(limits.false_positive_rate, 'real faces')}: too few to count a rate"


def _figures(metrics: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """One line a side and source, with the figures people ask for first."""
    for side, sources in metrics.items():
        if not isinstance(sources, Mapping):
            continue
        for source, figures in sources.items():
            if isinstance(figures, Mapping):
                yield f"{side}, {source}", _sentence(figures)


def _sentence(figures: Mapping[str, object]) -> str:
    n, n_fake = figures.get("n"), figures.get("n_fake")
    if isinstance(n, int) and isinstance(n_fake, int):  # models on pixels say how many in all
        figures = {**figures, "n_real": n - n_fake}
    counts = [f"{figures[key]:,} {word}" for key, word in (("n_real", "real"), ("n_fake", "fake")) if figures.get(key)]
    ci95 = figures.get("ci95")
    parts = [", ".join(counts)]
    for key, name in _FIGURES:
        value = figures.get(key)
        if isinstance(value, int | float):
            span = ci95.get(key) if isinstance(ci95, Mapping) and key not in NO_INTERVAL else None
            by_chance = figures.get(f"{key}_by_chance")
            beside = f" ({span[0]:.3f} to {span[1]:.3f})" if span and None not in span else ""
            if isinstance(by_chance, int | float):
                beside = f", by chance alone {by_chance:.3f}"
            parts.append(f"{name} {value:.3f}{beside}")
    return "; ".join(part for part in parts if part)
