"""Compare over the whole test set, in a real browser: a dot that is clicked shows its image and maps."""

import re

import pytest

import kdengine
from benchmarks.real import settle

pytestmark = pytest.mark.browser

expect = pytest.importorskip("playwright.sync_api").expect
expect.set_options(timeout=60_000)  # a busy machine is slow, not wrong


def test_the_least_alike_dot_shows_its_picture_and_its_maps(page):
    measured = kdengine.runs.heat_fidelity(
        "digits-resnet8-none", "digits-teacher", kdengine.open_data("digits"), count=100, with_checks=False)
    values = measured.fidelity.student.values["correlation"]
    least = min(range(100), key=values.__getitem__)
    page.goto("/compare?fidelity=true&alike+images=100&layer=stage2&image=0")
    settle(page)
    dots = page.locator(".dots_marks path")
    expect(dots).to_have_count(200, timeout=120_000)  # two students of 100 images
    settle(page)
    dots.nth(100 + least).click()
    page.wait_for_url(lambda address: re.search(rf"[?&]image={least}(&|$)", address))
    expect(page.get_by_label("Number, 0 to 358")).to_have_value(str(least))
    expect(page).to_have_url(re.compile("target=the\\+teacher"))
    expect(page).not_to_have_url(re.compile("layer="))
    settle(page)
    expect(page.get_by_alt_text(re.compile("^Where .* looks for"))).to_have_count(3)
    # The maps above are those that were measured: the table has the dot's number.
    row = page.get_by_role("row", name=re.compile("Independent student"))
    expect(row).to_contain_text(f"{values[least]:.3f}")
    expect(page.get_by_text(f"{values[least]:.3f} for Independent student")).to_be_visible()
    page.reload()
    expect(page.get_by_label("Number, 0 to 358")).to_have_value(str(least))
    expect(page.locator(".dots_marks path")).to_have_count(200)
