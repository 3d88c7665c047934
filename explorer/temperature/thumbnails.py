"""Rows of small test pictures, one of which can be chosen by a click."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import streamlit as st

_mount = st.components.v2.component(
    "thumbnails",
    html='<div class="thumbnails"></div>',
    css="""
.thumbnails { display: grid; grid-template-columns: max-content 1fr; gap: 0.3rem 0.8rem; align-items: center;
  color: var(--st-text-color); font-family: var(--st-font); font-size: 0.95rem; container-type: inline-size; }
.pictures { display: flex; gap: 4px; overflow-x: auto; padding: 3px; }
button { flex: none; padding: 0; border: 2px solid transparent; border-radius: 4px; background: none; cursor: pointer;
  line-height: 0; }
button[aria-pressed="true"] { border-color: var(--st-primary-color); }
button:focus-visible { outline: 2px solid var(--st-primary-color); outline-offset: 1px; }
img { width: 36px; height: 36px; image-rendering: pixelated; border-radius: 2px; }
@media (max-width: 40rem) { .thumbnails { grid-template-columns: 1fr; } }
""",
    js="""
export default function ({ data, parentElement: root, setTriggerValue }) {
  const drawn = JSON.stringify([data.rows, data.labels]);
  if (root.drawn !== drawn) { // else the buttons stay, and the keyboard with them
    root.drawn = drawn;
    root.querySelector(".thumbnails").replaceChildren(...Object.entries(data.rows).flatMap(row(data, setTriggerValue)));
  }
  for (const button of root.querySelectorAll("button")) {
    button.setAttribute("aria-pressed", Number(button.dataset.index) === data.chosen);
  }
}

function row(data, setTriggerValue) {
  return ([title, indices]) => {
    const name = document.createElement("span");
    name.textContent = title;
    const pictures = document.createElement("div");
    pictures.className = "pictures";
    pictures.setAttribute("role", "group");
    pictures.setAttribute("aria-label", title);
    pictures.append(...indices.map((index) => {
      const button = document.createElement("button");
      button.dataset.index = index;
      button.title = `Test picture ${index}: ${data.labels[index]}`;
      button.setAttribute("aria-label", button.title);
      const image = document.createElement("img");
      image.src = data.sources[index];
      image.alt = "";
      button.append(image);
      button.onclick = () => setTriggerValue("index", index);
      return button;
    }));
    return [name, pictures];
  };
}
""",
)


def show(
    key: str, rows: Mapping[str, Sequence[int]], sources: Mapping[int, str], labels: Mapping[int, str], chosen: int,
    on_choice: Callable[[int], None],
) -> None:
    """Draw them.

    rows: numbers of test pictures, by the row's title. sources: each picture as the address of an image.
    labels: what it shows. chosen: the
    number of the one that is marked. on_choice: called with a number when its picture is clicked, before the page runs
    again.
    """
    _mount(key=key, data={"rows": rows, "sources": sources, "labels": labels, "chosen": chosen},
           on_index_change=lambda: on_choice(st.session_state[key]["index"]))
