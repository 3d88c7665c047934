"""Charts of runs: what they draw, and axes that stand still while a run goes on."""

import pytest

from kdengine import charts
from tests.kdengine.made import row


@pytest.mark.parametrize("curves", [charts.accuracy_curves, charts.term_curves])
def test_the_axis_of_epochs_ends_where_the_runs_will(curves):
    for rows in ([row(1)], [row(1), row(2)]):
        drawn = curves({"kd": rows}, epochs=10).to_dict()
        layer = drawn["layer"][0] if "layer" in drawn else drawn
        assert layer["encoding"]["x"]["scale"]["domain"] == [0, 10]
        free = curves({"kd": rows}).to_dict()
        layer = free["layer"][0] if "layer" in free else free
        assert "domain" not in layer["encoding"]["x"].get("scale", {})
