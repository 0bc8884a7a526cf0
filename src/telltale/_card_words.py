"""A model's card in words: what it looks at, from where it says what, what it learned from.

    facts = card_facts(summarise_card(bundle.card))

One wording for the report and the served page.
"""

from __future__ import annotations

from telltale._text import percent, plural, visible
from telltale.bundle import ModelCard
from telltale.types import CardSummary

NOT_MEASURED = "not measured"
"""Of a threshold that no face was counted for."""


def about(rate: float, of: str) -> str:
    """A share that was seen in a sample, which bounds nothing beyond it.

    >>> about(0.05, "fakes")
    'about 5% of the fakes it was measured on'
    """
    return f"about {100 * rate:g}% of the {of} it was measured on"


def summarise_card(card: ModelCard) -> CardSummary:
    """The part of a card that goes into every report."""
    limits = card.thresholds
    return CardSummary(
        description=card.description,
        n_frames=card.n_frames,
        is_whole_frame=card.crop.kind == "centre_square",
        size_px=card.size_px,
        min_face_px=card.minimum.face_px,
        min_faces=card.minimum.n_faces,
        fake_above=limits.fake_above,
        real_below=limits.real_below,
        false_positive_rate=limits.false_positive_rate,
        miss_rate=limits.miss_rate,
        population=limits.population if limits.is_measured else "",
        training=tuple(
            f"{source.name}: {source.n_real:,} real, {source.n_fake:,} fake. {source.terms}".strip()
            for source in card.training
        ),
        licence=card.licence,
        limits=card.limits,
    )


def card_facts(card: CardSummary) -> list[tuple[str, str]]:
    """What a reader wants to know first; ready to be shown."""
    one, several = ("middle of a frame", "frames' middles") if card.is_whole_frame else ("face", "faces")
    what = f"one {one} at a time" if card.n_frames == 1 else f"{card.n_frames} {several} in a row"
    judges = f"faces of at least {card.min_face_px:.0f} pixels, in a video found in at least"
    if card.is_whole_frame:
        judges = "whatever is there: no face is looked for; of a video at least"
    reached = missed = f" ({NOT_MEASURED})"
    if card.population:
        reached = f", which {about(card.false_positive_rate, 'real faces')} reach"
        missed = f", under which {about(card.miss_rate, 'fakes')} lie"
    facts = [
        ("Looks at", f"{what}, cut to {card.size_px} × {card.size_px} pixels"),
        ("Judges", f"{judges} {plural(card.min_faces, 'frame')}"),
        ("Says fake from", f"{percent(card.fake_above)}{reached}"),
        ("Says real below", f"{percent(card.real_below)}{missed}"),
    ]
    if card.population:
        facts.append(("Measured on", card.population))
    facts += [("Trained on", source) for source in card.training]
    if card.licence:
        facts.append(("Licence", card.licence))
    return [(key, visible(value)) for key, value in facts]
