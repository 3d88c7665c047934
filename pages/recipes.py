"""Recipes: the lab experiments, each run at a press, with its table, figures and report."""

import time

import streamlit as st

import kdengine
from explorer import downloads, forms
from explorer.recipes import own_sweep
from explorer.wording import as_text, error_text, show_error
from kdengine import KDError
from kdengine.measures.uncertainty import SEEDS_FOR_A_METHOD
from kdengine.runs.records import ACTIVE, FAILED, FINISHED

SECONDS_BETWEEN_LOOKS = 1.0


@st.cache_data(max_entries=1, show_spinner=False)
def recipes() -> dict[str, dict]:
    """The recipes by name."""
    return {each["name"]: each for each in kdengine.recipes.list_recipes()}


@st.cache_resource(max_entries=16, show_spinner="Measuring and drawing …")
def results_of(_plan: kdengine.recipes.Plan, identity: str, runs: tuple[str, ...]) -> dict:
    """What a plan shows, once for the same finished runs. A resource: charts need not be copied."""
    del identity, runs
    return kdengine.recipes.recipe_results(_plan)


@st.cache_data(max_entries=8, show_spinner="Writing the report …")
def report_of(_plan: kdengine.recipes.Plan, identity: str, runs: tuple[str, ...]) -> dict:
    """The report, once for the same finished runs."""
    del identity, runs
    return kdengine.recipes.recipe_report(_plan)


@st.cache_resource(max_entries=4, show_spinner=False)
def earlier_results(name: str) -> list[dict]:
    """What was measured earlier. A resource: charts need not be copied."""
    return kdengine.recipes.earlier_results(name)


def choose() -> tuple[str, str, int]:
    """Recipe, scale and seeds."""
    by_name = recipes()
    left, middle, right = st.columns([3, 2, 1])
    name = left.selectbox("Experiment", list(by_name), key="recipe", bind="query-params",
                          format_func=lambda each: by_name[each]["title"])
    with middle:
        scale = st.segmented_control("Scale", list(by_name[name]["scales"]), default="quick", required=True,
                                     key="scale", bind="query-params", format_func=str.capitalize)
    with right:
        seeds = forms.linked_number("Seeds", 1, 20, 1, "seeds",
                                    help=f"Students trained of each kind. From {SEEDS_FOR_A_METHOD} on, the table may "
                                         "say that a method is better; fewer speak of these networks alone.")
    return name, scale, seeds


def describe(name: str, scale: str, seeds: int) -> None:
    """What it asks and what it trains."""
    recipe = recipes()[name]
    about = recipe["scales"][scale]
    parts = about["parts"]
    taught = [part for part in parts if part["teacher"]]
    count = len(parts) + (seeds - 1) * len(taught)
    share = f"{about['share']:.0%} of " if about["share"] < 1 else ""
    st.subheader(recipe["question"])
    labels = about["labels_per_class"]
    label_sentence = f" The students read {labels} labels per class, the teacher all." if labels else ""
    st.markdown(f"**{scale.capitalize()}**: {about['about']}. {count} networks on {share}`{about['data']}`, "
                f"{about['epochs']} epochs.{label_sentence}")
    with st.expander(f"What it trains: {len(parts)} networks" + (f", students {seeds} times" if seeds > 1 else "")):
        st.dataframe(
            [{"Network": part["label"], "Architecture": part["network"], "Method": part["method"],
              "Teacher": part["teacher"] or (part["start"] and f"starts from {part['start']}")} for part in parts],
            hide_index=True, width="stretch", placeholder="–",
        )


