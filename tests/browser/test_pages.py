"""Every page opens, alone and offline, and the whole path from a run to its result works as a person walks it."""

import io
import os
import re
import signal
import subprocess

import pytest
from PIL import Image

from benchmarks.real import settle
from explorer import pages

pytestmark = pytest.mark.browser

PAGES = {"": "Knowledge distillation, live"} | {title.lower(): title for title in pages.PAGES if title != "Start"}
"""The heading of each page by its path."""

expect = pytest.importorskip("playwright.sync_api").expect
expect.set_options(timeout=60_000)  # a busy machine is slow, not wrong


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("look", ["light", "dark", "phone"])
def test_every_page_opens_without_a_request_that_leaves_the_machine(page, path, look):
    page.emulate_media(color_scheme="dark" if look == "dark" else "light")
    if look == "phone":
        page.set_viewport_size({"width": 390, "height": 844})
    page.goto(f"/{path}")
    expect(page.get_by_role("heading", name=PAGES[path], level=1)).to_be_visible()
    settle(page)
    expect(page).to_have_title(f"{(path or 'start').capitalize()} · KD Explorer")
    assert page.locator('[data-testid="stException"]').count() == 0
    # Nothing is wider than the screen: a phone never scrolls sideways.
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_a_run_is_started_watched_and_found_in_the_results(page):
    page.goto("/distill?view=Your+own+runs&epochs=3")
    settle(page)
    expect(page.get_by_text("About", exact=False).first).to_be_visible()
    page.get_by_role("button", name="Start", exact=True).click()
    expect(page.get_by_text("Finished")).to_have_count(2, timeout=180_000)
    expect(page.locator('[data-testid="stVegaLiteChart"]')).to_have_count(2)
    expect(page.get_by_text(re.compile("Teacher digits-teacher .* test images right"))).to_be_visible()
    run = page.get_by_text("Test accuracy").first
    expect(run).to_contain_text("%")
    settle(page)  # the page draws itself anew once a group has ended: a click meanwhile would be lost
    page.get_by_role("link", name="Results").click()
    expect(page.get_by_role("heading", name="Results", level=1)).to_be_visible()
    settle(page)
    with page.expect_download() as download:
        page.get_by_role("button", name="Download CSV").click()
    rows = download.value.path().read_text().splitlines()
    assert sum(bool(re.match(r"\d{8}-\d{6}-\w{4}-\d-(kd|none),,digits,resnet8,", row)) for row in rows) == 2


def row(page, run):
    """One run's line on the Distill page; nothing else on the page is meant by its words and buttons."""
    return page.locator(f".st-key-run-{run}")


def test_a_killed_worker_s_run_is_resumed_from_the_page(page, runs_folder):
    earlier = set(runs_folder.glob("*"))
    page.goto("/distill?view=Your+own+runs&epochs=40")
    settle(page)
    page.get_by_role("button", name="Start", exact=True).click()
    expect(page.locator("[class*=st-key-run-]").filter(has_text="validation accuracy")).to_have_count(2)
    kd, none = sorted(path.parent.name for path in runs_folder.glob("*/record.json") if path.parent not in earlier)
    listed = subprocess.run(["pgrep", "-f", f"kdengine worker {kd}"], capture_output=True, text=True, check=True)
    for process in listed.stdout.split():  # this group's worker, never another program's
        os.kill(int(process), signal.SIGKILL)
    expect(row(page, kd)).to_contain_text("Interrupted")
    expect(row(page, none)).to_contain_text("Interrupted")
    row(page, kd).get_by_role("button", name="Resume").click()
    expect(row(page, kd)).to_contain_text("Running")
    expect(row(page, none)).to_contain_text("Interrupted")
    row(page, kd).get_by_role("button", name="Stop").click()
    page.get_by_role("button", name="Stop now").click()
    expect(row(page, kd)).to_contain_text("Stopped")


