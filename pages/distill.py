"""Distill: choose a teacher, students and methods; start; watch them learn side by side."""

import time

import streamlit as st

import kdengine
from explorer import demonstration, forms, no_gain, pinned, report, training_form, unreadable
from explorer.live import BADGES, SECONDS_BETWEEN_LOOKS, estimate, show_progress, stop_button
from explorer.recipes import own_sweep
from explorer.wording import as_text, error_text, show_error
from kdengine import KDError
from kdengine.charts import accuracy_curves, term_curves
from kdengine.runs.records import ACTIVE, FAILED, FINISHED, RESUMABLE, headline, headline_name, score_text
from kdengine.runs.schema import RunData, Watched
from kdengine.runs.store import LONGEST_NAME

DEMONSTRATION, OWN = "Demonstration", "Your own runs"


def form() -> None:
    """What to train, its estimated time, and the button."""
    left, right = st.columns([2, 3], gap="large")
    with left:
        shared = training_form.choose_task()
    if shared is None:
        return
    with right:
        configurations = training_form.choose_students(shared)
        if not configurations:
            return
        try:
            kdengine.runs.check(configurations)
            if st.button("Start", type="primary", width="stretch"):
                started = kdengine.start(configurations)
                show_next(kdengine.watch(started[0])["group"])
                if st.session_state["runs first"]:
                    st.toast("Started. Its curves grow at the top of the page.")
                st.session_state["runs first"] = True
                st.rerun()
        except KDError as error:
            show_error(error)
            return
        estimate(configurations)


def show_next(group: str) -> None:
    """Have a group shown from the next run of the page on: in this one its choice may have been drawn."""
    pinned.forget()
    st.session_state["next group"] = st.query_params["group"] = group


def keep_group() -> None:
    """Put the chosen group into the link. The newest, which is shown unless one is chosen, is not in it."""
    pinned.forget()
    st.query_params["group"] = st.session_state["group"]


def title(group: list[RunData]) -> str:
    """A group in one line."""
    configuration = group[0]["configuration"]
    when = time.strftime("%d %b %H:%M", time.localtime(group[0]["created"]))
    labels = configuration["labels_per_class"] and f", {configuration['labels_per_class']} labels per class"
    names = []
    for run in group:
        method = kdengine.runs.method_title(run["configuration"]["method"], run["configuration"]["hyperparameters"])
        names.append(f"{run['name']} ({method})" if run["name"] else method)
    length = f"{configuration['epochs']} epoch{'s' if configuration['epochs'] > 1 else ''}"
    length += f", seed {configuration['seed']}" if configuration["seed"] else ""
    return (f"{when} · {configuration['data']}{labels or ''}, {length} · {configuration['student']} · "
            f"{' | '.join(names)}")


def runs_section() -> None:
    """One group of runs, live while any of it is active."""
    groups: dict[str, list[RunData]] = {}
    for run in kdengine.list_runs():
        groups.setdefault(run["group"], []).append(run)
    undo()
    if not groups:
        st.info("No runs yet. Choose above and press **Start**; the curves appear here and grow while you watch.")
        return
    for group in groups.values():
        group.sort(key=lambda run: run["id"])
    if (coming := st.session_state.pop("next group", None)) in groups:
        st.session_state["group"] = coming
    linked = st.query_params.get("group")
    if linked and linked not in groups:
        del st.query_params["group"]
        if not st.session_state.get("deleted"):
            st.info(f"The runs of the link, {as_text(linked)}, are not here. The newest ones are shown.")
    if st.session_state.get("group") not in groups:
        st.session_state["group"] = linked if linked in groups else next(iter(groups))
    titles = forms.told_apart({each: title(group) for each, group in groups.items()})
    which, tools = st.columns([6, 1], vertical_alignment="bottom")
    chosen = which.selectbox("Group of runs", list(groups), key="group", format_func=titles.__getitem__,
                             on_change=keep_group)
    active = any(run["state"] in ACTIVE for run in groups[chosen])
    with tools.popover("Edit", width="stretch"):
        edit(groups[chosen], titles[chosen], active)
    ids = [run["id"] for run in groups[chosen]]
    st.fragment(live, run_every=SECONDS_BETWEEN_LOOKS if active else None)(ids, active)
    if not active:
        conclude(chosen, groups[chosen])


def conclude(group: str, runs: list[RunData]) -> None:
    """What there is to do with a group that has ended: see why a student gained nothing, and take a report home."""
    finished = [run for run in runs if run["state"] == FINISHED]
    if not finished:
        return
    called = kdengine.runs.student_titles(finished)
    no_gain.show({called[run["id"]]: [run["id"]] for run in finished})
    ids = [run["id"] for run in runs]
    report.offer(f"distillation-{group}",
                 lambda author, discussion: kdengine.recipes.group_report(ids, author, discussion))


def edit(group: list[RunData], called: str, active: bool) -> None:
    """What of a group's runs can be changed: their names, and whether they are there."""
    names = kdengine.runs.student_titles([run | {"name": None} for run in group])
    st.caption("A name of your own, on every page")
    for run in group:
        key = f"name {run['id']}"
        st.text_input(as_text(names[run["id"]]), run["name"] or "", max_chars=LONGEST_NAME, key=key, placeholder="none",
                      on_change=rename, args=(run["id"], key))
    if active:
        st.caption("What is in training can be deleted once it is stopped.")
    else:
        st.button("Delete this run" if len(group) == 1 else f"Delete these {len(group)} runs", on_click=delete,
                  args=(called, [run["id"] for run in group]), icon=":material/delete:", width="stretch")


