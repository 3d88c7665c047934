"""The real server answers under this machine's own names: no other site's page, whatever its name, opens a session."""

import http.client
import os
import tomllib
from urllib.parse import urlsplit

import pytest
from streamlit import config

from benchmarks import real


def test_every_option_of_the_server_is_one_that_streamlit_knows():
    """It would only warn, and go on as usual."""
    file = tomllib.loads((real.PROJECT / "explorer" / ".streamlit" / "config.toml").read_text())

    def check(path, value):
        if isinstance(value, dict):
            for name, each in value.items():
                check([*path, name], each)
        else:
            config.get_option(".".join(path))

    check([], file)
    assert file["runner"] == {"postScriptGC": False}


@pytest.fixture(scope="module")
def port(tmp_path_factory):
    with real.server(tmp_path_factory.mktemp("hosts") / "runs") as address:
        yield urlsplit(address).port


def asked(port, method, path, host, **headers):
    """The response to a raw request, its body read as far as that ends."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.putrequest(method, path, skip_host=True)
    connection.putheader("Host", host)
    for name, value in headers.items():
        connection.putheader(name.replace("_", "-"), value)
    connection.endheaders()
    response = connection.getresponse()
    return connection, response


def websocket(port, host, origin):
    """The status of a websocket's handshake; 101 opens it."""
    connection, response = asked(
        port, "GET", "/_stcore/stream", host, Origin=origin, Connection="Upgrade", Upgrade="websocket",
        Sec_WebSocket_Version="13", Sec_WebSocket_Key="dGhlIHNhbXBsZSBub25jZQ==", Sec_WebSocket_Protocol="streamlit")
    connection.close()
    return response.status


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "[::1]", "LOCALHOST"])
def test_this_machine_s_names_open_a_session(port, name):
    assert websocket(port, f"{name}:{port}", f"http://{name}:{port}") == 101


@pytest.mark.parametrize("name", [
    "explorer.example", "localhost.explorer.example", "127.0.0.1.explorer.example", "explorer.example:80@localhost",
    "10.0.0.1", "0.0.0.0", "[::2]", "",
])
def test_no_other_name_does_even_where_it_means_this_machine(port, name):
    assert websocket(port, f"{name}:{port}", f"http://{name}:{port}") == 403


@pytest.mark.parametrize("origin", ["http://explorer.example", "null", "https://localhost.explorer.example"])
def test_no_other_site_s_page_does_under_this_machine_s_name(port, origin):
    assert websocket(port, f"localhost:{port}", origin) == 403


@pytest.mark.parametrize("host", ["explorer.example", "localhost"])
def test_nothing_is_uploaded_without_a_session(port, host):
    connection, response = asked(port, "GET", "/_stcore/health", f"{host}:{port}")
    cookie = (response.getheader("Set-Cookie") or "").partition(";")[0]
    connection.close()
    session = os.urandom(16).hex()
    connection, response = asked(
        port, "PUT", f"/_stcore/upload_file/{session}/file", f"{host}:{port}", Origin=f"http://{host}:{port}",
        Cookie=cookie, X_Xsrftoken=cookie.partition("=")[2], Content_Length="0")
    connection.close()
    assert response.status in (400, 403)
