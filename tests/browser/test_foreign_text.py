"""Names that others wrote, and links that others made, are shown and never obeyed: no picture, no link, no markup."""

import dataclasses
import re
from pathlib import Path
from urllib.parse import urlencode

import numpy as np
import pytest
from PIL import Image

from benchmarks import real
from benchmarks.real import PROJECT, settle
from kdengine import models
from kdengine.configuration import Configuration
from kdengine.runs import checkpoints
from kdengine.runs.records import PREDICTIONS, RECORD, STUDENT
from tests.browser.test_pages import PAGES, photograph
from tests.kdengine import made
from tests.kdengine.recipes import scene

pytestmark = pytest.mark.browser

expect = pytest.importorskip("playwright.sync_api").expect
expect.set_options(timeout=60_000)

FILE = "**BOLD** [LINK](www.stranger.example) ![i](x.png) <b>HTML<b> :red[RED] :smile: $MATH$ me@stranger.example"
"""A name as a file may have it."""
RUN = f"run {FILE}"
TEXT = ("![i](http://stranger.example/i.png) <img src=http://stranger.example/j.png> [LINK](http://stranger.example) "
        f"<b>HTML</b> http://stranger.example/k.png {FILE}")
"""As a header, a record or a link may have it."""
CLASSES = tuple(f"{number} {TEXT}" for number in range(3))
DATA = f"folder:{TEXT}"

OBEYED = """() => [...document.querySelectorAll("#root *")].filter(each =>
    ["BOLD", "LINK", "HTML", "RED", "MATH"].includes(each.textContent.trim()) ||
    (each.getAttribute("href") || "").includes("stranger") || (each.getAttribute("src") || "").includes("stranger") ||
    (each.getAttribute("src") || "").includes("x.png")).map(each => each.outerHTML)"""
"""What of the page came from reading a name as markup."""


def hostile_checkpoints(folder):
    """A teacher and a student that classify, and two networks that segment."""
    (folder / "records" / f"masks {FILE}").mkdir(parents=True)
    about = {"hyperparameters": {}, "scores": {"validation": {"top1": 0.9, "n": 10}, "test": {"top1": 0.9, "n": 10}}}
    for name, method, labels in ((FILE, "none", None), (f"kd {FILE}", TEXT, 5)):
        checkpoints.save(models.build("resnet8", CLASSES), folder / f"{name}.safetensors", method=method,
                         data={"name": DATA, "labels_per_class": labels}, **about)
    for name in (f"masks {FILE}", f"more masks {FILE}"):
        checkpoints.save(models.build("fpn_tiny", CLASSES, input_size=64), folder / f"{name}.safetensors", method=TEXT,
                         data={"name": DATA, "labels_per_class": None}, hyperparameters={},
                         scores={"validation": {"miou": 0.9, "n": 10}})


def hostile_runs(folder, shipped):
    """A run that finished and one that failed, in one group, one that cannot be read, and what segments' record."""
    finished = scene.finished(
        Configuration(data=DATA, student="resnet8", method=TEXT), RUN, scene.answers(60),
        measured={"kl_to_teacher": 0.5, "agreement": 0.5})
    assert (folder / RUN / PREDICTIONS).is_file()
    finished.teacher = made.teacher(TEXT, architecture=TEXT)
    finished.data |= {"title": TEXT, "classes": list(CLASSES)}
    finished.save(folder / RUN)
    kept = dataclasses.replace(
        finished, id="masks", teacher=None,
        configuration=dataclasses.replace(finished.configuration, data=f"{DATA} masks", student="fpn_tiny"),
        data=finished.data | {"name": f"{DATA} masks", "size": 64, "task": "segmentation"},
        result=finished.result | {"test": {"miou": 0.5, "iou": [0.5, 0.6, 0.4], "pixel_accuracy": 0.5, "n": 10,
                                           "loss": 1.0}, "validation": {"miou": 0.5, "n": 10}})
    kept.save(shipped / "records" / f"masks {FILE}")
    checkpoints.save(models.build("resnet8", CLASSES, seed=1), folder / RUN / STUDENT, method=TEXT, data={"name": DATA})
    (folder / "failed").mkdir()
    dataclasses.replace(finished, id="failed", status={"state": "failed", "reason": TEXT, "epoch": 0}, result={}).save(
        folder / "failed")
    (folder / "failed" / "log.txt").write_text(TEXT)
    (folder / f"damaged {FILE}").mkdir()
    (folder / f"damaged {FILE}" / RECORD).write_text("{")


def hostile_data(folder):
    """An image folder whose classes are called like that."""
    noise = np.random.default_rng(0)
    for split in ("train", "test"):
        for number in range(2):
            place = folder / FILE / split / f"{number} {FILE}"
            place.mkdir(parents=True)
            for picture in range(12):
                Image.fromarray(noise.integers(0, 255, (16, 16, 3), dtype=np.uint8)).save(place / f"{picture}.png")


@pytest.fixture(scope="module")
def address(chromium, tmp_path_factory):
    """An explorer in whose folders everything is called like that."""
    place = tmp_path_factory.mktemp("hostile")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KDENGINE_RUNS", str(place / "runs"))
        hostile_checkpoints(place / "checkpoints")
        hostile_runs(place / "runs", place / "checkpoints")
        hostile_data(place / "data")
    with real.server(place / "runs", KDENGINE_CHECKPOINTS=str(place / "checkpoints"),
                     KDENGINE_DATA=str(place / "data")) as at:
        yield at


