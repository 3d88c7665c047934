"""Three test images, epoch by epoch: the students' answers beside the teacher's, softened alike."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
import streamlit as st

import kdengine
from explorer.comparison import inline, percent
from explorer.networks import open_data, open_network
from kdengine import KDError
from kdengine.colors import RIGHT, TEACHER, ink, student_colors, upon
from kdengine.runs.records import ACTIVE

if TYPE_CHECKING:
    from kdengine.data import DataSet
    from kdengine.runs.schema import Watched

_SIDE = 128
"""Most pixels of a picture's side; it is shown half as large."""
SHOWN = 3
"""Images beside each other."""
PICTURES, EPOCH = "pictures", "after"
"""What the link holds: the place of the first image in their order, and the epoch that is shown."""
_MOST_CLASSES = 10
_HEADROOM = 1.3
"""A full row is this many times the first row's highest share."""
_STYLE = """<style>
.pinned-image { display: flex; align-items: center; gap: .75rem; margin-bottom: .3rem; font-size: .875rem; }
.pinned-image img { width: 3rem; border-radius: .5rem; }
.pinned-image span { opacity: .7; }
.pinned { margin: 0 0 .6rem; }
.pinned .who { font-size: .85rem; line-height: 1.3; font-weight: 600; overflow: hidden; text-overflow: ellipsis;
  white-space: nowrap; }
.pinned .answer { display: flex; gap: 3px; margin-top: .2rem; height: 4.4rem; align-items: stretch; }
.pinned.three, .pinned.many { margin: 0 0 .3rem; }
.pinned.three .answer { height: 2.9rem; }
.pinned.many .answer { height: 2.2rem; }
.pinned .class { flex: 1; min-width: 0; display: flex; flex-direction: column; justify-content: flex-end;
  text-align: center; font-size: .8rem; line-height: 1.2; overflow: hidden; }
.pinned .bar { border-radius: 2px 2px 0 0; min-height: 1px; }
.pinned .beyond { border-radius: 0; }
.pinned .beyond::before { content: "↑"; font-size: .7rem; line-height: 1; display: block; }
.pinned .truth { font-weight: 700; text-decoration: underline; }
@media (max-height: 680px) {
  .pinned-image { margin-bottom: .2rem; }
  .pinned-image img { width: 2.6rem; }
  .pinned, .pinned.three, .pinned.many { margin: 0; }
  .pinned .answer, .pinned.three .answer, .pinned.many .answer { height: 2rem; }
}
</style>"""


def show(
    group: str, watched: Mapping[str, Watched], labels: Mapping[str, str], *, heading: bool = True
) -> None:
    """The images and their bars as they are now; once all has ended, at an epoch of one's choice.

    watched: by run, as `kdengine.watch` gives it. Nothing is drawn before the first epoch is complete, of segmentation,
    or of runs whose answers were not kept.
    """
    answers = {run: kdengine.runs.answers_over_epochs(run) for run in watched}
    answers = {run: each for run, each in answers.items()
               if watched[run]["history"] and len(each) and not np.isnan(each[-1]).any()}
    if not answers:
        return
    first = watched[next(iter(answers))]
    try:
        data = open_data(first["data"]["name"], first["data"]["size"])
    except KDError:  # the pictures are gone; the runs are not
        return
    learning = [run for run, each in watched.items() if each["history"]]  # as the curves are colored
    colors = dict(zip(learning, student_colors([labels[each] for each in learning]), strict=True))
    epochs = max(map(len, answers.values()))
    epoch = epochs
    if heading:
        st.subheader("Three hard test images, epoch by epoch")
    words, button = st.columns([5, 1], vertical_alignment="center")
    temperature = temperature_of(watched.values())
    how = f"{_softened(temperature)}. ↑ goes beyond the row."
    if epochs > 1 and not any(each["state"] in ACTIVE for each in watched.values()):
        # Of more epochs, once a run went on, it is another slider: it opens at the last.
        key = f"epoch {group} {epochs}"
        epoch = words.slider(f"Answers after this epoch{how}", 1, epochs, _linked(EPOCH, 1, epochs, epochs), key=key,
                             persist_state="session", on_change=_keep, args=(EPOCH, key, epochs))
    else:
        words.caption(f"Answers after epoch {epoch}{how}")
    teacher = _teacher(answers, watched)
    among = min(each.shape[1] for each in answers.values())
    reference = first["teacher"]["reference"] if first["teacher"] else ""
    images = _chosen(group, reference, among, data.digest, button)

    def rows(index: int, picture: Any, truth: int) -> list[tuple[str, str, np.ndarray]]:
        drawn = []
        if teacher:
            drawn.append(("Teacher", TEACHER, answer(teacher, data, index, picture, temperature)))
        for run, each in answers.items():
            logits = each[min(epoch, len(each)) - 1, index]
            if not np.isnan(logits).any():  # as of epochs that went by before answers were kept
                drawn.append((labels[run], colors[run], softened(logits, temperature)))
        return drawn

    _draw(data, images, rows)


