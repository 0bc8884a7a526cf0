"""Figures with their intervals as a table on the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from telltale._card_words import about
from telltale._text import plural, visible
from telltale.evaluate import ROUGH_BELOW, leak_words, mean_of, or_dash
from telltale.metrics import HIGHER_IS_BETTER

if TYPE_CHECKING:
    from telltale.evaluate import Evaluation, Measures, Robustness
    from telltale.evaluate.comparison import Comparison

_WORDS: Mapping[str, str] = {
    "auc": "AUC",
    "ap": "average precision",
    "eer": "equal error rate",
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "log_loss": "log loss",
    "brier": "Brier",
    "ece": "calibration error",
    "ece_by_chance": "… by chance alone",
    "tpr_at_1pct_fpr": "found at 1 % false alarms",
    "tpr_at_5pct_fpr": "found at 5 % false alarms",
}
_NO_ANSWER = {"no_face": "without an answer"}


def print_evaluation(said: Evaluation) -> None:
    console = Console()
    console.print(Text(visible(f"{said.model.name} on {_what(said)}"), style="bold"))
    shown = "clips" if said.model.card is not None and said.model.card.n_frames > 1 else "faces"
    console.print(_table([(shown, said.frame), ("videos", said.video)]))
    for level, measures in (("videos", said.video), (shown, said.frame)):
        if measures.n and (level == "videos" or said.video.n == 0):
            (tn, fp), (fn, tp) = measures.confusion
            console.print(
                f"At .5, {level}: of {tn + fp:,} real, {fp:,} called fake; of {fn + tp:,} fake, {fn:,} called real"
            )
            console.print(_report(measures))
    console.print(_verdicts(said))
    if said.abstained:
        why = ", ".join(f"{n:,} {code}" for code, n in said.abstentions.items())
        console.print(f"{plural(said.abstained, 'video')} without an answer, in no figure: {why}")
    if len(said.methods) > 1:
        console.print(_methods(said))
    if said.robustness is not None:
        console.print(_grid(said.robustness))
    elif said.perturbed:
        console.print(_many("degraded", [("as it is", said.video), *((p.name, p.video) for p in said.perturbed)]))
    if said.leaked_groups:
        console.print(_leak(said))
    for warning in said.warnings:
        console.print(Text(visible(warning), style="yellow"))


def _what(said: Evaluation) -> str:
    """Of what it is."""
    of = f" of {said.split}" if said.split != "all" else ""
    return f"side {said.side}{of}" + (", balanced" if said.settings.get("balanced") else "")


def _verdicts(said: Evaluation) -> str:
    """What a scan would say, the share of each class that it would get wrong, and the shares that the card states."""
    told = []
    for name, wrong in (("real", "fake"), ("fake", "real")):
        called = dict.fromkeys(("fake", "uncertain", "real"), 0) | said.verdicts.get(name, {})
        if n := sum(called.values()):
            share = {wrong: f" ({called[wrong] / n:.1%})"}
            counts = (
                f"{k:,} {_NO_ANSWER.get(verdict, verdict)}{share.get(verdict, '')}" for verdict, k in called.items()
            )
            told.append(f"of {n:,} {name}, {', '.join(counts)}")
    card = said.model.card
    if card is None or not card.population:
        lines = "the card's lines were not measured"
    else:
        reals, fakes = about(card.false_positive_rate, "real faces"), about(card.miss_rate, "fakes")
        lines = f"the card's lines: {reals} called fake, {fakes} called real"
    return f"As a scan calls them: {'; '.join(told)}. For comparison, {lines}"


def _leak(said: Evaluation, *, of: str = "") -> Text:
    return Text(visible(leak_words(said.leaked_groups, of=of)), "bold red")


def print_comparison(found: Comparison) -> None:
    console = Console()
    console.print(Text(visible(f"On {_what(found.evaluations[0])}"), style="bold"))
    console.print(_many("model", [(n, said.video) for n, said in zip(found.names, found.evaluations, strict=True)]))
    for grid in found.robustness:
        mean = or_dash(grid.mean, "+.3f")
        console.print(Text(visible(f"Degraded: mean AUC of {grid.second} less that of {grid.first}: {mean}")))
    for pair in found.differences:
        table = Table(box=None, title_justify="left")
        table.add_column(Text(visible(f"{pair.second} less {pair.first}")))
        for column in ("difference", "95 % interval", ""):
            table.add_column(column, justify="right")
        for name, difference in pair.video.items():
            low, high = difference.ci95
            better = (difference.value > 0) == HIGHER_IS_BETTER[name]
            verdict = "" if not difference.clear else "better" if better else "worse"
            table.add_row(_WORDS[name], f"{difference.value:+.3f}", f"{low:+.3f} to {high:+.3f}", verdict)
        console.print(table)
        told = f"{plural(pair.n_videos, 'video')} that both judged"
        if (n := pair.n_rarer_groups) < ROUGH_BELOW:
            whose = "" if n == pair.n_groups else " of the rarer class"
            told += f", of {plural(n, 'group')}{whose}: too few to call a difference clear ({ROUGH_BELOW} at least)"
        console.print(Text(told, style="dim"))
    for name, said in zip(found.names, found.evaluations, strict=True):
        if said.leaked_groups:
            console.print(_leak(said, of=f" ({name})"))
    for warning in dict.fromkeys(warning for said in found.evaluations for warning in said.warnings):
        console.print(Text(visible(warning), style="yellow"))


def _table(sets: Sequence[tuple[str, Measures]]) -> Table:
    table = Table(box=None)
    table.add_column("")
    for name, measures in sets:
        table.add_column(Text(visible(f"{name} (n = {measures.n:,})")), justify="right")
    for figure, word in _WORDS.items():
        table.add_row(word, *(_cell(measures, figure) for _, measures in sets))
    return table


def _grid(found: Robustness) -> Table:
    """AUC by level, and the false alarms that an undegraded bar of 5 % gives."""
    table = Table("AUC, degraded", *map(str, found.levels), "mean", "false alarms", box=None)
    for column in table.columns[1:]:
        column.justify = "right"
    for kind, row, fpr in zip(found.kinds, found.auc, found.fpr, strict=True):
        cells = (or_dash(value) for value in (*row, found.kind_means[kind]))
        table.add_row(kind.replace("_", " "), *cells, or_dash(mean_of(fpr), ".0%"))
    means = or_dash(found.grand_mean), or_dash(found.fpr_mean, ".0%")
    table.add_row("mean of kinds", *("" for _ in found.levels), *means)
    return table


def _many(what: str, sets: Sequence[tuple[str, Measures]]) -> Table:
    """A row a set, a few figures: fits a terminal however many there are."""
    table = Table(what, "videos", "AUC", "accuracy", "log loss", "calibration error", box=None)
    table.columns[0].overflow = "fold"
    for column in table.columns[1:]:
        column.justify = "right"
    for name, measures in sets:
        plain = [or_dash(value) for value in (measures.accuracy, measures.log_loss)]
        chance = "" if measures.ece_by_chance is None else f" (by chance {measures.ece_by_chance:.3f})"
        plain.append(or_dash(measures.ece) + chance)
        table.add_row(Text(visible(name)), f"{measures.n:,}", _cell(measures, "auc"), *plain)
    return table


def _cell(measures: Measures, figure: str) -> str:
    value = getattr(measures, figure)
    if value is None:
        return "–"
    bounds = measures.ci95.get(figure)
    return f"{value:.3f}" + (f" ({bounds[0]:.3f} to {bounds[1]:.3f})" if bounds else "")


def _report(measures: Measures) -> Table:
    table = Table("", *("precision", "recall", "F1", "support"), box=None)
    for column in table.columns[1:]:
        column.justify = "right"
    for name, row in measures.report.items():
        table.add_row(name, *(f"{row[key]:.3f}" for key in ("precision", "recall", "f1")), f"{row['support']:,.0f}")
    return table


def _methods(said: Evaluation) -> Table:
    table = Table("data set", "method", "fakes", "AUC", "found at .5", box=None)
    for column in table.columns[:2]:
        column.overflow = "fold"
    for column in table.columns[2:]:
        column.justify = "right"
    for m in said.methods:
        plain = f"{m.n_fake:,}", or_dash(m.auc), or_dash(m.found, ".1%")
        table.add_row(Text(visible(m.dataset)), Text(visible(m.method)), *plain)
    return table
