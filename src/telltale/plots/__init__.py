"""Every figure there is, in one style: data in, a matplotlib `Figure` out.

>>> figure = confusion([[90, 10], [20, 80]], unit="videos")
>>> to_png(figure)[1:4]
b'PNG'
>>> to_png(figure) == to_png(confusion([[90, 10], [20, 80]], unit="videos"))
True

Real is blue with a disc, fake is vermillion with a triangle, here as on the pages; no figure needs its colours to be
read. Nothing is written but by `save`. Needs `pip install 'telltale[analyze]'`.
"""

from telltale.plots._save import save, to_png
from telltale.plots._style import Class
from telltale.plots.counts import class_counts
from telltale.plots.curves import Scored, learning_curves, precision_recall, reliability, risk_coverage, roc
from telltale.plots.pictures import Tile, before_after, picture_grid
from telltale.plots.scores import confusion, score_histogram, timeline
from telltale.plots.spread import distribution
from telltale.plots.tables import Cells, SearchPoint, heat_table, search_results

__all__ = [
    "Cells",
    "Class",
    "Scored",
    "SearchPoint",
    "Tile",
    "before_after",
    "class_counts",
    "confusion",
    "distribution",
    "heat_table",
    "learning_curves",
    "picture_grid",
    "precision_recall",
    "reliability",
    "risk_coverage",
    "roc",
    "save",
    "score_histogram",
    "search_results",
    "timeline",
    "to_png",
]
