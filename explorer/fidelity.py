"""How much students' heat maps are like their teacher's over many test images, beside what other maps get."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import streamlit as st

import kdengine
from explorer.networks import open_data_for
from explorer.objects import listed, percent
from explorer.wording import as_text
from kdengine import KDError, charts
from kdengine.colors import student_colors
from kdengine.measures.uncertainty import ALPHA
from kdengine.runs.catalogue import Family
from kdengine.runs.fidelity import MEASURES, HeatFidelity

if TYPE_CHECKING:
    from kdengine.data import DataSet
    from kdengine.explain.fidelity import Change

COUNTS = [100, 300, 1_000]
USUAL_COUNT = 300
"""Of 32 pixels these take about two seconds a student."""
LEAST, WIDTH = 5, 110
"""How many images of a student are named as least alike, and how wide they are drawn, in pixels."""
CONTROLS = {
    "independent": ("independent student", "the same network, trained without the teacher. What its maps have in "
                    "common with the teacher's needs no teacher."),
    "retrained": ("teacher of another seed", "the teacher, trained once more. So alike are two trainings of one "
                  "network."),
    "another_image": ("another image's map", "the student's maps against the teacher's of other images. What is alike "
                      "there does not come from the image."),
    "untrained": ("untrained student", "the student's architecture with random weights. It learned nothing."),
    "center": ("center of the image", "a bump in the middle of every image, of no network. Objects lie there, and so "
               "does the heat."),
}
"""What each control is called, and what it means."""


@st.cache_data(max_entries=128, show_spinner=False)
def measured(student: str, teacher: str, digest: str, method: str, count: int, _data: DataSet) -> HeatFidelity:
    """Heat-map fidelity on the first `count` test images of the data set with that digest; without checks of the maps.
    """
    return kdengine.runs.heat_fidelity(student, teacher, _data, method=method, count=count, with_checks=False)


def test_images(family: Family, references: Sequence[str]) -> DataSet | None:
    """The data set of a family at its networks' size; None where it has none, or it is not on this machine."""
    try:
        if family.data is None or not kdengine.data.about(family.data)["present"]:
            return None
        return open_data_for(family.data, references)
    except KDError:
        return None


def show(
    names: Mapping[str, str], data: DataSet, method: str, picture: Sequence[Mapping[str, float]], index: int | None,
    look_at: Callable[[int], None],
) -> None:
    """Controls, what may be said, a dot an image and student, what the controls mean, and the least alike images.

    names: what networks are called, by reference, the teacher first. picture: a student, the likeness of the
    picture that stands on the page, by measure. index: of that picture among the test images; None where it is none.
    look_at: brings a test image to the page, with the maps that are measured here.
    """
    teacher, *students = names
    what, how_many = st.columns(2)
    measure = what.selectbox("Alike by", list(MEASURES), key="alike", bind="query-params", persist_state="session",
                             format_func=lambda each: MEASURES[each].capitalize())
    count = how_many.selectbox("Test images", COUNTS, COUNTS.index(USUAL_COUNT), key="alike images",
                               bind="query-params", persist_state="session", format_func="{:,}".format,
                               help="The first ones; all of them where there are fewer.")
    every = {}
    progress = st.progress(0.0)
    for place, student in enumerate(students):
        progress.progress(place / len(students), f"Heat maps of {count:,} test images by {as_text(names[student])} … "
                          "This takes some seconds, and longer the larger the images are.")
        every[student] = measured(student, teacher, data.digest, method, count, data)
    progress.empty()
    number = every[students[0]].fidelity.n  # fewer than were asked for, where there are fewer
    st.markdown("\n".join(f"- {reading(as_text(names[each]), every[each], measure)}" for each in students))
    drawn = rows({each: names[each] for each in students}, every, measure, picture)
    key = f"dots {index}"  # another picture, another chart: in this one a dot that was clicked would stay chosen
    st.altair_chart(
        charts.likeness(drawn, f"{MEASURES[measure]} with the teacher's map",
                        index if index is not None and index < number else None),
        width="stretch", on_select=lambda: _clicked(key, look_at), selection_mode="dot", key=key)
    _explain(drawn, every, measure)
    for student in students:
        _least_alike(as_text(names[student]), every[student], measure, data, look_at)