def live(plan: kdengine.recipes.Plan, was_running: bool) -> None:
    """Progress and the buttons, as it is now; asks for a whole rerun when a network has finished or all has ended."""
    watched = kdengine.recipes.progress(plan)
    networks = watched["networks"]
    done = finished(networks)
    bar, button = st.columns([5, 1], vertical_alignment="center")
    if watched["running"]:
        active = [each for each in networks if each["state"] in ACTIVE]
        part = sum(each["epoch"] / each["epochs"] for each in active)
        labels = list(dict.fromkeys(each["label"] for each in active))
        now = ", ".join(labels[:4]) + (f" and {len(labels) - 4} more" if len(labels) > 4 else "") or "a moment …"
        bar.progress((len(done) + part) / len(networks), f"{len(done)} of {len(networks)} networks trained · {now}")
        if button.button("Stop", width="stretch"):
            try:
                kdengine.recipes.stop(plan)
            except KDError as error:
                st.toast(error_text(error))
            else:
                st.toast("Stopping. What is trained is kept; starting again goes on from there.")
    else:
        if len(done) == len(networks):
            bar.success(f"All {len(networks)} networks are trained. `{plan.command}`")
        else:
            begun = any(each["run"] for each in networks)
            text = f"{len(done)} of {len(networks)} networks trained." if begun else "Nothing trained yet."
            bar.progress(len(done) / len(networks), f"{text} On the command line: `{plan.command}`")
            if button.button("Continue" if begun else "Run", type="primary", width="stretch"):
                try:
                    kdengine.recipes.start(plan)
                except KDError as error:
                    st.toast(error_text(error))
                st.rerun()
        for each in networks:
            if each["state"] == FAILED:
                st.error(f"{each['label']}, seed {each['seed']}, failed: {as_text(each['reason'] or '')}")
        if watched["log"] and len(done) < len(networks):
            with st.expander("Log"):
                st.code(watched["log"], language=None)
    if was_running and (not watched["running"] or tuple(done) != st.session_state.get("shown")):
        st.rerun()


def finished(networks: list[dict]) -> list[str]:
    """The ids of the finished runs."""
    return [each["run"] for each in networks if each["state"] == FINISHED]


def tell(results: dict) -> None:
    """Table, observations and figures, of runs or of a report."""
    st.subheader("Table")
    st.dataframe(results["table"], hide_index=True, width="stretch", alt="The networks and what they scored")
    st.caption(results["reading"])
    st.subheader("Observations")
    st.markdown("\n".join(f"- {as_text(each)}" for each in results["remarks"]))
    st.subheader("Figures")
    columns = st.columns(2, gap="large")
    for place, (caption, chart) in enumerate(results["figures"].items()):
        with columns[place % 2]:
            st.altair_chart(chart, width="stretch")
            st.caption(caption)


def show_earlier(name: str) -> None:
    """The reports of this experiment that came with the program, one behind each line."""
    for report in earlier_results(name):
        when = time.strftime("%B %Y", time.gmtime(report["created"]))
        with st.expander(f"Measured earlier: {as_text(report['setting'])}"):
            st.caption(f"{when}, on {as_text(report['device'])}. Run it yourself: `{report['command']}`")
            if report["printed"]:
                st.subheader("As lab sheets print it")
                st.dataframe(report["printed"], hide_index=True, width="stretch")
                st.caption(report["apart"])
            tell(report)
            st.download_button("Download this report", report["html"], f"{report['name']}.html", "text/html",
                               key=f"earlier-{report['name']}")


def show(plan: kdengine.recipes.Plan, runs: tuple[str, ...]) -> None:
    """What was trained here: table, observations, figures, heat maps and the report."""
    results = results_of(plan, plan.identity, runs)
    tell(results)
    if results["gallery"]:
        st.subheader(results["gallery_title"])
        st.html(results["gallery"])
        st.caption(results["gallery_caption"])
    st.subheader("Lab report")
    left, right, note = st.columns([1, 1, 3], vertical_alignment="center")
    name = f"{plan.recipe.name}-{plan.scale}-{plan.seeds}"
    left.download_button("Download HTML", lambda: report_of(plan, plan.identity, runs)["html"],
                         f"{name}.html", "text/html", width="stretch")
    right.download_button("Download Markdown", lambda: report_of(plan, plan.identity, runs)["markdown"],
                          f"{name}.md", "text/markdown", width="stretch")
    note.caption("Hardware, versions, data, settings, tables, figures and formulas, from the runs' own records.")


def follow(plan: kdengine.recipes.Plan) -> None:
    """How far a plan is, its buttons, and what it has come to."""
    try:
        watched = kdengine.recipes.progress(plan)
        runs = tuple(finished(watched["networks"]))
        st.session_state["shown"] = runs
        st.fragment(live, run_every=SECONDS_BETWEEN_LOOKS if watched["running"] else None)(plan, watched["running"])
        if runs:
            show(plan, runs)
    except KDError as error:
        show_error(error)


heading, choice = st.columns([1, 3], vertical_alignment="bottom")
heading.title("Recipes")
if own_sweep.chosen(choice):
    if own := own_sweep.choose():
        follow(own)
else:
    name, scale, seeds = choose()
    describe(name, scale, seeds)
    show_earlier(name)
    if downloads.present(recipes()[name]["scales"][scale]["data"]):
        follow(kdengine.recipes.plan(name, scale, seeds))
