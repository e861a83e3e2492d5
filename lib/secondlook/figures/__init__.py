"""Interactive figures and tables, each a pure function of records."""

from secondlook.figures import fallback  # noqa: F401  registers what a figure says where nothing draws it
from secondlook.figures.aims import aims, aims_table
from secondlook.figures.bars import comparison
from secondlook.figures.confusion import confusion, confusion_difference, top_confusions
from secondlook.figures.curves import learning_curves, loss_curves
from secondlook.figures.grid import combinations
from secondlook.figures.images import hover_sprite, sample_grid, sprite
from secondlook.figures.published import Row, published_against_measured, small_test_draws
from secondlook.figures.roc import roc
from secondlook.figures.scoreboard import grounds, scoreboard
from secondlook.figures.sweep import sweep
from secondlook.figures.tables import missing_table, notice, published_table, table, verdicts
from secondlook.figures.template import DARK, LIGHT, finish
from secondlook.figures.templates import template_measures, templates

__all__ = [
    "DARK",
    "LIGHT",
    "Row",
    "aims",
    "aims_table",
    "combinations",
    "comparison",
    "confusion",
    "confusion_difference",
    "finish",
    "grounds",
    "hover_sprite",
    "learning_curves",
    "loss_curves",
    "missing_table",
    "notice",
    "published_against_measured",
    "published_table",
    "roc",
    "sample_grid",
    "scoreboard",
    "small_test_draws",
    "sprite",
    "sweep",
    "table",
    "template_measures",
    "templates",
    "top_confusions",
    "verdicts",
]
