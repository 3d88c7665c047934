"""Every page on a projector, on a phone, enlarged, by keyboard, and as a screen reader hears it."""

from urllib.parse import quote_plus

import pytest

from benchmarks.real import settle
from explorer import pages

axe = pytest.importorskip("axe_playwright_python.base")
expect = pytest.importorskip("playwright.sync_api").expect
expect.set_options(timeout=60_000)

pytestmark = pytest.mark.browser

PROJECTOR, ENLARGED, PHONE = (1366, 768), (1093, 614), (390, 844)
"""Widths and heights in CSS pixels; ENLARGED is the projector at 125 %."""
STATES = {title: f"/{title.lower()}" for title in pages.PAGES} | {
    "Start": "/",
    "Compare": f"/compare?family={quote_plus('Handwritten digits (shipped)')}&image=3",
    "Fidelity": f"/compare?family={quote_plus('Handwritten digits (shipped)')}&fidelity=true&alike+images=100",
    "Segmentation": f"/segmentation?mask+family={quote_plus('Shapes, pixel by pixel (shipped)')}&mask+image=3",
    "Errors": f"/segmentation?mask+family={quote_plus('Shapes, pixel by pixel (shipped)')}&mask+image=3&show=Errors",
    "Example": "/temperature?of=Example",
    "Own runs": f"/distill?view={quote_plus('Your own runs')}",
    "Own sweep": f"/recipes?run={quote_plus('A sweep of your own')}",
} | {f"Learn {step}": f"/learn?step={step}&done=12345678" for step in range(1, 9)}
"""Each page with content in it, by a name."""
del STATES["Learn"]

SCROLLS = "Chromium and Firefox let the keyboard reach what scrolls, which axe does not know; Streamlit has no option."
CHROME = {
    ("scrollable-region-focusable", ".katex-display"): SCROLLS,
    ("scrollable-region-focusable", "[data-testid=stCode]"): SCROLLS,
    ("scrollable-region-focusable", "[data-testid=stTable]"): SCROLLS,
}
"""Findings in what Streamlit draws around an app, which the app cannot mend: by rule and selector, the reason."""

FINDINGS = """async ([chrome, rules]) => {
  const found = (await axe.run(document, { resultTypes: ["violations"], ...rules })).violations;
  const excused = (rule, target) => {
    const node = typeof target[0] === "string" && document.querySelector(target[0]);
    return chrome.some(([name, selector]) => name === rule && node && node.closest(selector));
  };
  return found.filter((each) => ["serious", "critical"].includes(each.impact)).flatMap((each) =>
    each.nodes.filter((node) => !excused(each.id, node.target)).map((node) =>
      `${each.id}: ${JSON.stringify(node.target)} ${node.html.slice(0, 200)} ${node.failureSummary}`));
}"""


@pytest.fixture(scope="module")
def tab(chromium, address):
    """One tab for all pages: what it has once loaded stays there."""
    context = chromium.new_context(base_url=address, reduced_motion="reduce")
    yield context.new_page()
    context.close()


def look(tab, width, height, scheme):
    """Set the size of the window and the theme, and wait until the page has both."""
    tab.set_viewport_size({"width": width, "height": height})
    tab.emulate_media(color_scheme=scheme)
    page = "rgb(255, 255, 255)" if scheme == "light" else "rgb(23, 22, 20)"
    tab.wait_for_function(
        "page => getComputedStyle(document.querySelector('.stApp')).backgroundColor === page", arg=page)
    settle(tab)


@pytest.fixture(params=STATES)
def state(tab, request):
    """The tab at one of the pages, on a light projector."""
    tab.goto(STATES[request.param])
    tab.evaluate(axe.AXE_SCRIPT)
    look(tab, *PROJECTOR, "light")
    tab.wait_for_function("[...document.images].every(image => image.complete)")
    expect(tab.locator(".stSkeleton, .stSpinner")).to_have_count(0)
    return tab


def test_a_page_shuts_nobody_out(state):
    contrast = {"runOnly": ["color-contrast"]}  # nothing else depends on the theme
    for size, scheme, rules in ((PROJECTOR, "light", {}), (PROJECTOR, "dark", contrast),
                                (PHONE, "dark", contrast), (PHONE, "light", {})):
        look(state, *size, scheme)
        # As high as the page: of what is scrolled away axe tells no contrast.
        look(state, size[0], state.evaluate("document.querySelector('.stMain').scrollHeight"), scheme)
        findings = state.evaluate(FINDINGS, [[list(each) for each in CHROME], rules])
        assert findings == [], f"{size} {scheme}:\n" + "\n".join(findings)
    for size in (PHONE, ENLARGED, PROJECTOR):
        look(state, *size, "light")
        assert state.evaluate("document.scrollingElement.scrollWidth <= innerWidth"), size


