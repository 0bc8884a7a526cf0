"""What is minimised: cross-entropy with the labels and a teacher, and the shape of the embeddings.

>>> batch = {"target": torch.tensor([0.0, 1.0]), "weight": torch.tensor([0.5, 0.5])}
>>> label_loss(torch.zeros(2), batch, TeacherPart()).item()
0.6931...
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from telltale.recipe import Recipe, TeacherPart
from telltale.train._data import Batch


def label_loss(logit: Tensor, batch: Batch, teacher: TeacherPart) -> Tensor:
    """Binary cross-entropy of `logit` (N,) float32, each face weighted as the batch says; with `teacher` answers in it
    the teacher's part too.

    The teacher's gradient shrinks with the square of the temperature, which is made up for (Hinton et al., 2015).
    """
    loss = F.binary_cross_entropy_with_logits(logit, batch["target"], reduction="none")
    if "teacher" in batch:
        hot = teacher.temperature
        likeness = F.binary_cross_entropy_with_logits(
            logit / hot, torch.sigmoid(batch["teacher"] / hot), reduction="none"
        )
        loss = (1 - teacher.weight) * loss + teacher.weight * hot**2 * likeness
    return (loss * batch["weight"]).sum()


def embedding_loss(embedding: Tensor, label: Tensor, recipe: Recipe) -> Tensor:
    """Uniformity and alignment of unit vectors (N, D), weighted as the recipe says.

    Wang & Isola, "Understanding Contrastive Representation Learning through Alignment and Uniformity on the
    Hypersphere" (ICML 2020): ln of the mean of e^(-2 d^2) over all pairs, mean d^2 over the pairs of one class.
    """
    first, second = torch.triu_indices(len(embedding), len(embedding), offset=1, device=embedding.device)
    squared = (embedding[first] - embedding[second]).pow(2).sum(dim=1)
    total = torch.zeros((), device=embedding.device)
    if recipe.uniformity and len(squared):
        total = total + recipe.uniformity * (torch.logsumexp(-2 * squared, 0) - math.log(len(squared)))
    same = squared[label[first] == label[second]]
    if recipe.alignment and len(same):
        total = total + recipe.alignment * same.mean()
    return total


def place_loss(logit: Tensor, batch: Batch) -> Tensor:
    """Binary cross-entropy of the map `logit` (N, h, w) float32 with how much of each place was changed, the mean over
    places; each face weighted as the batch says, those of which that is not known not at all.
    """
    where = batch["where"]
    known = ~torch.isnan(where[:, 0, 0])
    target = F.adaptive_avg_pool2d(torch.nan_to_num(where)[:, None], (logit.shape[1], logit.shape[2]))[:, 0]
    loss = F.binary_cross_entropy_with_logits(logit, target, reduction="none").mean(dim=(1, 2))
    return (loss * batch["weight"] * known).sum()