def opened(page, path, **query):
    page.goto(f"/{path}?{urlencode(query)}")
    expect(page.get_by_role("heading", name=PAGES[path], level=1)).to_be_visible()
    settle(page)


def unobeyed(page):
    """Nothing on the page has been read as markup, and no exception is shown."""
    assert page.locator('[data-testid="stException"]').count() == 0
    assert page.evaluate(OBEYED) == []


def shown(page, text):
    """Somebody can read it on the page as it is, without a backslash more than it has."""
    main = page.locator('[data-testid="stMain"]')
    expect(main).to_contain_text(text)
    assert "\\" not in main.inner_text()


@pytest.mark.parametrize("path", PAGES)
def test_what_is_called_like_markup_is_shown_as_it_is_called(page, path):
    opened(page, path)
    unobeyed(page)


def test_a_comparison_of_networks_whose_classes_are_called_like_markup(page):
    opened(page, "compare")
    shown(page, f"Bring a picture of your own: {', '.join(CLASSES)}")
    page.locator("input[type=file]").set_input_files(photograph())
    expect(page.get_by_alt_text(re.compile("^Where .* looks for"))).to_have_count(3, timeout=120_000)
    settle(page)
    unobeyed(page)
    shown(page, f"{FILE}, all labels")
    expect(page.locator('[data-testid="stTable"]')).to_contain_text(f"{TEXT} · resnet8")


def test_masks_of_classes_that_are_called_like_markup(page):
    opened(page, "segmentation")
    page.locator("input[type=file]").set_input_files(photograph())
    expect(page.get_by_alt_text(re.compile("what it takes each pixel for$"))).to_have_count(2, timeout=120_000)
    expect(page.locator('[data-testid="stVegaLiteChart"]')).to_have_count(1)
    settle(page)
    unobeyed(page)
    shown(page, TEXT)
    shown(page, f"masks {FILE} · fpn_tiny: mIoU 50.0%")


def test_runs_that_are_called_like_markup(page):
    opened(page, "distill", view="Your own runs", data=FILE)
    expect(page.get_by_role("button", name="Start", exact=True)).to_be_visible()
    unobeyed(page)
    shown(page, f"{TEXT} (2)")
    shown(page, f"Teacher {TEXT} ({TEXT}):")
    shown(page, f"The run damaged {FILE} cannot be read:")
    opened(page, "results")
    unobeyed(page)
    shown(page, DATA)


def test_a_picture_seen_by_networks_whose_classes_are_called_like_markup(page):
    opened(page, "temperature", of="Picture", networks=DATA, sample="Dahlia")
    expect(page.locator(".rows .name").first).to_contain_text(TEXT)
    unobeyed(page)


def keys():
    """Every name under which a page keeps a widget's value, or reads one from its link."""
    sources = "".join(path.read_text() for folder in ("pages", "explorer")
                      for path in sorted((PROJECT / folder).rglob("*.py")))
    return {*re.findall(r'key="([^"]+)"', sources), "T", "example", "image", "mask image", "epochs", "seed", "seeds"}


@pytest.mark.parametrize("path", PAGES)
def test_a_link_full_of_markup_is_not_obeyed(page, path):
    assert {"family", "teacher_logits", "recipe", "mask family"} <= keys()
    opened(page, path, **dict.fromkeys(keys(), TEXT))
    unobeyed(page)


@pytest.mark.parametrize("query", [
    {"T": TEXT}, {"example": TEXT}, {"of": "Draw a digit", "drawing": TEXT},
    {"of": "Typed logits", "teacher_logits": TEXT}, {"of": "Typed logits", "student_logits": TEXT},
    {"of": "Typed logits", "teacher_logits": "1,2", "student_logits": "1,2", "names": f"a;{TEXT}"},
], ids=lambda query: list(query)[-1])
def test_what_a_link_gives_the_temperature_page_is_told_as_text(page, query):
    opened(page, "temperature", **query)
    unobeyed(page)


def test_a_folder_typed_as_markup_is_not_obeyed(page):
    opened(page, "distill", view="Your own runs", data="Image folder")
    page.get_by_label("Folder").fill(TEXT)
    page.get_by_label("Folder").press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("There is no such folder in the data folder")
    unobeyed(page)


def test_a_name_turned_to_this_machine_opens_nothing(chromium, address):
    """DNS rebinding: a stranger's host name that has come to mean 127.0.0.1."""
    launched = chromium.browser_type.launch(
        executable_path=real.chromium(), args=[*real.ARGUMENTS, "--host-resolver-rules=MAP stranger.example 127.0.0.1"])
    try:
        page = launched.new_page()
        with page.expect_event("websocket") as opening:
            page.goto(f"http://stranger.example:{address.rpartition(':')[2]}/compare")
        refused = opening.value.wait_for_event("socketerror")
        assert "403" in refused
        assert page.get_by_role("heading").count() == 0
    finally:
        launched.close()


def test_every_page_is_tried():
    assert {path or "start" for path in PAGES} == {path.stem for path in Path(PROJECT / "pages").glob("*.py")}
