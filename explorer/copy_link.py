"""A button that copies the page's link as it is at the moment of the press."""

from __future__ import annotations

import streamlit as st

_mount = st.components.v2.component(
    "copy_link",
    html="<button>Copy link to this page</button>",
    css="""
button { border: none; background: none; padding: 0; color: inherit; font: inherit; font-size: .875rem; opacity: .7;
  cursor: pointer; text-decoration: underline; }
button:hover, button:focus-visible { opacity: 1; }
""",
    js="""
export default function ({ parentElement }) {
  const button = parentElement.querySelector("button");
  const usual = button.textContent;
  let timer = 0;
  button.onclick = async () => {
    const copied = await copy(location.href);
    button.textContent = copied ? "Copied" : "Copy it from the address bar";
    clearTimeout(timer);
    timer = setTimeout(() => { button.textContent = usual; }, 3000);
  };
  return () => clearTimeout(timer);
}

async function copy(text) {
  if (navigator.clipboard) {
    return navigator.clipboard.writeText(text).then(() => true, () => false);
  }
  // A classroom's server is no secure context: there only the old way is open.
  const field = document.createElement("textarea");
  field.value = text;
  field.style.position = "fixed";
  document.body.append(field);
  field.select();
  const copied = document.execCommand("copy");
  field.remove();
  return copied;
}
""",
)


def show() -> None:
    """Draw it. What is set stands in the link, so whoever follows it sees the page as it is."""
    _mount(key="copy link")
