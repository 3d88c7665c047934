"""Recipes: the lab experiments. What was measured earlier, and then one's own: run at a press, with its report."""

import streamlit as st

import kdengine
from explorer.recipes import choose, earlier, live, own_sweep, results
from explorer.wording import show_error

heading, choice = st.columns([1, 3], vertical_alignment="bottom")
heading.title("Recipes")
own = own_sweep.chosen(choice)
way = st.empty()
if not own:
    way.caption(f"[Run it yourself](#{choose.ANCHOR})")  # at once: what comes in later would push the rest down
if own:
    plan = own_sweep.choose()
else:
    name = choose.experiment()
    earlier.show(name)
    st.divider()
    plan = choose.plan(name)
runs: tuple[str, ...] = ()
if plan is not None:
    try:
        runs = live.show(plan)
        if runs:
            results.show(plan, runs)
    except kdengine.KDError as error:
        show_error(error)
if runs and not own:
    way.caption(f"[Run it yourself](#{choose.ANCHOR}) · [what came out here](#{results.ANCHOR})")
