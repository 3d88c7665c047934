"""Browser tests share one server and one Chromium; no request may leave the machine."""

import os
from urllib.parse import urlsplit

import pytest

from benchmarks import real


@pytest.fixture(scope="session")
def chromium():
    """The browser; where it is missing the tests skip and say so, unless it is required."""
    if real.chromium() is None:
        reason = "needs Chromium from the system's packages (for instance: apt-get install chromium)"
        if os.environ.get("KDENGINE_REQUIRE_BROWSER"):
            pytest.fail(reason)
        pytest.skip(reason)
    with real.browser() as launched:
        yield launched


@pytest.fixture(scope="session")
def runs_folder(tmp_path_factory):
    """Where the server's runs lie."""
    return tmp_path_factory.mktemp("browser") / "runs"


@pytest.fixture(scope="session")
def address(chromium, runs_folder):
    """The running explorer's address."""
    with real.server(runs_folder) as at:
        yield at


@pytest.fixture
def page(chromium, address):
    """A fresh tab. Fails the test when a request left 127.0.0.1 or a script of the page broke."""
    context = chromium.new_context(viewport={"width": 1366, "height": 768}, base_url=address, accept_downloads=True)
    tab = context.new_page()
    left, broken = [], []
    tab.on("request", lambda request: left.append(request.url) if not _local(request.url) else None)
    tab.on("pageerror", lambda error: broken.append(str(error)))
    tab.set_default_timeout(30_000)
    yield tab
    context.close()
    assert left == [], "requests left the machine"
    assert broken == [], "a script of the page failed"


def _local(url):
    parts = urlsplit(url)
    return parts.scheme in ("data", "blob", "about", "file") or parts.hostname == "127.0.0.1"
