"""Methods: the shelf of distillation methods by what is matched, and all that is known of the chosen one."""

import re

import streamlit as st

import kdengine
from explorer.flows import drawing
from explorer.pages import file
from explorer.symbols import legend
from explorer.wording import as_text
from kdengine.runs.records import FINISHED

OPENING = "kd"
NO_TEACHER = "No teacher"


@st.cache_data(max_entries=1, show_spinner="Opening the shelf …")
def shelf() -> dict[str, dict]:
    """The methods by name."""
    return {each["name"]: each for each in kdengine.list_methods()}


@st.cache_data(max_entries=64, show_spinner=False)
def anatomy(name: str) -> dict:
    """What is inside a method."""
    return kdengine.method_anatomy(name)


@st.cache_data(max_entries=64, show_spinner="Looking for what was measured …")
def measured(name: str, runs: tuple[tuple[str, str | None], ...]) -> list[dict[str, str]]:
    """What was measured with a method, once for the same finished runs of the same names."""
    del runs
    return kdengine.recipes.measured(name)


def kind_of(name: str) -> str:
    """What a method matches, as the shelf calls it."""
    kind = shelf()[name]["matches"]
    return NO_TEACHER if kind == "nothing" else kind.capitalize()


def choose() -> str:
    """The method that the link names: by its kind, then by its title."""
    linked = st.query_params.get("method", OPENING)
    name = linked if linked in shelf() else OPENING
    kinds: dict[str, list[str]] = {}
    for each in shelf():
        kinds.setdefault(kind_of(each), []).append(each)
    # Not bound to the link: it holds the name alone, and the kind follows from it.
    st.session_state["kind"], st.session_state["method"] = kind_of(name), name
    heading, choice = st.columns([1, 4], vertical_alignment="bottom")
    heading.title("Methods")
    choice.segmented_control("What is matched", list(kinds), key="kind", required=True, wrap=True,
                             on_change=lambda: keep(kinds[st.session_state["kind"]][0]))
    st.pills("Method", kinds[kind_of(name)], key="method", required=True, label_visibility="collapsed",
             format_func=lambda each: shelf()[each]["title"], on_change=lambda: keep(st.session_state["method"]))
    if linked != name:
        st.info(f"There is no method {as_text(linked)} on the shelf. {shelf()[name]['title']} is shown.")
    return name


def keep(name: str) -> None:
    """Put the chosen method into the link."""
    st.query_params["method"] = name


def labels(terms: dict[str, bool]) -> str:
    """Which terms of a loss read labels, in a sentence or two."""
    reading, free = (", ".join(f"`{name}`" for name, reads in terms.items() if reads == asked)
                     for asked in (True, False))
    if not free:
        return f"read by every term ({reading}). An image without a label teaches nothing."
    return f"read by {reading}. Images without a label still count in {free}." if reading else "none is read."


def linked_source(source: str) -> str:
    """A source, with each arXiv number as a link to its page."""
    return re.sub(r"arXiv (\d{4}\.\d{4,5})", r"[arXiv \1](https://arxiv.org/abs/\1)", source)


def about(method: dict) -> None:
    """What it is for, what it reads, where it is from."""
    *first, last = method["runs"]
    facts = [f"**For** {' and '.join(method['tasks'])}"]
    facts += [f"**First run**, {run['title']}: {run['summary']} **Labels**: {labels(run['terms'])}" for run in first]
    facts += [f"{'**Second run**. ' if first else ''}**Labels**: {labels(last['terms'])}",
              f"**Source**: {linked_source(method['source'])}"]
    st.markdown("\n".join(f"- {each}" for each in facts))
    for name, said in method["disagreements"].items():
        st.markdown(f"**Known disagreement** of published code, `{name}`: {said}")


def picture(method: dict) -> None:
    """What is matched, and what is trained besides the student."""
    if not method["flows"]:
        st.info("No teacher takes part: nothing flows.")
        return
    st.html(drawing(method["flows"], kind_of(method["name"]), maps=method["maps"]))
    if trained := " ".join(run["adapter"] for run in method["runs"] if run["adapter"]):
        st.caption(f"Trained besides the student, and then thrown away. {trained}")


def fields(method: dict) -> None:
    """Its hyperparameters."""
    st.subheader("Fields")
    if not method["fields"]:
        st.caption("It has none.")
        return
    st.table([{"Symbol": f"${each['symbol']}$", "Name": f"`{each['name']}`", "Usual": shown(each["default"]),
               "Allowed": each["allowed"], "What it does": each["help"]} for each in method["fields"]], hide_index=True)


def shown(value: float | str) -> str:
    """A field's value, without digits that say nothing."""
    return value if isinstance(value, str) else f"{value:,.10g}"


def results(name: str) -> None:
    """What was measured with it."""
    st.subheader("Measured with it")
    runs = tuple((run["id"], run["name"]) for run in kdengine.list_runs() if run["state"] == FINISHED)
    if rows := measured(name, runs):
        st.dataframe(rows, hide_index=True, width="stretch")
        st.caption("From: the name of a report that came with the program, see Recipes; a shipped network; or a run "
                   "here. Change: points against an independent student, equal in everything but the method. One run "
                   "says whether two networks differ on these images; *better* and *worse* take three seeds or more.")
    else:
        st.caption("Not measured here yet.")


def code(method: dict) -> None:
    """The loss as it is installed here."""
    st.subheader("The code that runs")
    st.caption(f"Its terms, then what they call. `python -m kdengine methods {method['name']}` prints the same.")
    for run in method["runs"]:
        if len(method["runs"]) > 1:
            st.markdown(f"**{run['title']}**")
        st.code("\n\n".join(f"# {each['file']}\n{each['text']}" for each in run["code"]), height=420)


def try_it(method: dict) -> None:
    """A link to Distill, where it and an independent student are chosen, on data of its task where it has one alone."""
    query = {"view": "Your own runs", "methods": list(dict.fromkeys([method["title"], shelf()["none"]["title"]]))}
    if len(method["tasks"]) == 1:
        sets = [each for each in kdengine.list_data() if each["present"] and each["task"] in method["tasks"]]
        query["data"] = sets[0]["title"]
    st.page_link(file("Distill"), label="Try it", icon=":material/play_circle:", query_params=query)


method = anatomy(choose())
with st.container(horizontal=True, vertical_alignment="center"):
    st.subheader(f"{method['title']} `{method['name']}`", width="content")
    try_it(method)
st.markdown(method["summary"])
with st.container(border=True, key="formula"):
    st.latex(method["formula"])
    st.caption(legend(method["formula"]))
left, right = st.columns([2, 3], gap="large")
with left:
    about(method)
with right:
    picture(method)
fields(method)
results(method["name"])
code(method)
