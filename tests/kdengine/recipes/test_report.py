"""The lab report: everything that was measured and how, in two files that need nothing beside them."""

import dataclasses
import json
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser

import pytest
from PIL import Image

from kdengine import recipes
from kdengine.colors import STUDENTS, TEACHER
from kdengine.errors import KDError
from kdengine.methods import METHODS
from kdengine.recipes import comparison, document, report, sections
from kdengine.recipes.columns import Column
from kdengine.recipes.remarks import remarks
from tests.kdengine.recipes.scene import COUNT, PACKAGES, drawn_from, made

LABELS = {"Independent": ("none", {}), "KD": ("kd", {"temperature": 3.0}), "DKD": ("dkd", {})}
RIGHT = {"Teacher": [90], "Independent": [60], "KD": [range(10, 85)], "DKD": [58]}
HARMFUL = "<img src=x onerror=alert(1)> & co"
VOID = {"br", "col", "hr", "img", "input", "link", "meta"}


class Page(HTMLParser):
    """A page's tags with their attributes, its texts by the tag that holds them, and whether every tag is closed."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.texts, self.open = [], {}, []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, text):
        if self.open:
            self.texts.setdefault(self.open[-1], []).append(text)

    def named(self, tag):
        return [attributes for each, attributes in self.tags if each == tag]


@pytest.fixture
def outcome():
    return made(RIGHT, LABELS)


def cells(line):
    return [cell.strip() for cell in line.strip().strip("|").split(" | ")]


def test_markdown_holds_the_table_as_it_is(outcome):
    """Eight columns that answer, and the other numbers further down."""
    lines = report.markdown(outcome).splitlines()
    table = comparison.rows(outcome)
    start = lines.index("## Results") + 2
    assert cells(lines[start]) == ["Network", "Test accuracy", "Change", "Against the independent student",
                                   "KL to teacher", "Architecture", "Parameters", "ms / image"]
    shown = [cells(line) for line in lines[start + 2:start + 2 + len(RIGHT)]]
    assert [row[0] for row in shown] == list(RIGHT)
    (low, high), (less, more) = table[2]["interval"], table[2]["change_interval"]
    assert shown[2] == ["KD", f"75.00% ({low:.1%} to {high:.1%})",
                        f"+15.00 pts ({100 * less:+.1f} to {100 * more:+.1f})", "differ (p = 0.033)", "0.1250",
                        "resnet8", "78,042", "1.25 (1.20 to 1.50)"]
    start = lines.index("## All other numbers") + 2
    assert cells(lines[start]) == ["Network", "Seeds", "Test loss", "Change", "Agreement"]
    assert cells(lines[start + 4]) == ["KD", "1", "0.5000", "+15.00 pts (+25.0%)", "75.00%"]


def test_a_recipe_s_own_columns_take_the_place_of_what_says_least():
    own = {f"own{number}": Column(f"Own {number}") for number in range(3)}
    outcome = made(RIGHT, LABELS, columns=own, measure=lambda record: dict.fromkeys(own, 0.5))
    titles, rows = comparison.main(outcome.plan.recipe, comparison.rows(outcome))
    assert titles == ["Network", "Test accuracy", "Change", "Against the independent student", "Own 0", "Own 1",
                      "Own 2", "KL to teacher"]
    assert rows[1][4:7] == ["50.00%"] * 3
    assert comparison.rest(outcome.plan.recipe) == [
        "label", "network", "seeds", "loss", "change", "agreement", "parameters", "milliseconds"]


FACTS = [
    "python -m kdengine recipe two_ways --scale quick --seeds 1",
    "Which way is better?",
    "differ (p = 0.033)", comparison.READING,
    "1 seed cannot say that a method is better: that takes 3 or more.",
    "A processor (cpu)", "2, 1 for each student, several at once", "Linux x86_64, Python 3.11.9", "c0ffee",
    *PACKAGES, *PACKAGES.values(),
    "Handwritten digits", "d1g357", "1258", "180", "crop",
    "resnet8, kd (temperature 3.0, alpha 0.9), taught by Teacher, 20 epochs, batch 64, sgd 0.05, momentum 0.9, cosine, "
    "weight decay 0.0005",
    "resnet20, none, 20 epochs, batch 64, sgd 0.05, momentum 0.9, cosine, weight decay 0.0005",
    "KD, seed 0", "12 s with 2 others, 2,345 images a second; 25.0 MFLOPs (2 × multiply-adds of one forward of one "
    "image), weights 0.31 MB",
]


def test_seconds_are_those_of_a_student_s_own_steps_where_they_were_counted(outcome):
    outcome.records["KD", 0].result |= {"own_seconds": 312.4, "training_seconds": 1540.0, "side_by_side": 4}
    outcome.records["DKD", 0].result |= {"side_by_side": 1}
    text = report.markdown(outcome)
    assert "| KD, seed 0 | 312 s of its own steps; 1,540 s for the group of 4, 2,345 images a second; " in text
    outcome.records["KD", 0].result |= {"peak_memory": {"megabytes": 1412.9, "of": "process"}}
    assert "weights 0.31 MB; memory at most 1,413 MB (process, 4 students) |" in report.markdown(outcome)
    assert "| DKD, seed 0 | 12 s, 2,345 images a second; " in text
    assert "| Independent, seed 0 | 12 s with 2 others, 2,345 images a second; " in text


@pytest.mark.parametrize("write", [report.markdown, report.html])
def test_it_says_how_it_was_made(outcome, write):
    text = write(outcome)
    assert [fact for fact in FACTS if fact not in text] == []


def test_it_holds_the_formula_and_source_of_every_method_used_and_of_no_other(outcome):
    text, page = report.markdown(outcome), report.html(outcome)
    for name in ("none", "kd", "dkd"):
        method = METHODS[name]
        assert f"$${method.formula}$$" in text
        assert f"### {method.title}\n\n{method.summary} Source: {method.source}." in text
        assert f"<h3>{method.title}</h3>" in page
        assert method.source in page
    assert text.count("$$") == 2 * 3
    assert page.count("<h3>") == 3


def test_the_page_parses_and_holds_every_row(outcome):
    page = Page(report.html(outcome))
    table = comparison.rows(outcome)
    titles, rows = comparison.main(outcome.plan.recipe, table)
    rest = comparison.rest(outcome.plan.recipe)
    assert {cell for row in [*rows, *comparison.texts(outcome.plan.recipe, table, rest)] for cell in row} <= set(
        page.texts["td"])
    assert {*titles, *(comparison.titles(outcome.plan.recipe)[key] for key in rest)} <= set(page.texts["th"])
    assert page.texts["h1"] == ["Two ways"]
    assert page.texts["li"] == [*remarks(outcome, table), *sections.limits(outcome)]


def test_the_page_draws_and_sets_formulas_without_a_script_or_anything_to_fetch(outcome):
    text = report.html(outcome)
    page = Page(text)
    assert len(page.named("svg")) == 4 == len(page.named("figcaption"))  # scores, KL, and how they learned, twice
    assert len(page.named("math")) == len(LABELS)
    assert page.named("script") == page.named("link") == page.named("iframe") == page.named("object") == []
    assert "@import" not in text and "url(http" not in text
    for tag, attributes in page.tags:
        for name, value in attributes.items():
            assert not name.startswith("on")
            if name in ("src", "href", "xlink:href", "data", "srcset", "action"):
                assert value.startswith(("data:", "#")), (tag, name, value)


def test_the_curves_are_those_of_the_first_seed(outcome):
    drawn = report.figures(outcome, comparison.rows(outcome))
    held = drawn_from(drawn["Validation accuracy of the students while training, first seed."])
    assert [(each["run"], each["epoch"], each["accuracy"]) for each in held] == [
        (label, epoch, epoch / 4) for label in LABELS for epoch in (1, 2)]
    held = drawn_from(drawn["Terms of the students' training loss, first seed."])
    assert {(each["run"], each["epoch"], each["value"]) for each in held} == {
        (label, epoch, 1 / epoch) for label in LABELS for epoch in (1, 2)}


def test_the_accuracies_are_drawn_with_their_intervals(outcome):
    table = comparison.rows(outcome)
    drawn = report.figures(outcome, table)["Test accuracy, with 95% intervals over 100 images."]
    assert drawn_from(drawn) == [{"label": row["label"], "accuracy": row["accuracy"], "low": row["interval"][0],
                                  "high": row["interval"][1]} for row in table]


def test_text_is_text_and_never_markup():
    outcome = made({"Teacher": [90], "Independent": [60], HARMFUL: [75]}, title=HARMFUL, question=HARMFUL,
                   columns={"share": Column(HARMFUL)}, measure=lambda record: {"share": 0.5})
    text = report.html(outcome)
    page = Page(text)
    assert page.named("img") == []
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert page.texts["h1"] == [HARMFUL]
    assert page.texts["title"] == [f"{HARMFUL}: {outcome.plan.setting}"]
    assert HARMFUL in page.texts["td"] and HARMFUL in page.texts["th"] and HARMFUL in page.texts["p"]
    for drawn in text.split("<svg")[1:]:  # Vega writes the label too
        ElementTree.fromstring("<svg" + drawn.split("</svg>")[0] + "</svg>")


def test_a_bar_in_a_name_leaves_the_markdown_table_whole():
    lines = report.markdown(made({"Teacher": [90], "A|B": [75]})).splitlines()
    assert sum(line.startswith("| A\\|B |") for line in lines) == 3  # in both tables, and in the settings


def test_columns_of_the_recipe_and_its_figures_are_in_it():
    import altair

    chart = altair.Chart(altair.Data(values=[{"x": 1}])).mark_point().encode(x="x:Q")
    outcome = made(RIGHT, LABELS, columns={"wrong": Column("Wrong")}, figures=lambda outcome: {"Drawn for it.": chart},
                   measure=lambda record: {"wrong": 1 - record.result["test"]["top1"]})
    page = Page(report.html(outcome))
    assert "Wrong" in page.texts["th"]
    assert {"40.00%", "25.00%", "42.00%"} <= set(page.texts["td"])
    assert page.texts["figcaption"][2] == "Drawn for it."
    assert "| Wrong |" in report.markdown(outcome)


def test_a_recipe_half_done_has_a_report_of_that_half():
    outcome = made({"Teacher": [90]}, LABELS, seeds=1)
    page = Page(report.html(outcome))
    assert len(page.named("svg")) == 1  # no student has curves yet
    assert any(cell.startswith("90.00% (") for cell in page.texts["td"])
    assert f"{COUNT}" in page.texts["td"]


def test_nothing_trained_is_nothing_to_report():
    with pytest.raises(KDError, match="Nothing of two_ways is trained yet"):
        report.html(made({}, LABELS, seeds=1))


def test_a_method_of_two_stages_tells_the_epochs_of_both_and_what_is_held_back():
    outcome = made({"Teacher": [90], "AB": [75]}, {"AB": ("activation_boundary", {})})
    part = outcome.parts[1]
    asked = dataclasses.replace(part.configuration, labels_per_class=7, labelled_images=16, share=0.5, without_class=3,
                                views="flip")
    outcome.parts[1] = dataclasses.replace(part, configuration=asked)
    assert ("taught by Teacher, 7 labels per class, masks of 16 images, 50% of the training images, without class 3, "
            "views flip, 20 epochs after 3 of its first stage, batch 64") in report.markdown(outcome)


def test_page_text_and_the_records_they_came_from_lie_beside_each_other(outcome, tmp_path):
    page = report.write(outcome, tmp_path / "new" / "report")
    assert page == tmp_path / "new" / "report" / "report.html"
    assert page.read_text(encoding="utf-8") == report.html(outcome)
    text = (page.parent / "report.md").read_text(encoding="utf-8")
    assert text.count("](figure-") == 4
    assert "![Test accuracy, with 95% intervals over 100 images.](figure-1.png)" in text
    held = json.loads((page.parent / "records.json").read_text(encoding="utf-8"))
    assert held["command"] == outcome.plan.command
    assert {(each["label"], each["seed"]): each["record"] for each in held["runs"]} == {
        key: dataclasses.asdict(record) for key, record in outcome.records.items()}
    charts = [f"figure-{number}.png" for number in range(1, 1 + len(page.read_text().split("<figure>")[1:]))]
    assert sorted(path.name for path in page.parent.iterdir()) == sorted(
        ["answers.npz", "records.json", "report.html", "report.md", *charts])
    for each in charts:
        with Image.open(page.parent / each) as drawn:
            assert drawn.format == "PNG" and drawn.width > 600


def test_the_title_line_says_what_was_trained_on_how_much(outcome):
    line = "resnet20 to resnet8, digits, all training images, every label, 20 epochs, one seed"
    assert report.markdown(outcome).splitlines()[0] == f"# Two ways: {line}"
    assert line in Page(report.html(outcome)).texts["b"]
    cut = recipes.plan("response_vs_feature", seeds=3, share=0.25, image_size=16, epochs=2)
    assert cut.setting == ("resnet20 to resnet8, digits at 16 px, 0.25 of the training images, 10 labels per class, "
                           "2 epochs, 3 seeds")


def test_who_wrote_it_when_it_was_trained_and_what_they_think_is_in_it(outcome):
    for record in outcome.records.values():
        record.created = 1_764_115_200.0  # 26 November 2025
    page = Page(report.html(outcome, "Ada Lovelace", f"First.\n\n{HARMFUL}\n"))
    assert page.texts["p"][0] == "Ada Lovelace. Trained 26 November 2025."
    place = page.texts["p"].index("First.")
    assert page.texts["p"][place + 1] == HARMFUL
    assert "Discussion" in page.texts["h2"]
    assert "Discussion" not in report.markdown(outcome)
    assert report.markdown(outcome, "Ada").splitlines()[2] == "Ada. Trained 26 November 2025."


def test_what_was_equal_for_all_students_is_told_apart_from_what_was_not(outcome):
    rows = dict(sections.equal_and_different(outcome))
    assert rows["Equal for every student"] == (
        "data digits, student resnet8, epochs 20, batch size 64, optimizer sgd, learning rate 0.05, momentum 0.9, "
        "weight decay 0.0005, schedule cosine")
    assert rows["Equal for every seed"] == "first weights, order and views of the images; seeds 0"
    assert rows["Different"] == "the method and its hyperparameters"
    part = outcome.parts[3]
    outcome.parts[3] = dataclasses.replace(part, configuration=dataclasses.replace(part.configuration, epochs=10))
    rows = dict(sections.equal_and_different(outcome))
    assert rows["Different"] == "the method and its hyperparameters; epochs"
    assert rows["Epochs"] == "Independent: 20; KD: 20; DKD: 10"


def test_why_a_student_has_gained_nothing_is_told(outcome):
    said = {row[1]: row for row in sections.no_gain(outcome)}
    assert {row[0] for row in said.values()} == {"DKD, -2.00 points"}  # the other one gained beyond chance
    assert said["Labels are plentiful"][2] == (
        "Each of the 1,258 training images has its label, which leaves a teacher less to add.")
    assert "Why no gain?" in Page(report.html(outcome)).texts["h2"]


@pytest.mark.parametrize("name", list(METHODS))
def test_no_formula_is_left_raw(name):
    """Latex that the converter does not know stands there as it was written."""
    assert "\\" not in document.mathml(METHODS[name].formula)


def test_a_network_has_one_color_in_all_charts(outcome):
    table = comparison.rows(outcome)
    drawn = list(report.figures(outcome, table).values())
    wanted = {"Teacher": TEACHER, "Independent": STUDENTS[0], "KD": STUDENTS[1], "DKD": STUDENTS[2]}
    for chart in drawn:
        for layer in chart.to_dict().get("layer", [chart.to_dict()]):
            scale = layer["encoding"].get("color", {}).get("scale")
            if scale:
                assert {name: wanted[name] for name in scale["domain"]} == dict(
                    zip(scale["domain"], scale["range"], strict=True))


def test_students_are_ranked_by_their_distance_to_the_teacher(outcome):
    figure = report.figures(outcome, comparison.rows(outcome))[
        "KL(teacher || student) on the test images, nats; the closest first."]
    assert drawn_from(figure) == [{"label": "Independent", "value": 0.5}, {"label": "KD", "value": 0.125},
                                  {"label": "DKD", "value": 0.25}]
    assert figure.to_dict()["layer"][0]["encoding"]["y"]["sort"] == ["KD", "DKD", "Independent"]
