"""Texts of others as Markdown that shows them as they are; tests/browser/test_foreign_text.py has a browser draw it."""

import pytest

from explorer.wording import as_text, error_text
from kdengine import KDError


@pytest.mark.parametrize(("text", "shown"), [
    ("digits-resnet8-kd", "digits-resnet8-kd"),
    ("resnet8 · Logit matching · 25 Nov 09:12", "resnet8 · Logit matching · 25 Nov 09\\:12"),
    ("a *b* __c__ ~~d~~ $e$ &amp;", "a \\*b\\* \\_\\_c\\_\\_ \\~\\~d\\~\\~ \\$e\\$ \\&amp;"),
    ("<b>x</b>", "\\<b\\>x\\</b\\>"),
    (":red[x]", "\\:red\\[x\\]"),
    ("[x](y)", "\\[x\\](y)"),
    ("# x", "\\# x"),
    ("- x", "\\- x"),
    ("1. x", "1\\. x"),
    ("    x\n\n    y", "x y"),
    ("a`b", "a\\`b"),
    ("\\", "\\\\"),
    ("", ""),
])
def test_what_markdown_would_read_is_escaped(text, shown):
    assert as_text(text) == shown


@pytest.mark.parametrize("word", [
    "http://a.example/b.png", "![x](https://a.example/b.png)", "www.a.example", "me@a.example", ":smile:",
    ":material/home:", "HTTP://A.EXAMPLE", "->", "<->", "--",
])
def test_words_that_are_replaced_after_markdown_are_code(word):
    assert as_text(f"a {word} b") == f"a ` {word} ` b"


def test_code_ends_where_it_should():
    assert as_text("http://a``b") == "``` http://a``b ```"


def test_what_cannot_be_seen_is_marked_and_what_is_too_long_is_cut():
    assert as_text("a\u202eb\x00c") == "a\ufffdb\ufffdc"
    assert as_text("x" * 5000) == "x" * 2000 + "…"


def test_an_error_keeps_its_commands_and_nothing_else():
    assert error_text(KDError("There is no run '*a*'. `python -m kdengine runs` lists them.")) == (
        "There is no run '\\*a\\*'. ` python -m kdengine runs ` lists them.")
    # A backtick in a name may turn a part into code, never into markup.
    assert error_text(KDError("No '`![x](y)' here. See `z`.")) == "No '` ![x](y)' here. See  `z\\`."