def temperature_of(watched: Iterable[Mapping[str, Any]]) -> float:
    """The T at which a group's answers are shown: that of its students, the middle one where they differ."""
    temperatures = sorted(each["configuration"]["hyperparameters"]["temperature"] for each in watched
                          if each["configuration"]["method"] == "kd") or [1.0]
    return temperatures[len(temperatures) // 2]


def preview(data: DataSet, teacher: str, temperature: float) -> None:
    """The images before anybody has learned: what their labels say, and the teacher's softened answers."""
    words, button = st.columns([5, 1], vertical_alignment="center")
    words.caption(f"Three test images that the teacher finds hard: its answers{_softened(temperature)}, and the label, "
                  "which goes beyond its row (↑).")
    images = _chosen("preview", teacher, len(data.test), data.digest, button)

    def rows(index: int, picture: Any, truth: int) -> list[tuple[str, str, np.ndarray]]:
        return [("Teacher", TEACHER, answer(teacher, data, index, picture, temperature)),
                ("Label", RIGHT, np.eye(len(data.classes))[truth])]

    _draw(data, images, rows)


def first_image(data: DataSet, group: str, teacher: str) -> int:
    """The number of the first of the images that are shown."""
    order = _hard(teacher, len(data.test), data.digest)
    return order[st.session_state.get(f"pinned {group}", _linked(PICTURES, 0, len(order) - 1, 0)) % len(order)]


def _softened(temperature: float) -> str:
    return f", softened at T = {temperature:g}" if temperature != 1 else ""


def _draw(
    data: DataSet, images: Sequence[int], rows: Callable[[int, Any, int], list[tuple[str, str, np.ndarray]]]
) -> None:
    """Each image with its rows of bars below it."""
    for column, index in zip(st.columns(len(images), gap="large"), images, strict=True):
        picture, truth = kdengine.data.example(data, index)
        drawn = rows(index, picture, truth)
        column.html(_heading(picture, index, data.classes[truth]) + bars(drawn, data.classes, truth))


def _heading(picture: Any, index: int, truth: str) -> str:
    """The picture beside what it is, as HTML: it never takes a second line."""
    small = picture.copy()
    small.thumbnail((_SIDE, _SIDE))
    form = "PNG" if max(picture.size) <= _SIDE else "JPEG"  # a photograph as PNG is ten times as large
    return (f'<div class="pinned-image"><img src="{inline(small, form)}" alt="Test image {index}">'
            f"<span><b>{escape(truth)}</b>, test image {index}</span></div>")


def answer(reference: str, data: DataSet, index: int, picture: Any, temperature: float) -> np.ndarray:
    """A network's softened answer to a test image, [C]."""
    return softened(logits(reference, data.digest, index, picture), temperature)


@st.cache_data(max_entries=256, show_spinner=False)
def logits(reference: str, digest: str, index: int, _picture: Any) -> list[float]:
    """A network's logits for a test image, [C]. digest: of its data set."""
    del digest, index
    return kdengine.predict(open_network(reference), _picture)["logits"]


def bars(rows: Sequence[tuple[str, str, np.ndarray]], classes: Sequence[str], truth: int) -> str:
    """The answers as HTML, one above the other, in one scale: name, color, and a share for each class.

    The first row, the teacher's where there is one, sets the scale and stands still; what goes beyond ends in an arrow.
    Of many classes those ten are shown that it finds likeliest, the true one among them.
    """
    if not rows:
        return _STYLE
    order = sorted(np.argsort(-rows[0][2], kind="stable")[:_MOST_CLASSES].tolist())
    if truth not in order:
        order[-1] = truth
    drawn, full = [], min(1.0, _HEADROOM * float(rows[0][2].max()))
    style = {1: "pinned", 2: "pinned", 3: "pinned three"}.get(len(rows), "pinned many")  # all on one screen
    for name, color, shares in rows:
        said = {each: f"{escape(classes[each])}: {percent(float(shares[each]))}" for each in order}
        columns = "".join(
            f'<div class="class" title="{said[each]}">'
            f'<div class="bar{" beyond" if shares[each] > full else ""}" '
            f'style="height:{75 * min(1.0, shares[each] / full):.1f}%;background:{color};color:{upon(color)}"></div>'
            f'<div{" class=truth" if each == truth else ""}>{escape(classes[each][:6])}</div></div>' for each in order)
        drawn.append(f'<div class="{style}"><div class="who" style="color:{ink(color)}">{escape(name)}</div>'
                     f'<div class="answer" role="img" aria-label="{", ".join(said.values())}">{columns}</div></div>')
    return _STYLE + "".join(drawn)


def softened(logits: Sequence[float] | np.ndarray, temperature: float) -> np.ndarray:
    """Softmax of logits at a temperature, [C]."""
    scaled = np.asarray(logits, dtype=float) / temperature
    shares = np.exp(scaled - scaled.max())
    return shares / shares.sum()


def _chosen(group: str, teacher: str, among: int, digest: str, place: Any) -> list[int]:
    """The images that are shown: those hardest for the teacher, then, at a press, the next three."""
    key = f"pinned {group}"
    order = _hard(teacher, among, digest)
    start = st.session_state.setdefault(key, _linked(PICTURES, 0, len(order) - 1, 0)) % len(order)
    # A callback runs before the page does; what stands above names the images too.
    place.button("Others", key=f"others {group}", width="stretch", on_click=_next, args=(key, len(order)),
                 help="The next three, from the one on which the teacher is least certain.")
    return [order[(start + each) % len(order)] for each in range(min(SHOWN, len(order)))]


def _next(key: str, images: int) -> None:
    st.session_state[key] = (st.session_state[key] + SHOWN) % images
    _keep(PICTURES, key, 0)


def forget() -> None:
    """Take what was chosen here out of the link: another group is to be shown."""
    for name in (PICTURES, EPOCH):
        st.query_params.pop(name, None)


def _keep(name: str, key: str, usual: int) -> None:
    """Put a choice into the link, unless it is the usual one."""
    value = st.session_state[key]
    if value == usual:
        st.query_params.pop(name, None)
    else:
        st.query_params[name] = str(value)


def _linked(name: str, low: int, high: int, usual: int) -> int:
    """A choice as the link has it; what makes no sense there is the usual one."""
    text = st.query_params.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and low <= int(text) <= high else usual


@st.cache_data(max_entries=16, show_spinner=False)
def _hard(teacher: str, among: int, digest: str) -> list[int]:
    del digest  # of the data: other images have other hard ones
    return kdengine.runs.hard_examples(teacher, among) or list(range(among))


def _teacher(answers: Mapping[str, Any], watched: Mapping[str, Watched]) -> str | None:
    """The reference under which the runs' teacher opens; None where there is none, or it does not open."""
    for run in answers:
        reference = kdengine.runs.teacher_of(run, watched[run]) if watched[run]["teacher"] else None
        if reference:
            try:
                open_network(reference)
            except KDError:
                return None
            return reference
    return None