def reading(name: str, result: HeatFidelity, measure: str) -> str:
    """What may be said of a student's maps by one measure, in Markdown: their likeness, and than which controls' it is
    more, less, or neither.

    Where a control is not surpassed, the measures are named by which it is. name: in Markdown.
    """
    verdicts: dict[str, list[str]] = {}
    for control, gains in result.fidelity.gains.items():
        title, verdict = CONTROLS[control][0], _verdict(gains[measure])
        surpassed = [MEASURES[each] for each in MEASURES if _verdict(gains[each]) == "more"]
        if surpassed and verdict != "more":
            title += f" (but more alike by {listed(surpassed)})"
        verdicts.setdefault(verdict, []).append(title)
    phrases = {"more": "More alike than", "less": "**Less** alike than", "": "**Not distinguishable** from"}
    mean = result.fidelity.student.means[measure]
    said = " ".join(f"{phrase}: {', '.join(verdicts[verdict])}." for verdict, phrase in phrases.items()
                    if verdict in verdicts)
    return f"**{name}**: {mean.mean:.3f} ({mean.low:.3f} to {mean.high:.3f}). {said}"


def rows(
    names: Mapping[str, str], every: Mapping[str, HeatFidelity], measure: str, picture: Sequence[Mapping[str, float]]
) -> list[dict[str, Any]]:
    """A row a student, for `kdengine.charts.likeness`. A control that is a student here has a row of its own."""
    result = []
    colors = student_colors(list(names.values()))
    for (student, name), color, alike in zip(names.items(), colors, picture, strict=True):
        fidelity = every[student].fidelity
        sure = fidelity.student.means[measure]
        controls = {control: likeness.means[measure] for control, likeness in fidelity.controls.items()
                    if likeness and not (control == "independent" and every[student].independent in names)}
        result.append({
            "name": name, "color": color, "values": fidelity.student.values[measure],
            "mean": sure.mean, "low": sure.low, "high": sure.high,
            "controls": {CONTROLS[control][0]: (each.mean, each.low, each.high) for control, each in controls.items()},
            # As for the test images: what prefers no place is alike in nothing.
            "picture": 0.0 if math.isnan(alike["correlation"]) else alike[measure]})
    return result


def _verdict(change: Change) -> str:
    if change.p >= ALPHA:
        return ""
    return "more" if change.interval.mean > 0 else "less"


def _clicked(key: str, look_at: Callable[[int], None]) -> None:
    """Bring the image whose dot was clicked to the page."""
    for dot in st.session_state[key].selection.get("dot", [])[:1]:
        look_at(dot["image"])


def _explain(drawn: Sequence[Mapping[str, Any]], every: Mapping[str, HeatFidelity], measure: str) -> None:
    """Where the picture above stands; what dots and controls mean."""
    results = list(every.values())
    standings = "; ".join(
        f"{each['picture']:.3f} for {as_text(each['name'])}, more alike than "
        f"{percent(result.fidelity.student.share_below(measure, each['picture']))} of these test images"
        for each, result in zip(drawn, results, strict=True))
    st.markdown(f"◇ The picture above, its maps for the class that the teacher names: {standings}.")
    fidelity = results[0].fidelity
    height, width = fidelity.size
    shown = dict.fromkeys(control for each in results for control in each.fidelity.gains)
    st.caption(
        f"**Click a dot** to see its image and maps above. A dot is one of the first {fidelity.n:,} test images; line "
        f"and band are the mean with its 95% interval over these images. Maps of {height} × {width} cells at the "
        "automatic layer, for the class that the teacher names of each image. A map that prefers no place counts as 0. "
        "*More*, *less*: tested image by image, with Holm's correction over the three measures. One training each: "
        "nothing is said of other seeds.\n\n"
        + "\n".join(f"- *{title[0].upper()}{title[1:]}*: {meaning}"
                    for title, meaning in map(CONTROLS.__getitem__, shown)))


def _least_alike(name: str, result: HeatFidelity, measure: str, data: DataSet, look_at: Callable[[int], None]) -> None:
    """The images on which a student's map is least like the teacher's, each with a link to it. name: in Markdown."""
    st.markdown(f"Least alike: **{name}**")
    row = st.container(horizontal=True)
    for index in result.fidelity.student.least(measure, LEAST):
        with row.container(width=WIDTH):
            value = result.fidelity.student.values[measure][index]
            st.image(kdengine.data.example(data, index)[0], f"{value:.3f}", width=WIDTH, alt=f"Test image {index}")
            st.button(f"Image {index}", key=f"least {result.student} {index}", type="tertiary",
                      icon=":material/arrow_upward:", on_click=look_at, args=(index,),
                      help="Shows it above, with the maps that were measured.")
