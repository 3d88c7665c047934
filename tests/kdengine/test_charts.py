"""Charts of runs: what they draw and say, and axes that stand still while a run goes on."""

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


def test_a_chart_is_the_taller_the_more_rows_its_legend_has():
    def height(count, name="a long name of a student {}"):
        return charts.accuracy_curves({name.format(each): [row(1)] for each in range(count)}).to_dict()["height"]

    assert [height(count) for count in (0, 1, 2, 3, 7)] == [320, 320, 320, 320, 400]
    assert [height(count, "short {}") for count in (4, 5, 7)] == [320, 320, 340]  # two in a row


HISTORIES = {"kd": [row(1), row(2)]}
INTERVAL = {"mean": 0.5, "low": 0.4, "high": 0.6, "elsewhere": 0.25}
LIKENESS = {"name": "A", "color": "#e8710a", "values": [0.8, 0.2], "mean": 0.5, "low": 0.4, "high": 0.6, "picture": 0.7,
            "controls": {"center": (0.9, 0.85, 0.95), "untrained": (0.1, 0.05, 0.15)}}
CHARTS = {
    "accuracy": (charts.accuracy_curves(HISTORIES, teacher=0.975),
                 "Validation accuracy over the epochs. Teacher: 97.5%; kd: 50.0% after epoch 2."),
    "nothing yet": (charts.accuracy_curves({"kd": []}), "Validation accuracy over the epochs. Nothing to draw yet."),
    "loss": (charts.total_losses(HISTORIES), "Total training loss over the epochs. kd: 0.5 after epoch 2."),
    "terms": (charts.term_curves(HISTORIES),
              "Terms of the training loss over the epochs. kd: cross entropy 0.5000 after epoch 2."),
    "accuracies": (charts.accuracies([{"label": "A", "accuracy": 0.5, "interval": (0.4, 0.6)},
                                      {"label": "B", "accuracy": 0.25, "interval": None}],
                                     {"A": "#000000", "B": "#ffffff"}),
                   "Test accuracy, with 95% interval. A: 50.0% (40.0% to 60.0%); B: 25.0%."),
    "scatter": (charts.scatter([{"label": "A", "x": 1.25, "low": 1.0, "high": 2.0, "y": 0.5, "note": ""},
                                {"label": "B", "x": 9.0, "low": None, "high": None, "y": 0.25, "note": "busy"}],
                               "ms / image", "Test accuracy"),
                "Test accuracy against ms / image. A: 50.0% at 1.25; B: 25.0% at 9, busy."),
    "ranking": (charts.ranking({"A": 2.0, "B": 1.0}, {"A": "#000000", "B": "#ffffff"}, "Distance"),
                "Distance. B: 1.0000; A: 2.0000."),
    "grid": (charts.grid([{"x": 4.0, "y": 0.9, "validation": 0.5, "test": 0.4, "chosen": True}], "temperature",
                         "alpha"),
             "Validation accuracy over temperature and alpha. temperature 4, alpha 0.9: 50.0%, chosen."),
    "grid of words": (charts.grid([{"x": "l2", "y": 5, "validation": 0.5, "test": 0.4, "chosen": False}], "distance",
                                  "labels per class", "mIoU"),
                      "Validation mIoU over distance and labels per class. distance l2, labels per class 5: 50.0%."),
    "by teacher": (charts.by_teacher([{"teacher": "A", "parameters": 1000, "teacher_accuracy": 0.5,
                                       "student_accuracy": 0.25}]),
                   "Test accuracy of teacher and student against the teacher's parameters. "
                   "A, 1,000 parameters: teacher 50.0%, student 25.0%."),
    "against T": (charts.against([{"x": 4.0, "series": "A", "score": 0.5}], "temperature", "Accuracy"),
                  "Accuracy against temperature. A at temperature 4: 50.0%."),
    "objects": (charts.on_objects([{"network": "A", "method": "Grad-CAM"} | INTERVAL], 0.3, "Heat"),
                "Heat. A, Grad-CAM: 50.0% (40.0% to 60.0%), in the other boxes 25.0%."),
    "likeness": (charts.likeness([LIKENESS], "cosine with the teacher's map"),
                 "Cosine with the teacher's map. A: 0.500 (0.400 to 0.600), image by image from 0.200 to 0.800, center "
                 "0.900, untrained 0.100, the picture above 0.700."),
    "controls": (charts.beside_controls([{"label": "A"} | INTERVAL], {"a bump": 0.375}, "Likeness"),
                 "Likeness. A: 0.500 (0.400 to 0.600), elsewhere 0.250; a bump: 0.375."),
    "classes": (charts.class_ious({"A": [0.5, None]}, ["cat", "dog"]), "Test IoU of each class. cat, A: 50.0%."),
}


@pytest.mark.parametrize("name", CHARTS)
def test_a_chart_says_its_numbers_in_words_and_its_text_can_be_read(name):
    chart, words = CHARTS[name]
    drawn = chart.to_dict()
    assert drawn["description"] == words
    config = drawn["config"]
    assert {config["axis"]["labelFontSize"], config["axis"]["titleFontSize"], config["legend"]["labelFontSize"],
            config["legend"]["titleFontSize"], config["text"]["fontSize"]} == {14}
    assert {config[part][f"{kind}Color"] for part in ("axis", "legend") for kind in ("label", "title")} == {
        "currentColor"}


