"""Where the UI sends browsers, on a real server behind a front that tells them something else."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
from prefect.settings import PREFECT_API_AUTH_STRING, temporary_settings

from meta_flows.prefect_api.connection import ui_url
from meta_flows.prefect_api.ui import find_ui_faults, is_loopback
from tests.servers import Server, free_port


class Front(BaseHTTPRequestHandler):
    """Passes everything on, but for the address that the UI's settings name and the origins that are allowed."""

    server_url: str
    api_url: str
    origins: str

    def do_GET(self) -> None:
        answer = httpx.get(self.server_url + self.path, follow_redirects=True)
        body = answer.content
        if self.path == "/ui-settings":
            body = json.dumps({**answer.json(), "api_url": self.api_url}).encode()
        self.send_response(answer.status_code)
        self.send_header("Content-Type", answer.headers["content-type"])
        self.send_header("Access-Control-Allow-Origin", self.origins)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


StartFront = Callable[..., str]


@pytest.fixture
def front(server: Server) -> Iterator[StartFront]:
    """Start a front; its address."""
    with ExitStack() as stack:

        def start(api_url: str = "/api", origins: str = "*") -> str:
            settings = {"server_url": server.api_url.removesuffix("/api"), "api_url": api_url, "origins": origins}
            listening = stack.enter_context(ThreadingHTTPServer(("127.0.0.1", 0), type("Told", (Front,), settings)))
            threading.Thread(target=listening.serve_forever, daemon=True).start()
            stack.callback(listening.shutdown)
            return f"http://127.0.0.1:{listening.server_port}"

        yield start


def found(ui_url: str, api_url: str, known: str = "/health") -> list[str]:
    """Codes and messages of what is wrong."""
    return [f"{item.code} {item.message}" for item in find_ui_faults(ui_url, api_url, known)]


def test_a_server_s_own_ui_is_right_in_either_version(server: Server) -> None:
    root = server.api_url.removesuffix("/api")
    assert found(root, server.api_url) == found(f"{root}/v2/", server.api_url) == []


def test_a_relative_address_is_as_good(front: StartFront, server: Server) -> None:
    assert found(f"{front('/api')}/v2", server.api_url) == []


def test_a_wrong_port_is_named(front: StartFront, server: Server) -> None:
    told = f"http://127.0.0.1:{free_port()}/api"
    url = front(told)
    [message] = found(url, server.api_url)
    assert message.startswith(f"MF712 the UI at {url} makes browsers call {told}: ")


@pytest.mark.parametrize("path", ["/apy", "/v2", "", "/api/v2"])
def test_a_wrong_path_is_named(front: StartFront, server: Server, path: str) -> None:
    told = server.api_url.removesuffix("/api") + path
    url = front(told)
    assert found(url, server.api_url) == [
        f"MF712 the UI at {url} makes browsers call {told}: what answers is no Prefect API"
    ]


def test_another_server_is_known_by_what_it_does_not_have(
    front: StartFront, server: Server, unscheduled_server: Server
) -> None:
    flow = server.post("/flows/", {"name": "only-here"})["id"]
    assert found(front(server.api_url), server.api_url, f"/flows/{flow}") == []
    url = front(unscheduled_server.api_url)
    assert found(url, server.api_url, f"/flows/{flow}") == [
        f"MF712 the UI at {url} makes browsers call {unscheduled_server.api_url}: "
        "what answers is another Prefect server"
    ]


def test_who_we_are_is_shown_to_our_server_only(front: StartFront, server: Server) -> None:
    told: list[str | None] = []

    class Curious(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            told.append(self.headers["Authorization"])
            self.send_response(401)
            self.send_header("Content-Type", "application/json")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Curious) as curious:
        threading.Thread(target=curious.serve_forever, daemon=True).start()
        with temporary_settings({PREFECT_API_AUTH_STRING: "admin:hunter2"}):
            found(front(f"http://127.0.0.1:{curious.server_port}/api"), server.api_url, "/flow_runs/x")
        curious.shutdown()
    assert told and set(told) == {None}


def test_a_loopback_address_is_of_no_use_to_browsers_elsewhere(
    front: StartFront, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *rest, **more: resolve("127.0.0.1", *rest, **more))
    url = front(server.api_url).replace("127.0.0.1", "prefect.example.com")
    assert found(url, url) == [
        f"MF712 the UI at {url} makes browsers call {server.api_url}: that is each browser's own machine"
    ]
    relative = front("/api").replace("127.0.0.1", "prefect.example.com")
    assert found(relative, relative) == []


def test_from_a_container_the_ui_is_looked_for_beside_the_api(
    front: StartFront, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There, the address that people use on their machine leads to the container itself."""
    resolve = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *rest, **more: resolve("127.0.0.1", *rest, **more))
    people = f"http://localhost:{free_port()}"
    beside = front(f"{people}/api").replace("127.0.0.1", "server")
    assert found(f"{people}/v2", f"{beside}/api") == []
    beside = front(f"{people}/apy").replace("127.0.0.1", "server")
    assert [message.partition(" ")[0] for message in found(f"{people}/v2", f"{beside}/api")] == ["MF712"]


def test_an_api_that_allows_other_origins_only_is_named(front: StartFront, server: Server) -> None:
    closed = front("/api", origins="https://other.example.com")
    assert found(closed, server.api_url) == []  # one's own origin needs no permission
    url = front(f"{closed}/api")
    assert found(url, server.api_url) == [f"MF713 {closed}/api does not allow requests of pages from {url}"]


def test_a_ui_that_is_not_there_is_named(server: Server) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    [message] = found(url, server.api_url)
    assert message.startswith(f"MF711 no Prefect UI answers at {url}: ")
    assert found(server.api_url, server.api_url) == [f"MF711 no Prefect UI answers at {server.api_url}: HTTP 404"]


def test_an_api_that_calls_itself_by_every_address_is_of_no_use_to_browsers_elsewhere(
    front: StartFront, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *rest, **more: resolve("127.0.0.1", *rest, **more))
    everywhere = server.api_url.replace("127.0.0.1", "0.0.0.0")
    url = front(everywhere).replace("127.0.0.1", "prefect.example.com")
    assert found(url, url) == [
        f"MF712 the UI at {url} makes browsers call {everywhere}: that is each browser's own machine"
    ]


@pytest.mark.parametrize(
    ("path", "stated", "newer"),
    [
        ("/tools/prefect", "/tools/prefect/v2", "/v2"),  # PREFECT_UI_SERVE_BASE
        ("/tools/prefect", "/v2", "/v2"),  # a proxy that takes the path off
        ("", "/v2", "/v2"),
        ("", None, ""),  # PREFECT_UI_ENABLED=false
    ],
)
def test_links_lead_to_a_ui_below_a_path_whoever_put_it_there(path: str, stated: str | None, newer: str) -> None:
    class Settings(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == f"{path}/ui-settings" else 404)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps({"default_ui": "v2", "v2_base_url": stated}).encode())

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Settings) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        root = f"http://127.0.0.1:{listening.server_port}{path}"
        assert ui_url(f"{root}/api") == f"{root}{newer}"
        listening.shutdown()


@pytest.mark.parametrize("url", ["http://localhost:4200", "http://127.0.0.2/api", "http://[::1]:4200/v2"])
def test_loopback_is_known_by_any_name(url: str) -> None:
    assert is_loopback(url)
    assert not is_loopback("http://prefect.example.com") and not is_loopback("http://10.0.0.1:4200")
