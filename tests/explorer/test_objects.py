"""What is said of heat on objects: the numbers as they are, and no claim that they do not carry."""

import pytest

from explorer import objects
from kdengine.charts import on_objects
from kdengine.colors import STUDENTS, TEACHER


def measured(hits, *, low=0.5, elsewhere=0.4, inside=0.6):
    """As `kdengine.explain.heat_on_objects` returns it."""
    share = sum(hits) / len(hits)
    return {"n": len(hits), "area": 0.35, "hits": hits,
            "inside": {"mean": inside, "low": inside - 0.05, "high": inside + 0.054, "elsewhere": 0.31},
            "pointing": {"mean": share, "low": low, "high": 0.976, "elsewhere": elsewhere}}


def hits(count, of=20, start=0):
    return [start <= place < start + count for place in range(of)]


FOUND = {"resnet20 (teacher)": {"Grad-CAM": measured(hits(20)), "Eigen-CAM": measured(hits(10), elsewhere=0.5)},
         "resnet8": {"Grad-CAM": measured(hits(12)), "Eigen-CAM": measured(hits(9))}}


def test_a_row_a_network_one_for_the_other_boxes_and_one_for_a_map_that_prefers_nothing():
    rows = objects.table(FOUND, "pointing")
    plain = [{key: text.replace("\N{NO-BREAK SPACE}", " ").replace("\N{WORD JOINER}", "") for key, text in row.items()}
             for row in rows]
    assert plain == [
        {"": "resnet20 (teacher)", "Grad-CAM": "100% (50–98)", "Eigen-CAM": "50% (50–98)"},
        {"": objects.ELSEWHERE, "Grad-CAM": "40%", "Eigen-CAM": "50%"},
        {"": "resnet8", "Grad-CAM": "60% (50–98)", "Eigen-CAM": "45% (50–98)"},
        {"": objects.ELSEWHERE, "Grad-CAM": "40%", "Eigen-CAM": "40%"},
        {"": objects.NOTHING, "Grad-CAM": "35%", "Eigen-CAM": "35%"},
    ]
    assert objects.table(FOUND, "inside")[0]["Grad-CAM"].startswith("60%\N{NO-BREAK SPACE}(55–")


@pytest.mark.parametrize(("count", "shown"), [(0, "0%"), (1, "<1%"), (2, "1%"), (198, "99%"), (199, ">99%"),
                                              (200, "100%")])
def test_almost_all_is_not_all_and_almost_nothing_not_nothing(count, shown):
    row, *_ = objects.table({"resnet8": {"Grad-CAM": measured(hits(count, of=201 if count == 1 else 200))}}, "pointing")
    assert row["Grad-CAM"].partition("\N{NO-BREAK SPACE}")[0] == shown


def test_a_map_follows_its_object_only_where_the_whole_interval_lies_above_the_other_boxes():
    first, *_ = objects.reading(FOUND).splitlines()
    assert first.endswith(": resnet20 (teacher) with Grad-CAM; resnet8 with every method.")
    none = {"resnet8": {"Grad-CAM": measured(hits(9), low=0.3999), "Eigen-CAM": measured(hits(9), low=0.1)}}
    assert objects.reading(none).splitlines()[0].endswith(": resnet8 with no method.")


def test_a_network_alone_is_held_against_nobody():
    alone = {"resnet20 (teacher)": FOUND["resnet20 (teacher)"]}
    assert len(objects.reading(alone).splitlines()) == 1


def test_networks_differ_where_mcnemar_says_so_after_holm():
    # Grad-CAM: 8 images alone against none, p = 2/256, doubled 0.016. Eigen-CAM: 1 against none, p = 1.
    told = objects.reading(FOUND).splitlines()[1]
    assert "against resnet20 (teacher)** on the same 20 images (McNemar, Holm over 2 comparisons)" in told
    assert told.endswith(": resnet8 less often with Grad-CAM; no other is distinguishable.")


@pytest.mark.parametrize(("methods", "end"), [
    (1, ": resnet8 more often with every method."),  # 6 images alone against none: p = 2/64
    (2, ": none is distinguishable."),  # doubled, 0.0625
])
def test_the_more_is_compared_the_more_it_takes(methods, end):
    names = ["Grad-CAM", "Eigen-CAM"][:methods]
    held = {"teacher": {name: measured(hits(4, start=place)) for place, name in enumerate(names)},
            "resnet8": {"Grad-CAM": measured(hits(10))} | {name: measured(hits(4, start=1)) for name in names[1:]}}
    assert objects.reading(held).splitlines()[1].endswith(end)


def test_methods_are_called_equal_only_where_they_are_for_every_network():
    same = {"Grad-CAM": measured(hits(9)), "HiResCAM": measured(hits(9), inside=0.6 + 1e-7),
            "LayerCAM": measured(hits(9), inside=0.61), "Eigen-CAM": measured(hits(9, start=1))}
    told = objects.reading({"a": same, "b": same}).splitlines()[-1]
    assert told == "- **Equal in every number**, one formula here: Grad-CAM and HiResCAM."
    other = same | {"HiResCAM": measured(hits(8))}
    assert "Equal" not in objects.reading({"a": same, "b": other})


def test_the_chart_shows_the_numbers_the_teacher_in_its_colour_and_the_area():
    drawn = on_objects(objects.points(FOUND, "pointing"), 0.35, "Pointing").to_dict()
    area, interval, point, other = drawn["layer"]
    assert area["data"]["values"] == [{"area": 0.35}]
    assert point["data"]["values"][0] == {
        "network": "resnet20 (teacher)", "method": "Grad-CAM", "mean": 1.0, "low": 0.5, "high": 0.976, "elsewhere": 0.4}
    assert len(point["data"]["values"]) == 4
    assert point["encoding"]["color"]["scale"] == {
        "domain": ["resnet20 (teacher)", "resnet8"], "range": [TEACHER, STUDENTS[0]]}
    assert [layer["encoding"]["x"]["field"] for layer in (area, interval, point, other)] == [
        "area", "low", "mean", "elsewhere"]
    assert interval["encoding"]["x2"]["field"] == "high"
    assert interval["encoding"]["x"]["scale"]["domain"] == [0, 1]