def fields_of(drawn, values=()):
    """Each layer's fields, and the names that its rows have."""
    values = drawn.get("data", {}).get("values", values)
    if "layer" in drawn:
        return [each for layer in drawn["layer"] for each in fields_of(layer, values)]
    fields = [each["field"] for channel in drawn.get("encoding", {}).values()
              for each in (channel if isinstance(channel, list) else [channel]) if "field" in each]
    return [(fields, set().union(*values))]


@pytest.mark.parametrize("name", CHARTS)
def test_a_chart_draws_what_its_rows_have(name):
    for fields, names in fields_of(CHARTS[name][0].to_dict()):
        assert not names or set(fields) <= names


@pytest.mark.parametrize(("names", "pixels"), [
    (["kd"], 320), (["a name too long for two", "b", "c"], 320), (["a name too long for two", "b", "c", "d"], 340),
    ([f"run {place}" for place in range(7)], 340)])
def test_a_long_legend_takes_no_room_from_the_curves(names, pixels):
    for curves in (charts.accuracy_curves, charts.term_curves, charts.total_losses):
        assert curves({name: [row(1)] for name in names}).to_dict()["height"] == pixels


@pytest.mark.parametrize("count", [0, 1, 2])
def test_a_short_run_grows_on_axes_that_stand_still(count):
    rows = [{"epoch": 1, "right": 0.25, "wrong": 0.125}, {"epoch": 2, "right": 0.5, "wrong": 0.25}][:count]
    drawn = charts.with_mistake(rows, 12).to_dict()
    assert drawn["encoding"]["x"]["scale"]["domain"] == [0, 12]
    assert drawn["encoding"]["y"]["scale"]["domain"] == [0, 1]
    assert drawn["encoding"]["color"]["scale"]["domain"] == ["Right", "With the mistake"]
    points = {(each["run"], each["epoch"], each["accuracy"]) for each in drawn["data"]["values"]}
    assert points == {(title, row["epoch"], row[key]) for row in rows
                      for key, title in (("right", "Right"), ("wrong", "With the mistake"))}


@pytest.mark.parametrize("chosen", [("a", "b"), ("b", "b"), ("b", "a"), None])
def test_the_chosen_cell_alone_is_outlined(chosen):
    drawn = charts.confusion([[3, 1], [0, 2]], ["a", "b"], chosen).to_dict()
    *_, outline = drawn["layer"]
    assert outline["transform"] == [{"filter": "datum.chosen"}] and outline["mark"]["filled"] is False
    values = [each for part in (drawn, *drawn["layer"]) for each in part.get("data", {}).get("values", [])]
    outlined = {(each["truth"], each["answer"]) for each in values if each["chosen"]}
    assert outlined == {chosen} - {None, ("b", "a")}  # a cell without images is not drawn


def likeness_layers(picture=None):
    other = LIKENESS | {"name": "B", "color": "#6b7280", "values": [0.6, 0.4], "picture": 0.3}
    drawn = charts.likeness([LIKENESS, other], "cosine with the teacher's map", picture).to_dict()
    return {place: layer | {"rows": layer["data"]["values"]} for place, layer in enumerate(drawn["layer"])}


def test_every_image_is_a_dot_that_can_be_chosen_in_the_band_of_its_student():
    layers = likeness_layers()
    dots, means = layers[0], layers[1]["rows"]
    assert [(row["name"], row["image"], row["value"]) for row in dots["rows"]] == [
        ("A", 0, 0.8), ("A", 1, 0.2), ("B", 0, 0.6), ("B", 1, 0.4)]
    bands = {row["name"]: (row["y"], row["bottom"]) for row in means}
    assert bands["A"][1] < bands["B"][0]
    assert all(bands[dot["name"]][0] < dot["y"] < bands[dot["name"]][1] for dot in dots["rows"])
    assert dots["encoding"]["color"]["scale"] == {"domain": ["A", "B"], "range": ["#e8710a", "#6b7280"]}
    assert [(row["value"], row["low"], row["high"]) for row in means] == [(0.5, 0.4, 0.6)] * 2


def test_controls_lie_below_their_students_dots_and_their_names_where_there_is_room():
    layers = likeness_layers()
    controls = layers[3]["rows"]
    assert [(row["name"], row["value"], row["low"], row["high"], row["room"]) for row in controls] == [
        ("center", 0.9, 0.85, 0.95, "left"), ("untrained", 0.1, 0.05, 0.15, "right")] * 2
    heights = [row["y"] for row in controls]
    first, second = layers[1]["rows"]
    assert first["bottom"] < heights[0] < heights[1] < second["y"] < second["bottom"] < heights[2] < heights[3]


def test_the_picture_on_the_page_lies_on_its_dot_or_amid_the_band():
    dots = {(row["name"], row["image"]): row["y"] for row in likeness_layers()[0]["rows"]}
    on, amid = ({row["name"]: (row["value"], row["y"]) for row in likeness_layers(picture)[7]["rows"]}
                for picture in (1, None))
    assert on == {"A": (0.7, dots["A", 1]), "B": (0.3, dots["B", 1])}
    bands = {row["name"]: (row["y"] + row["bottom"]) / 2 for row in likeness_layers()[1]["rows"]}
    assert amid == {"A": (0.7, bands["A"]), "B": (0.3, bands["B"])}
