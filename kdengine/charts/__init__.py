"""Altair charts built from records, for pages and reports alike."""

from kdengine.charts.answers import changes, confusion, scatter
from kdengine.charts.fidelity import likeness
from kdengine.charts.networks import (
    accuracies,
    against,
    beside_controls,
    by_teacher,
    class_ious,
    grid,
    on_objects,
    ranking,
)
from kdengine.charts.training import accuracy_curves, learning_rates, term_curves, total_losses, with_mistake

__all__ = [
    "accuracies", "accuracy_curves", "against", "beside_controls", "by_teacher", "changes", "class_ious", "confusion",
    "grid", "learning_rates", "likeness", "on_objects", "ranking", "scatter", "term_curves", "total_losses",
    "with_mistake",
]