@pytest.mark.parametrize(("path", "words"), [
    ("/learn?step=8", "Test accuracy, with 95% interval. Teacher: "),
    (STATES["Segmentation"], "Test IoU of each class. background, "),
], ids=["Learn", "Segmentation"])
def test_a_chart_says_its_numbers_and_its_text_can_be_read(page, path, words):
    for scheme, color in (("light", "rgb(47, 45, 43)"), ("dark", "rgb(237, 235, 232)")):
        page.emulate_media(color_scheme=scheme)
        page.goto(path)
        expect(page.locator(f'[role="graphics-document"][aria-label^="{words}"]')).to_have_count(1)
        texts = page.locator('.stVegaLiteChart [class*="role-"] > text')
        expect(texts.first).to_be_visible()
        styles = texts.evaluate_all("""all => all.filter(each => each.textContent).map(each => {
            const { fontSize, fill } = getComputedStyle(each);
            return [parseFloat(fontSize), fill];
        })""")
        assert len(styles) > 10
        assert all(size >= 14 and fill == color for size, fill in styles), styles
    menu = page.get_by_test_id("stTopNavLink").first
    assert menu.evaluate("each => parseFloat(getComputedStyle(each).fontSize)") >= 16
    assert page.evaluate("parseFloat(getComputedStyle(document.documentElement).fontSize)") == 18


FOCUSED = """() => {
  let node = document.activeElement;
  while (node.shadowRoot?.activeElement) node = node.shadowRoot.activeElement;
  const { outlineStyle, outlineWidth, boxShadow } = getComputedStyle(node);
  const named = node.ariaLabel || node.labels?.[0]?.textContent || node.textContent;
  return [named.trim(), (outlineStyle !== "none" && outlineWidth !== "0px") || boxShadow !== "none"];
}"""
"""The name of what has the keyboard, and whether that can be seen."""


def reached(page, last):
    """The names of what Tab leads to, from the start of the page to the control of that name."""
    names = []
    while last not in names:
        page.keyboard.press("Tab")
        name, seen = page.evaluate(FOCUSED)
        assert seen, f"nobody sees that {name} has the keyboard"
        names.append(name)
        assert len(names) < 60, names
    return names


def test_tab_leads_through_the_demonstration_and_enter_presses(page):
    page.goto("/distill")
    expect(page.get_by_role("button", name="Start", exact=True)).to_be_visible()
    settle(page)
    names = reached(page, "Copy link to this page")
    # The menu's Start, then the page from top to bottom
    order = ["Start", "Distill", "Temperature T", "Teacher's share alpha", "Start", "Others", "Copy link to this page"]
    assert [each for each in names if each in order] == order
    images = page.locator(".pinned-image")
    before = images.all_inner_texts()
    page.get_by_role("button", name="Others", exact=True).press("Enter")
    for place, text in enumerate(before):
        expect(images.nth(place)).not_to_have_text(text)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy link to this page").press("Enter")
    expect(page.get_by_role("button", name="Copied")).to_be_visible()


def test_the_rows_of_softmax_are_chosen_with_the_arrow_keys(page):
    page.goto("/learn?step=2")
    settle(page)
    expect(page.locator("tr[aria-current=true]")).to_contain_text("4 (true)")
    slider = page.get_by_label("Temperature T")
    slider.press("ArrowRight")
    expect(page.locator("[data-quantity=temperature]")).to_have_text("T = 1.05")
    page.keyboard.press("Tab")  # to the chosen row
    page.keyboard.press("ArrowDown")
    expect(page.locator("tr[aria-current=true] th")).to_have_text("5")
    expect(page.locator(".formula")).to_contain_text("p5 =")
    for _ in range(9):
        page.keyboard.press("ArrowUp")
    expect(page.locator("tr[aria-current=true] th")).to_have_text("0")
    assert page.evaluate(FOCUSED)[1]


def test_a_card_of_the_first_page_is_one_link(page):
    page.goto("/")
    card = page.locator(".st-key-card-results")
    expect(card).to_be_visible()
    settle(page)
    box = card.bounding_box()
    card.click(position={"x": box["width"] - 5, "y": box["height"] - 5})
    expect(page.get_by_role("heading", name="Results", level=1)).to_be_visible()


def test_the_menu_of_a_narrow_screen_closes_once_a_page_is_chosen(page):
    page.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
    page.goto("/")
    settle(page)
    menu = page.get_by_test_id("stSidebarNav")
    for title in ("Learn", "Results"):
        page.get_by_role("button", name="Expand sidebar").click()
        menu.get_by_role("link", name=title).click()
        expect(page.get_by_role("heading", name=title, level=1)).to_be_visible()
        expect(menu).not_to_be_in_viewport()


def test_who_asks_for_reduced_motion_sees_none(page):
    page.emulate_media(reduced_motion="reduce")
    page.goto("/distill")
    settle(page)
    page.wait_for_function("""() => ![...document.querySelectorAll("*")].some(each => {
        const { transitionDuration, animationDuration } = getComputedStyle(each);
        return [transitionDuration, animationDuration].some(
            times => times.split(",").some(time => parseFloat(time) > 0.001));
    })""")
