"""A week of a user's life in one runs folder and one checkpoints folder: after each step every page opens.

The tests are the steps, in this order; each starts from what the ones before it left.
"""

import json
import os
import re
import shutil
import signal
import subprocess

import pytest
import torch
from safetensors.torch import save_file

import kdengine
from benchmarks import real
from benchmarks.real import PROJECT, settle
from kdengine import models
from kdengine.__main__ import main
from kdengine.configuration import Configuration
from kdengine.runs.records import RECORD
from tests.browser.test_pages import PAGES
from tests.kdengine.tiny import write_tiles

pytestmark = pytest.mark.browser

expect = pytest.importorskip("playwright.sync_api").expect
expect.set_options(timeout=60_000)

CHEAP = ("--epochs", "1", "--share", "0.1", "--precision", "float32")

WITHOUT_CODE = """node => {
  const copy = node.cloneNode(true);
  copy.querySelectorAll("[data-testid=stCode]").forEach((each) => each.remove());
  return copy.textContent;
}"""
"""A page's text, without the code that the methods are shown with: that raises errors of its own."""


@pytest.fixture(scope="module")
def week(tmp_path_factory):
    """The week's folders: runs, checkpoints (a copy of the shipped ones) and data."""
    place = tmp_path_factory.mktemp("week")
    shutil.copytree(PROJECT / "checkpoints", place / "checkpoints")
    (place / "data").mkdir()
    return place


@pytest.fixture(scope="module")
def address(chromium, week):
    """One server for the whole week."""
    with real.server(week / "runs", KDENGINE_CHECKPOINTS=str(week / "checkpoints"),
                     KDENGINE_DATA=str(week / "data")) as at:
        yield at


@pytest.fixture(autouse=True)
def there(week, monkeypatch):
    """The engine, as the steps use it, has the server's folders."""
    for folder in ("runs", "checkpoints", "data"):
        monkeypatch.setenv(f"KDENGINE_{folder.upper()}", str(week / folder))


@pytest.fixture
def every_page(page):
    """Opens every page that the app names, in one tab, and holds each to what it must be."""
    told = []
    page.on("console", lambda message: told.append(message.text) if message.type == "error" else None)

    def open_all():
        told.clear()  # a step's own link may lie deeper than the app's files
        page.goto("/")
        settle(page)
        links = page.get_by_test_id("stTopNavLinkContainer").get_by_role("link")
        expect(links).to_have_count(len(PAGES))
        titles = links.all_inner_texts()
        assert {title.lower() for title in titles} == {path or "start" for path in PAGES}
        for title in titles:
            links.filter(has_text=title).click()
            heading = PAGES["" if title == "Start" else title.lower()]
            expect(page.get_by_role("heading", name=heading, level=1, exact=True)).to_be_visible()
            settle(page)
            main_part = page.get_by_test_id("stMain")
            assert page.get_by_test_id("stException").count() == 0, (title, main_part.inner_text())
            assert not re.search(r"\w+Error\b|Traceback", main_part.evaluate(WITHOUT_CODE)), title
            assert told == [], title

    return open_all


def of(method):
    """The ids of the week's runs of a method, the newest first."""
    return [run["id"] for run in kdengine.list_runs() if run["configuration"]["method"] == method]


def test_1_nothing_has_run(every_page):
    every_page()


def test_2_a_method_of_two_stages_and_its_first_stage_kept(every_page, train_here):
    assert main(["distill", "--data", "digits", "--method", "activation_boundary", "--method", "none", *CHEAP]) == 0
    first, = of("activation_boundary_first")
    assert main(["runs", first, "--keep", "digits-first"]) == 0
    every_page()


def test_3_a_recipe_with_a_method_of_two_stages(every_page, train_here):
    skipped = ("Logits (KD)", "Weights", "Features (MSE)", "Gradients (input)", "Relations (RKD)")
    assert main(["recipe", "what_can_be_matched", "--epochs", "1", "--share", "0.2", "--teacher", "resnet8",
                 *(word for label in skipped for word in ("--skip", label))]) == 0
    assert len(of("activation_boundary_first")) == 2
    every_page()


def test_4_a_checkpoint_from_elsewhere(every_page, week):
    weights = week / "weights.pth"
    torch.save(models.build("resnet8", tuple("0123456789"), seed=3).net.state_dict(), weights)
    output = week / "checkpoints" / "digits-imported.safetensors"
    assert main(["import", str(weights), str(output), "--model", "resnet8", "--data", "digits",
                 "--mean", "0.5", "0.5", "0.5", "--std", "0.25", "0.25", "0.25"]) == 0
    every_page()


def test_5_a_run_is_kept(every_page):
    run, = of("activation_boundary")[-1:]
    assert main(["runs", run, "--keep", "digits-bounded"]) == 0
    every_page()


