"""A page as a lecturer shows it: larger, without the menu, with chosen controls hidden. All of it is in the link."""

from __future__ import annotations

import re

import streamlit as st

HIDE, PRESENT = "hide", "present"
"""In the link: the controls that are hidden, by the names Streamlit gives them on the page; whether one presents."""
LARGER = 1.4
FOOT = "foot"
"""The key of the line below every page."""

_mount = st.components.v2.component(
    "hidden_controls",
    html='<fieldset><legend>Hide on this page</legend><div class="controls"></div></fieldset>',
    css="""
fieldset { border: none; margin: 0; padding: 0; color: var(--st-text-color); font-family: var(--st-font); }
legend { padding: 0 0 .3rem; }
label { display: flex; gap: .5rem; align-items: baseline; padding: .15rem 0; }
""",
    js=f"""
const FOOT = "{FOOT}", HIDE = "{HIDE}";
"""
    """
export default function ({ parentElement, setStateValue }) {
  const main = document.querySelector('[data-testid="stMain"]');
  const controls = parentElement.querySelector(".controls");
  const draw = () => list(main, controls, (hidden) => setStateValue("hidden", hidden));
  const observer = new MutationObserver(draw); // a page that is still being drawn has more controls a moment later
  observer.observe(main, { childList: true, subtree: true });
  draw();
  return () => observer.disconnect();
}

function list(main, controls, tell) {
  const names = new Map();
  for (const node of main.querySelectorAll('[class*="st-key-"]')) {
    if (node.parentElement.closest('[data-testid="stMain"] [class*="st-key-"]')) continue; // goes with what holds it
    if (node.classList.contains(`st-key-${FOOT}`)) continue;
    for (const kind of node.classList) {
      const text = (node.querySelector("label, summary, button, legend") ?? node).textContent.trim();
      if (kind.startsWith("st-key-") && text) names.set(kind.slice("st-key-".length), short(text));
    }
  }
  const drawn = JSON.stringify([...names]);
  if (controls.drawn === drawn) return; // else a box would be replaced under the hand that ticks it
  controls.drawn = drawn;
  const linked = new Set(new URLSearchParams(location.search).getAll(HIDE));
  controls.replaceChildren(...[...names].map(([name, text]) => {
    const label = document.createElement("label");
    const box = document.createElement("input");
    box.type = "checkbox";
    box.checked = linked.has(name);
    box.dataset.name = name;
    box.onchange = () => tell([...controls.querySelectorAll("input:checked")].map((each) => each.dataset.name));
    label.append(box, text);
    return label;
  }));
}

function short(text) {
  return text.length > 60 ? `${text.slice(0, 59)}…` : text;
}
""",
)


def style() -> None:
    """Hide what the link says, and enlarge the page for who presents. Before the page runs: nothing flickers."""
    rules = [f".st-key-{name} {{ display: none; }}" for name in hidden()]
    if not presenting():
        st.query_params.pop(PRESENT, None)  # as the link of a page had it that was left before
    else:
        st.query_params[PRESENT] = "true"
        rules += ['[data-testid="stHeader"] { display: none; }',
                  f".stMainBlockContainer {{ zoom: {LARGER}; padding-top: 0.5rem; max-width: 100%; }}",
                  # What is too long for its place takes another line.
                  '[data-testid="stMainBlockContainer"] :is([data-testid="stWidgetLabel"], button) p '
                  "{ white-space: normal; overflow: visible; overflow-wrap: normal; word-break: keep-all; }",
                  # A slide has a title of its own.
                  ".stMainBlockContainer h1 { display: none; }",
                  # A chart or a grid takes its width in pixels of the window, as they are without the zoom.
                  f':is([data-testid="stVegaLiteChart"], [data-testid="stDataFrame"]) {{ zoom: {1 / LARGER:.4f}; }}',
                  '[data-testid="stVegaLiteChart"] text { font-size: 17px !important; }']
    # Always: an element that comes and goes would make all that follow anew, and close what is open.
    st.html(f"<style>{' '.join(rules) or '/* nothing hidden */'}</style>")


def presenting() -> bool:
    """Whether one presents: since a press, or as the link says."""
    return bool(st.session_state.setdefault(PRESENT, PRESENT in st.query_params))


def show() -> None:
    """Draw what a lecturer can choose; for who presents, the way back."""
    if presenting():
        st.button("Stop presenting", on_click=_present, args=(False,), type="tertiary",
                  icon=":material/close_fullscreen:")
        return
    with st.popover("For a lecture", type="tertiary", icon=":material/present_to_all:"):
        st.button("Present", on_click=_present, args=(True,), icon=":material/open_in_full:",
                  help="Everything 40% larger, without the menu.")
        _mount(key="hidden controls", on_hidden_change=_keep)
        st.caption("The link to this page holds what is hidden here.")


def hides(key: str) -> bool:
    """Whether the link hides what has this key on the page."""
    return re.sub(r"[^\w-]", "-", key, flags=re.ASCII) in hidden()


def hidden() -> list[str]:
    """What the link hides; anything that is no name of a control there is left out."""
    return [name for name in st.query_params.get_all(HIDE) if re.fullmatch(r"[\w-]+", name, re.ASCII)]


def _keep() -> None:
    hidden = st.session_state["hidden controls"]["hidden"] or []
    if hidden:
        st.query_params[HIDE] = hidden
    else:
        st.query_params.pop(HIDE, None)


def _present(on: bool) -> None:
    st.session_state[PRESENT] = on
    if not on:
        st.query_params.pop(PRESENT, None)
