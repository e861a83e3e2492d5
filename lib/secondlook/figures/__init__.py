"""Interactive figures and tables, each a pure function of records."""
# ruff: noqa: F401  what a notebook calls as `figures.…`

from secondlook.figures import fallback  # registers what a figure says where nothing draws it
from secondlook.figures.board import board, verdicts
from secondlook.figures.comparisons import combinations, comparison, step_costs, sweep
from secondlook.figures.confusions import confusion, confusion_difference, misclassified, top_confusions
from secondlook.figures.curves import loss_curves, training_curves
from secondlook.figures.decompositions import decomposition, published_errors
from secondlook.figures.design import architecture, channel_statistics, preparation, sample_grid
from secondlook.figures.drawn import drawn
from secondlook.figures.latents import embedding, latent_space, latent_walk, reconstructions
from secondlook.figures.logged import identification, identification_table, logged_curves, schedules
from secondlook.figures.maps import cam_explorer, feature_maps
from secondlook.figures.paths import best_and_last, moves, trade_off, trajectories
from secondlook.figures.published import Row, published_against_measured, published_table, small_test_draws
from secondlook.figures.rankings import Measure, measures, ranking
from secondlook.figures.saliency import cam_focus, deletion_insertion, random_weights, shuffled_parts
from secondlook.figures.scores import calibration, roc, roc_edge
from secondlook.figures.standing import aims, aims_table, grounds, scoreboard
from secondlook.figures.tables import Notice, missing_table, settings_table, table
from secondlook.figures.template import finish
from secondlook.figures.weights import kernels, template_measures, templates
