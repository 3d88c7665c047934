"""The live demonstration: guess, watch an independent and a distilled student learn, hold the truth beside the guess.

Digits with few labels: the independent student has these and nothing else, the teacher answers every picture. Which
group is shown, and what was guessed of it, stands in the link as `demo` and `guess`. The controls' names there begin
with `demo` too, so that what is set here does not concern somebody's own runs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

import streamlit as st

import kdengine
from explorer import families, forms, live, pinned, spoken
from explorer.networks import open_data
from explorer.questions import ALONE, COMPARED, QUESTIONS, TAUGHT, Question, Settings, premise
from explorer.wording import as_text, show_error
from kdengine import KDError
from kdengine.charts import accuracy_curves
from kdengine.colors import ink, student_colors
from kdengine.configuration import Configuration
from kdengine.runs.records import ACTIVE, FINISHED, RESUMABLE, headline
from kdengine.runs.schema import Watched

DATA, TEACHER, STUDENT = "digits", "digits-teacher", "resnet8"
EPOCHS = 15
SECONDS_BETWEEN_LOOKS = 0.5
TEMPERATURES, ALPHAS, LABELS = (1, 2, 4, 8, 20), (0.0, 0.25, 0.5, 0.75, 1.0), (1, 2, 5, 10, 20, "all")
GROUP, GUESS = "demo", "guess"
"""What the link holds of a group: its name, and the guesses in its order."""
_READ = """<div style="line-height: 1.35"><div style="font-weight: 600; color: {color}">{name}</div>
<div style="font-size: 1.7rem; font-weight: 600">{right:.0f} of 100</div>
<div style="font-size: .9rem; opacity: .75">{guess}</div></div>"""


def show() -> None:
    """The whole demonstration; it takes one screen."""
    if kdengine.runs.default_teacher(DATA) != TEACHER:
        st.info("The demonstration needs the shipped teacher of digits, which is not in the checkpoints folder. "
                "`make checkpoints` trains it.")
        return
    ids = _group()
    watched = [kdengine.watch(run) for run in ids]
    active = any(each["state"] in ACTIVE for each in watched)
    question, settings = _controls(disabled=active)
    if ids:
        if _decides(each["configuration"] for each in watched) != _decides(
                map(dataclasses.asdict, _configurations(question, settings))):
            st.info("The controls ask for other students than these. Press **Again** to guess and train them.")
        st.fragment(_live, run_every=SECONDS_BETWEEN_LOOKS if active else None)(ids, active)
    else:
        _guess(question, settings)


def _decides(configurations: Iterable[Mapping[str, Any]]) -> list[tuple]:
    """The part of a group's configurations that the controls decide."""
    names = ("method", "hyperparameters", "labels_per_class", "seed")
    return [tuple(each[name] for name in names) for each in configurations]


def _group() -> list[str]:
    """The runs of the group that the link names, in their order; none where it is gone, or no demonstration's."""
    runs = [run for run in kdengine.list_runs() if run["group"] == st.query_params.get(GROUP)]
    configurations = [run["configuration"] for run in runs]
    ours = all(each["data"] == DATA and each["method"] in ("kd", "none") for each in configurations) and (
        any(each["method"] == "kd" for each in configurations))
    return sorted(run["id"] for run in runs) if ours else []


def _controls(disabled: bool) -> tuple[Question, Settings]:
    asks, temperature, alpha, labels, seed = st.columns([3, 2, 2, 2, 1.3], vertical_alignment="bottom")
    question = QUESTIONS[asks.selectbox("Question", list(QUESTIONS), key="question", bind="query-params",
                                        disabled=disabled)]

    def slider(place: Any, label: str, options: Sequence[Any], usual: Any, key: str, help: str) -> Any:
        if question.varies == key:
            place.text_input(label, ", ".join(f"{each:g}" for each in COMPARED[key]), disabled=True, help=help)
            return usual
        return place.select_slider(label, options, usual, key=f"demo {key}", bind="query-params", help=help,
                                   format_func=lambda each: f"{each:g}" if isinstance(each, float) else str(each),
                                   disabled=disabled, persist_state="session")

    settings = Settings(
        slider(temperature, "Temperature T", TEMPERATURES, 4, "temperature",
               "Divides the logits before the softmax: a high T shows what the teacher thinks of the wrong classes."),
        slider(alpha, "Teacher's share alpha", ALPHAS, 1.0, "alpha",
               "0: the labels alone. 1: the teacher's answers alone, no label is read."),
        slider(labels, "Labels per digit", LABELS, 5, "labels",
               "So many pictures of each digit keep their label; the others lose it. Half of what the students see in "
               "an epoch has a label: where these are few, each of them is seen more often."),
        _seed(seed, disabled),
    )
    return question, dataclasses.replace(settings, labels=None if settings.labels == "all" else settings.labels)


def _seed(place: Any, disabled: bool) -> int:
    with place:
        return forms.linked_number("Seed", 0, 2**31, 0, "demo seed", disabled=disabled,
                                   help="Drives the first weights and the order of the pictures.")


