"""Several models of the same faces as one: an ensemble in a single bundle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from telltale import models
from telltale.bundle import Bundle, ModelCard, load_bundle, write_card
from telltale.errors import UsageError
from telltale.models.transfer import Transfer, joined, trunks_of
from telltale.recipe import Member, Recipe
from telltale.train._faces import FaceTable
from telltale.train._finish import finish
from telltale.train._origin import added_up, origin_of
from telltale.train._parents import check_parents
from telltale.types import Side


def join(
    bundles: Sequence[Bundle],
    table: FaceTable,
    recipe: Recipe,
    *,
    shares: Sequence[float],
    out: Path,
    sides: tuple[Side, ...] = ("val",),
    with_weights: bool = True,
    pictures: Path | None = None,
    allow_leaks: bool = False,
) -> Bundle:
    """The bundle whose logit is the mean of theirs, each with its share, calibrated on the validation side of `table`.

    `recipe` says how validation is laid out and what the card says; the rest is as in `finish`. Raises UsageError where
    the models are not built alike or look at faces in different ways, LeakFound where one of them learned from faces
    that this one is judged on; with `allow_leaks` the card's limits count these.
    """
    cards = [bundle.card for bundle in bundles]
    if len(shares) != len(bundles) or not all(share > 0 for share in shares):
        raise UsageError(f"{len(bundles)} models want as many shares above 0, got {list(shares)}")
    looks = {(card.size_px, card.n_frames, card.crop, card.detector) for card in cards}
    if len(looks) > 1:
        raise UsageError("models that join look at faces of one size, cut and found in one way")
    if recipe.crop(cards[0].size_px) != cards[0].crop:
        raise UsageError(
            f"the models know faces cut as {cards[0].crop}: the recipe must cut them so, with its crop_* settings"
        )
    leaks = check_parents(cards, table, allow_leaks=allow_leaks)
    net = joined([_network(bundle) for bundle in bundles], shares)
    options = _model_of(cards[0])["options"] | {"trunks": len(trunks_of(net.backbone))}
    model = recipe.model.model_copy(update={"name": "transfer", "options": options})
    card = recipe.card.model_copy(update={"limits": (*recipe.card.limits, *leaks)})
    chosen = recipe.model_copy(update={"model": model, "card": card})
    origin = origin_of(table, chosen, run=out, detector=cards[0].detector, parents=cards)
    bundle = finish(
        net, table, chosen, size_px=cards[0].size_px, out=out, sides=sides, with_weights=with_weights,
        origin=replace(origin, resources=added_up([card.resources for card in cards])), pictures=pictures,
    )  # fmt: skip
    members = [
        {"sha256": one.sha256, "share": share / sum(shares), "recipe": one.card.recipe}
        for one, share in zip(bundles, shares, strict=True)
    ]
    said = {"model": chosen.model.model_dump(), "members": members, "prune_to": chosen.prune_to}
    write_card(out, bundle.card.model_copy(update={"recipe": said}))
    return load_bundle(out)


def check_members(members: Sequence[Member]) -> None:
    """Raises UsageError where these would not join, before they are trained."""
    others = sorted({member.recipe.model.name for member in members} - {"transfer"})
    if others:
        raise UsageError(f"members are of the model transfer, not {', '.join(others)}")
    sizes = sorted({member.recipe.stages[-1].size_px for member in members if not member.recipe.members})
    if len(sizes) > 1:
        raise UsageError(f"members end at one size_px, not at {' and '.join(map(str, sizes))}")


def _model_of(card: ModelCard) -> dict[str, Any]:
    return cast("dict[str, Any]", card.recipe.get("model") or {})


def _network(bundle: Bundle) -> Transfer:
    model = _model_of(bundle.card)
    if model.get("name") != "transfer":
        raise UsageError(f"model {bundle.card.name} is no `transfer`: only those join")
    net = models.create(
        "transfer",
        weights=models.Weights(str(bundle.path)),
        options=model["options"],
        size_px=bundle.card.size_px,
    )
    return cast(Transfer, net)