@pytest.mark.parametrize("secure", [True, False])
def test_a_page_s_link_is_copied_as_it_is_now(page, secure):
    """Also where the browser gives no clipboard, as it does not of an address without https."""
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    if not secure:
        page.add_init_script("Object.defineProperty(navigator, 'clipboard', {configurable: true})")
    page.goto("/temperature?of=Typed+logits&T=3")
    settle(page)
    page.get_by_role("slider", name="Temperature").press("ArrowRight")
    expect(page).not_to_have_url(re.compile("T=3$"))
    page.get_by_role("button", name="Copy link to this page").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    if not secure:
        page.evaluate("delete navigator.clipboard")
    assert page.evaluate("navigator.clipboard.readText()") == page.url


def test_a_recipe_is_started_followed_and_stopped_from_the_page(page):
    page.goto("/recipes")
    settle(page)
    page.get_by_role("button", name="Run", exact=True).click()
    told = page.get_by_text(re.compile("^0 of 4 networks trained. Now the teacher; then"))
    expect(told).to_be_visible(timeout=120_000)
    page.get_by_role("button", name="Stop", exact=True).click()
    expect(page.get_by_role("button", name="Continue", exact=True)).to_be_visible(timeout=120_000)
    assert page.locator('[data-testid="stException"]').count() == 0


def test_a_recipe_is_run_with_other_settings_and_told(page):
    page.goto("/recipes")
    settle(page)
    expect(page.get_by_role("heading", name=re.compile("^Measured earlier, November 2026, on "))).to_be_visible()
    page.get_by_role("link", name="Run it yourself").click()
    page.get_by_text("Change the settings").click()
    for name, value in {"Epochs, the teacher's too": "1", "Share of the images, %": "20", "Temperature T": "2"}.items():
        field = page.get_by_role("spinbutton", name=name)
        field.fill(value)
        field.press("Enter")
        settle(page)
    words = ("python -m kdengine recipe response_vs_feature --scale quick --seeds 1 --share 0.2 --epochs 1 "
             "--temperature 2.0")
    expect(page.get_by_test_id("stCode").filter(has_text=words)).to_be_visible()
    expect(page).to_have_url(re.compile("response_vs_feature.temperature=2"))
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.get_by_text(re.compile("^1 of 4 networks trained. Now 3 students side by side"))).to_be_visible(
        timeout=180_000)
    expect(page.get_by_text("All 4 networks are trained.")).to_be_visible(timeout=180_000)
    settle(page)
    expect(page.get_by_role("heading", name="What came out here")).to_be_visible()
    curves = page.get_by_text(re.compile("^Validation accuracy of the students while training"))
    assert curves.count() == 2  # earlier, and here
    assert page.get_by_role("heading", name="Table", exact=True).count() == 2
    page.reload()
    settle(page)
    expect(page.get_by_text("All 4 networks are trained.")).to_be_visible()
    assert page.locator('[data-testid="stException"]').count() == 0


def photograph(size=(320, 240)):
    """A JPEG with something on it."""
    image = Image.radial_gradient("L").resize(size).convert("RGB")
    image.paste((200, 40, 40), (40, 60, 140, 160))
    stream = io.BytesIO()
    image.save(stream, "JPEG")
    return {"name": "photo.jpg", "mimeType": "image/jpeg", "buffer": stream.getvalue()}


def test_an_uploaded_photograph_gets_two_heat_maps_and_two_top_five_lists(page):
    page.goto("/compare?family=Photograph+(ImageNet)")
    settle(page)
    page.locator("input[type=file]").set_input_files(photograph())
    maps = page.get_by_alt_text(re.compile("^Where .* looks for"))
    expect(maps).to_have_count(2, timeout=120_000)
    settle(page)
    for place in range(2):  # the picture itself comes after its frame
        page.wait_for_function("image => image.naturalWidth > 100", arg=maps.nth(place).element_handle())
    assert page.get_by_text(re.compile(r"^\s*\d+(\.\d+)?\s?%\s*$")).count() >= 10
    expect(page.get_by_text("neither was distilled from the other").first).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download PNG").click()
    assert Image.open(download.value.path()).format == "PNG"