def _configurations(question: Question, settings: Settings) -> list[Configuration]:
    return [
        kdengine.Configuration(data=DATA, student=STUDENT, teacher=TEACHER, method=method, hyperparameters=dict(fields),
                               epochs=EPOCHS, seed=settings.seed, labels_per_class=settings.labels)
        for method, fields in question.students(settings).values()
    ]


def _guess(question: Question, settings: Settings) -> None:
    """Before anything trains: what will be compared, a guess, and the button."""
    words, images = st.columns([2, 3], gap="large")
    data = open_data(DATA)
    named = question.students(settings)
    with words:
        st.markdown(premise(question, settings, len(data.train)))
        st.markdown("**Guess first.** Of 100 new digits, how many will each read?")
        for name in named:
            st.slider(name, 0, 100, 50, key=f"guess {name}", persist_state="session", on_change=_guessed, args=(name,))
        configurations = _configurations(question, settings)
        if st.button("Start", type="primary", width="stretch"):
            try:
                ids = kdengine.start(configurations)
            except KDError as error:
                show_error(error)
            else:
                group = kdengine.watch(ids[0])["group"]
                st.session_state[f"pinned {group}"] = st.session_state.get("pinned preview", 0)
                st.query_params.update({GROUP: group, GUESS: ",".join(
                    str(st.session_state[f"guess {name}"]) if f"guessed {name}" in st.session_state else ""
                    for name in named)})
                st.rerun()
        live.estimate(configurations)
    with images:
        pinned.preview(data, TEACHER, 4.0 if question.varies == "temperature" else settings.temperature)


def _guessed(name: str) -> None:
    """Note that a slider was moved: where one stands at the start is nobody's guess."""
    st.session_state[f"guessed {name}"] = True


def _live(ids: Sequence[str], was_active: bool) -> None:
    """The group as it is now; asks for a whole rerun once it has ended."""
    try:
        watched = {run: kdengine.watch(run) for run in ids}
    except KDError:  # removed meanwhile
        st.rerun()
    if was_active and not any(each["state"] in ACTIVE for each in watched.values()):
        st.rerun()
    names = _names(list(watched.values()))
    spoken.status(_said(watched, names))
    if all(each["state"] == FINISHED for each in watched.values()):
        _truth(watched, names)
    else:
        _buttons(watched)
    curves, images = st.columns([2, 3], gap="large")
    first = next(iter(watched.values()))
    with curves:
        histories = {names[run]: each["history"] for run, each in watched.items() if each["history"]}
        teacher = first["teacher"]
        if teacher:
            st.caption(f"Right on {teacher['validation']['n']} validation images; dashed: the teacher.")
        if any(each["state"] in ACTIVE for each in watched.values()):
            # The mouse rests where Start was, and the chart's own buttons would cover the progress above it.
            st.html('<style>[data-testid="stElementToolbar"] { display: none; }</style>')
        st.altair_chart(
            accuracy_curves(histories or {name: [] for name in names.values()},
                            headline(teacher["validation"]) if teacher else None, epochs=EPOCHS),
            width="stretch")
        for each in watched.values():
            if each["status"]["reason"]:
                st.caption(as_text(each["status"]["reason"]))
                break
    with images:
        if all(each["history"] for each in watched.values()):
            pinned.show(first["group"], watched, names, heading=False)
        else:
            pinned.preview(open_data(DATA), TEACHER, pinned.temperature_of(watched.values()))


def _names(watched: Sequence[Watched]) -> dict[str, str]:
    """What the students of a group are called, by run: of one method, by what sets them apart."""
    title = kdengine.runs.method_title("kd")
    return {run: ALONE if name == kdengine.runs.method_title("none") else TAUGHT if name == title
            else name.removeprefix(f"{title}, ") for run, name in kdengine.runs.student_titles(watched).items()}


def _said(watched: Mapping[str, Watched], names: Mapping[str, str]) -> str:
    """How the group stands, in a sentence that changes only when something has happened."""
    if all(each["state"] == FINISHED for each in watched.values()):
        read = ", ".join(f"{names[run]} {100 * each['result']['test']['top1']:.0f}" for run, each in watched.items())
        return f"All have learned. Of 100 test digits they read: {read}."
    epoch = min(each["status"]["epoch"] for each in watched.values())
    active = [each for each in watched.values() if each["state"] in ACTIVE]
    if active and not all(each["paused"] for each in active):
        return "The students learn."
    return f"The students {'wait' if active else 'were stopped'} after epoch {epoch}."