def test_6_a_run_s_folder_is_renamed(every_page, week):
    run, = of("activation_boundary")[-1:]
    (week / "runs" / run).rename(week / "runs" / "my best run")
    every_page()


def test_7_a_run_is_named_and_deleted_while_a_page_shows_it(every_page, page, week):
    newest = kdengine.list_runs()[0]["group"]
    page.goto("/distill?view=Your+own+runs")
    settle(page)
    expect(page.get_by_label("Group of runs")).to_be_visible()
    page.get_by_role("button", name="Edit").click()
    page.get_by_placeholder("none").first.fill("the one I like")
    page.get_by_placeholder("none").first.press("Enter")
    expect(page.get_by_label("Group of runs")).to_have_value(re.compile(r"the one I like \("))
    page.keyboard.press("Escape")
    for folder in (week / "runs").glob(f"{newest}-*"):
        shutil.rmtree(folder)
    page.get_by_role("spinbutton", name="Epochs").fill("3")
    page.get_by_role("spinbutton", name="Epochs").press("Enter")
    page.wait_for_url("**epochs=3*")
    settle(page)
    assert page.get_by_test_id("stException").count() == 0
    assert not list((week / "runs").glob(f"{newest}-*"))
    every_page()


def test_8_neighbours_are_damaged(every_page, page, week):
    whole = next((week / "runs").glob(f"*/{RECORD}")).parent
    held = json.loads((whole / RECORD).read_text())

    def neighbor(name, record=None):
        place = shutil.copytree(whole, week / "runs" / name, ignore=shutil.ignore_patterns("lock"))
        if record is not None:
            (place / RECORD).write_text(record)
        return place

    neighbor("truncated", json.dumps(held)[:200])
    neighbor("nested", "[" * 100_000)
    neighbor("no-text").joinpath(RECORD).write_bytes(b"\xff\xfe\x00")
    neighbor("no-object", "7")
    neighbor("no-state", json.dumps(held | {"id": "no-state", "status": {}}))
    neighbor("no-time", json.dumps(held | {"id": "no-time", "created": None}))
    neighbor("strange", json.dumps(held | {"id": "strange", "moon": "full",
                                           "configuration": held["configuration"] | {"method": "forgotten"}}))
    directory = neighbor("directory")
    (directory / RECORD).unlink()
    (directory / RECORD).mkdir()
    running = held | {"status": {"state": "running", "reason": None, "epoch": 0, "launched": 1.0}}
    (neighbor("lock-is-a-folder", json.dumps(running | {"id": "lock-is-a-folder"})) / "lock").mkdir()
    (neighbor("lock-is-a-loop", json.dumps(running | {"id": "lock-is-a-loop"})) / "lock").symlink_to("lock")
    for name, metadata in (("no-keys", {"kdengine": "{}"}), ("no-json", {"kdengine": "["}), ("no-header", {}),
                           ("nested", {"kdengine": '{"a":' + "[" * 100_000})):
        save_file({"weight": torch.zeros(1)}, week / "checkpoints" / f"{name}.safetensors", metadata=metadata)
    (week / "checkpoints" / "empty.safetensors").write_bytes(b"")
    (week / "checkpoints" / "folder.safetensors").mkdir()
    every_page()
    page.get_by_role("link", name="Results").click()
    expect(page.get_by_role("heading", name="Results", level=1)).to_be_visible()
    for name in ("truncated", "nested", "no-text", "no-object", "directory"):
        expect(page.get_by_test_id("stMain")).to_contain_text(f"The run {name} cannot be read")
    for name in ("no-keys", "no-json", "no-header", "empty"):
        expect(page.get_by_test_id("stMain")).to_contain_text(re.compile(f"checkpoint {name}.* cannot be read"))


def test_9_a_worker_is_killed(every_page, page):
    run, = kdengine.start([Configuration(method="none", epochs=1000, precision="float32")])
    page.goto("/distill?view=Your+own+runs")
    row = page.locator(f".st-key-run-{run}")
    expect(row).to_contain_text("Running", timeout=120_000)
    listed = subprocess.run(["pgrep", "-f", f"kdengine worker {run}"], capture_output=True, text=True, check=True)
    for process in listed.stdout.split():
        os.kill(int(process), signal.SIGKILL)
    expect(row).to_contain_text("Interrupted")
    every_page()


def test_10_masks_are_learned(every_page, page, week, train_here):
    write_tiles(week / "data" / "tiles", train=12, val=4, test=4)
    assert main(["train", "--data", "folder:tiles", "--model", "fpn_tiny", "--image-size", "32", "--epochs", "1",
                 "--batch-size", "4", "--precision", "float32"]) == 0
    every_page()
    page.goto("/segmentation?mask+family=tiles")
    expect(page.get_by_alt_text(re.compile("what it takes each pixel for$"))).to_have_count(1)
