"""Recipes: the lab experiments. What was measured earlier, and then one's own: run at a press, with its report."""

import streamlit as st

import kdengine
from explorer.recipes import choose, earlier, live, results
from explorer.wording import show_error

st.title("Recipes")
name = choose.experiment()
way = st.empty()
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
way.caption(f"[Run it yourself](#{choose.ANCHOR})" + (f" · [what came out here](#{results.ANCHOR})" if runs else ""))