def rename(run: str, key: str) -> None:
    """Give a run the name that was typed."""
    try:
        kdengine.runs.rename(run, st.session_state[key])
        st.session_state["group"] = st.session_state["group"]  # else the browser goes on showing the title it had
    except KDError as error:
        st.toast(error_text(error))


def delete(called: str, runs: list[str]) -> None:
    """Take runs off the page, so that they can be brought back."""
    places = {}
    try:
        for run in runs:
            places[run] = kdengine.runs.move_aside("run", run)
    except KDError as error:
        st.toast(error_text(error))
    st.session_state["deleted"] = called, places


def undo() -> None:
    """Tell what was deleted last, and offer to bring it back."""
    called, places = st.session_state.get("deleted", ("", {}))
    if not places:
        return
    folder = as_text(str(next(iter(places.values())).parent))
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(f"Deleted: {as_text(called)}. The files are still in {folder}.", width="content")
        if st.button("Undo", icon=":material/undo:"):
            del st.session_state["deleted"]
            try:
                for run, place in places.items():
                    kdengine.runs.bring_back(run, place)
            except KDError as error:
                show_error(error)
            else:
                show_next(kdengine.watch(next(iter(places)))["group"])
                st.rerun()


def live(ids: list[str], was_active: bool) -> None:
    """The group as it is now; asks for a whole rerun once it has ended, which ends the polling."""
    try:
        watched = {run: kdengine.watch(run) for run in ids}
    except KDError:  # removed from the command line while the page looked on
        st.rerun()
    ending = was_active and not any(each["state"] in ACTIVE for each in watched.values())
    labels = kdengine.runs.student_titles(list(watched.values()))
    teacher = next((each["teacher"] for each in watched.values() if each["teacher"]), None)
    if teacher:
        st.caption(f"Teacher {as_text(teacher['reference'])} ({as_text(teacher['architecture'])}): "
                   f"{score_text(teacher['test'])}, "
                   f"{teacher['parameters']:,} parameters.")
    show_progress(list(watched.values()))
    hold = st.empty()  # in its place also while there is no button: what is below stays where it is
    if paused := [run for run, each in watched.items() if each["paused"]]:
        hold.button("Go on", on_click=kdengine.runs.go_on, args=(paused,), type="primary")
    for run, each in watched.items():
        show_run(run, each, labels[run])
    if done := [run for run, each in watched.items() if each["state"] == FINISHED]:
        own_sweep.offer(done)
    histories = {labels[run]: each["history"] for run, each in watched.items() if each["history"]}
    if histories:
        accuracy, terms = st.columns(2)
        # Without a line here the charts' own buttons would cover Stop.
        accuracy.caption("Right on the validation images")
        terms.caption("What they minimise, term by term")
        epochs = max(each["configuration"]["epochs"] for each in watched.values())
        accuracy.altair_chart(
            accuracy_curves(histories, headline(teacher["validation"]) if teacher else None, epochs=epochs),
            width="stretch")
        terms.altair_chart(term_curves(histories, epochs), width="stretch")
    pinned.show(next(iter(watched.values()))["group"], watched, labels)
    if ending:
        st.rerun()


def show_run(run: str, watched: Watched, name: str) -> None:
    """A run's state, score and buttons in one row."""
    row = st.container(key=f"run-{run}")
    what, score, button = row.columns([3, 4, 1], vertical_alignment="center")
    word, color = ("Paused", "orange") if watched["paused"] else BADGES[watched["state"]]
    what.markdown(f"**{as_text(name)}** :{color}-badge[{word}]")
    if watched["state"] == FINISHED:
        test = watched["result"]["test"]
        score.markdown(f"Test {headline_name(test)} **{headline(test):.2%}** on {test['n']} images, last epoch")
    elif watched["history"]:
        last = watched["history"][-1]
        scores = last["validation"]
        score.markdown(f"Epoch {last['epoch']}: validation {headline_name(scores)} {headline(scores):.2%}")
    if watched["status"]["reason"]:
        score.caption(as_text(watched["status"]["reason"]))
    try:
        if watched["state"] in ACTIVE:
            stop_button(button, [run])
        if watched["state"] in RESUMABLE and button.button(
                "Resume", key=f"resume {run}", width="stretch"):
            kdengine.resume([run])
            st.rerun()
    except KDError as error:  # it ended, or another tab was quicker, between the drawing and the click
        st.info(error_text(error))
    if watched["state"] == FAILED and watched["log"]:
        with row.expander("What the worker printed"):
            st.code(watched["log"], language=None)


heading, choice = st.columns([1, 3], vertical_alignment="bottom")
heading.title("Distill")
view = choice.segmented_control("What to train", [DEMONSTRATION, OWN], default=DEMONSTRATION, required=True,
                                key="view", bind="query-params", label_visibility="collapsed")
if view == DEMONSTRATION:
    demonstration.show()
else:
    # Who has just started something, or follows a link to it, wants to see it without scrolling.
    runs_first = st.session_state.setdefault("runs first", "group" in st.query_params)
    first, second = (runs_section, form) if runs_first else (form, runs_section)
    first()
    st.divider()
    second()
unreadable.show()