def _buttons(watched: dict[str, Watched]) -> None:
    """How far the group is, and what can be done with it."""
    ids = [run for run, each in watched.items() if each["state"] in ACTIVE]
    bar, hold, one, end = st.columns([6, 1.3, 1.3, 1.3], vertical_alignment="center")
    epoch = min(each["status"]["epoch"] for each in watched.values())
    try:
        if ids:
            with bar:
                live.show_progress([watched[run] for run in ids])
            if all(watched[run]["paused"] for run in ids):
                hold.button("Go on", on_click=kdengine.runs.go_on, args=(ids,), type="primary", width="stretch")
            else:
                hold.button("Pause", on_click=kdengine.runs.pause, args=(ids,), width="stretch")
            # Never disabled: Streamlit takes a click on a button that was disabled a moment ago for a forged one.
            one.button("One epoch", on_click=kdengine.runs.pause, args=(ids,), width="stretch")
            live.stop_button(end, ids)
            return
        rest = [run for run, each in watched.items() if each["state"] in RESUMABLE]
        with bar.container(horizontal=True, vertical_alignment="center"):
            st.markdown(f"Stopped after epoch **{epoch} of {EPOCHS}**.", width="content")
            if st.button("Again"):  # not where Stop was: a second click would throw the run off the screen
                _again()
        if hold.button("Resume", type="primary", width="stretch"):
            kdengine.resume(rest)
            st.rerun()
        if one.button("One epoch", width="stretch"):
            kdengine.resume(rest)
            kdengine.runs.pause(rest, epoch + 1)
            st.rerun()
    except KDError as error:  # it ended, or another tab was quicker
        show_error(error)


def _again() -> None:
    pinned.forget()
    for key in (GROUP, GUESS):
        st.query_params.pop(key, None)
    st.rerun()


def _truth(watched: dict[str, Watched], names: dict[str, str]) -> None:
    """What the students read of the test digits, beside the guess; and where to go from here."""
    guesses = _guesses(len(watched))
    *numbers, links = st.columns([1.5] * len(watched) + [4], vertical_alignment="center")
    colors = student_colors([names[run] for run in watched])
    for place, (run, each) in enumerate(watched.items()):
        right = 100 * each["result"]["test"]["top1"]
        guess = f"you guessed {guesses[place]}" if guesses[place] else ""
        numbers[place].html(_READ.format(color=ink(colors[place]), name=escape(names[run]), right=right, guess=guess))
    ids = list(watched)
    group = watched[ids[0]]["group"]
    *_, taught = (run for run, each in watched.items() if each["configuration"]["method"] == "kd")
    image = pinned.first_image(open_data(DATA), group, TEACHER)
    network_names = families.names(kdengine.runs.families()[DATA])
    hyperparameters = watched[taught]["configuration"]["hyperparameters"]
    with links:
        st.markdown(_verdict(tuple(ids), watched))
        with st.container(horizontal=True, vertical_alignment="center"):
            st.page_link("../pages/compare.py", label="Compare these", icon=":material/compare:",
                         query_params=families.link(DATA, TEACHER, ids, image),
                         help=f"On test image {image}, with heat maps, as they are after the last epoch.")
            st.page_link("../pages/temperature.py", label="Its soft targets", icon=":material/thermostat:",
                         help=f"Of {names[taught]} after its last epoch, beside the teacher's, on test image {image}.",
                         query_params={"student_network": network_names[taught],
                                       "example": str(image), "T": f"{hyperparameters['temperature']:g}"})
            st.download_button("Report", lambda: kdengine.recipes.group_report(ids)["html"],
                               f"distillation-{group}.html", "text/html", icon=":material/description:",
                               on_click="ignore")
            if st.button("Again", icon=":material/replay:"):
                _again()


def _guesses(students: int) -> list[str]:
    """What was guessed of each student, as the link has it; empty where nothing was.

    All are empty where the link's value is none of this page's.
    """
    guesses = st.query_params.get(GUESS, "").split(",")
    fine = len(guesses) == students and all(
        not each or (each.isascii() and each.isdigit() and int(each) <= 100) for each in guesses)
    return guesses if fine else [""] * students


@st.cache_data(max_entries=16, ttl=60, show_spinner=False)
def _rows(ids: tuple[str, ...]) -> list[dict[str, Any]]:
    return [row for row in kdengine.runs.results_table() if row["name"] in ids]


def _verdict(ids: tuple[str, ...], watched: dict[str, Watched]) -> str:
    """What may be said of the numbers, in one or two sentences."""
    tests = [each["result"]["test"] for each in watched.values()]
    names = _names(list(watched.values()))
    shares = ", ".join(f"{name} {test['top1']:.2%}" for name, test in zip(names.values(), tests, strict=True))
    said = f"{shares} of {tests[0]['n']} test images right; one run each."
    judged = [row for row in _rows(ids) if row["change"] is not None]
    if not any(each["configuration"]["method"] == "none" for each in watched.values()):
        verdicts = kdengine.runs.judge([(each, ids[0]) for each in ids[1:]])
        against = [f"{names[each]} {100 * judged['change']:+.1f} points, {judged['text']}"
                   for each, judged in zip(ids[1:], verdicts, strict=True)]
        return as_text(f"{said} Against {names[ids[0]]}, on these images: {'; '.join(against)}.")
    for row in judged:
        verb = "" if row["verdict"].startswith("differ") else "are "
        said += f" {100 * row['change']:+.1f} points: on these images the two {verb}{row['verdict']}."
    return as_text(said)