def test_a_file_that_is_no_picture_gets_a_sentence_and_the_page_stays(page):
    page.goto("/compare?family=Photograph+(ImageNet)")
    settle(page)
    page.locator("input[type=file]").set_input_files(
        {"name": "photo.jpg", "mimeType": "image/jpeg", "buffer": b"no picture at all"})
    expect(page.get_by_role("alert").first).to_contain_text("not a picture")
    page.locator("input[type=file]").set_input_files(photograph())
    expect(page.get_by_alt_text(re.compile("^Where .* looks for"))).to_have_count(2, timeout=120_000)


def test_a_digit_is_compared_with_the_truth_known(page):
    page.goto("/compare?family=Handwritten+digits+(shipped)&image=3")
    expect(page.get_by_alt_text(re.compile("^Where .* looks for"))).to_have_count(3, timeout=120_000)
    assert page.get_by_text(re.compile("✓ right|✗ wrong")).count() == 3
    expect(page.get_by_text("Agreement with the teacher")).to_be_visible()


def test_masks_errors_and_heat_maps_of_a_scene_and_masks_of_a_photograph(page):
    page.goto("/segmentation?mask+family=Shapes,+pixel+by+pixel+(shipped)&mask+image=3")
    answers = page.get_by_alt_text(re.compile("what it takes each pixel for$"))
    expect(answers).to_have_count(3, timeout=180_000)
    settle(page)
    # Each tile's picture and the mask over it are there, square, and lie on each other; the tiles stand in a row.
    page.wait_for_function("[...document.querySelectorAll('.segments img')].every(image => image.naturalWidth > 0)")
    tiles = page.evaluate("""[...document.querySelectorAll('.segments figure')].map(figure =>
        [...figure.querySelectorAll('img')].map(image => image.getBoundingClientRect().toJSON()))""")
    assert [len(tile) for tile in tiles] == [1, 2, 2, 2, 2]
    for tile in tiles:
        assert tile[0] == tile[-1]
        assert tile[0]["width"] == pytest.approx(tile[0]["height"], abs=0.5)
        assert tile[0]["y"] == tiles[0][0]["y"]
    expect(page.locator(".segments-legend").first).to_contain_text("background")
    expect(page.locator('[data-testid="stVegaLiteChart"]')).to_have_count(1)
    page.get_by_text("Errors", exact=True).click()
    expect(page.get_by_alt_text(re.compile("where it is right and where it is wrong$"))).to_have_count(3)
    expect(page.locator(".segments-legend").first).to_have_text("✓ right✗ wrong")
    page.get_by_text("Heat maps", exact=True).click()
    expect(page.get_by_alt_text(re.compile("where it looks for|no heat map$"))).to_have_count(3)
    page.get_by_role("button", name="They disagree").click()
    page.wait_for_url(lambda address: "image=" in address and not re.search(r"image=3(&|$)", address))
    page.wait_for_url("**show=Heat+maps*")
    settle(page)
    number = page.get_by_label(re.compile("^Number, 0 to"))
    disputed = number.input_value()
    assert disputed != "3"
    page.reload()  # the link holds the view
    expect(page.get_by_alt_text(re.compile("where it looks for|no heat map$"))).to_have_count(3)
    expect(number).to_have_value(disputed)
    page.get_by_text("Answers", exact=True).click()
    page.get_by_text("Your own").click()
    page.locator("input[type=file]").set_input_files(photograph((320, 160)))
    expect(answers).to_have_count(3, timeout=120_000)
    settle(page)
    place = answers.first.bounding_box()
    assert place["width"] == pytest.approx(2 * place["height"], abs=1)


def test_back_leads_to_the_picture_before_and_then_to_the_page_before(page):
    page.goto("/temperature")
    settle(page)
    page.get_by_role("link", name="Compare").first.click()
    expect(page.get_by_role("heading", name="Compare", level=1)).to_be_visible()
    settle(page)
    number = page.get_by_label("Number, 0 to 358")
    first = number.input_value()
    for image in ("5", "7"):
        number.fill(image)
        number.press("Enter")
        page.wait_for_url(f"**image={image}")
        settle(page)
    for image in ("5", first):
        page.go_back()
        expect(number).to_have_value(image)
        settle(page)
    page.go_back()
    expect(page.get_by_role("heading", name="Temperature", level=1)).to_be_visible()
