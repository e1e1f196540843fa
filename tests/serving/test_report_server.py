"""Pages of reports over HTTP: these and nothing else."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest

from twotower_assets.serving.report_server import ReportServerError, report_url, reports_served

VERSION = "2024-01-06-0123456789ab"


@pytest.fixture
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.fixture
def server(tmp_path: Path, port: int) -> Iterator[HTTPConnection]:
    """A server for a folder with one report, next to files that must not be served."""
    folder = tmp_path / "reports"
    (folder / VERSION).mkdir(parents=True)
    (folder / VERSION / "report.html").write_text("<p>γ</p>", encoding="utf-8")
    (folder / VERSION / "manifest.json").write_text("{}")
    (tmp_path / "report.html").write_text("not a report of a version")
    (folder / "2024-01-06-ba9876543210").symlink_to(tmp_path / "gone")
    with reports_served(folder, f"http://127.0.0.1:{port}"):
        connection = HTTPConnection("127.0.0.1", port, timeout=10)
        yield connection
        connection.close()


def test_the_page_of_a_version_is_served_as_it_is(server: HTTPConnection) -> None:
    server.request("GET", f"/{VERSION}/report.html")
    answer = server.getresponse()
    assert answer.status == 200
    assert answer.read().decode() == "<p>γ</p>"
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"


@pytest.mark.parametrize(
    "path",
    [
        "/",
        f"/{VERSION}",
        f"/{VERSION}/manifest.json",
        "/../report.html",
        f"/{VERSION}/../../report.html",
        f"/{VERSION}/%2e%2e/%2e%2e/report.html",
        "/2024-01-06-ba9876543210/report.html",
        "//etc/passwd",
        "/report.html",
    ],
)
def test_nothing_else_is_served(server: HTTPConnection, path: str) -> None:
    server.request("GET", path)
    answer = server.getresponse()
    answer.read()
    assert answer.status == 404


def test_nothing_is_written(server: HTTPConnection) -> None:
    server.request("PUT", f"/{VERSION}/report.html", body="other")
    assert server.getresponse().status == 501


def test_a_port_in_use_is_reported_with_the_setting(tmp_path: Path, port: int) -> None:
    address = f"http://127.0.0.1:{port}"
    with (
        reports_served(tmp_path, address),
        pytest.raises(ReportServerError, match="TWOTOWER_REPORT_ADDRESS"),
        reports_served(tmp_path, address),
    ):
        pass


def test_the_address_of_another_machine_is_left_to_it(tmp_path: Path) -> None:
    with reports_served(tmp_path, "https://reports.example.org/shop/") as served:
        assert not served
    assert report_url("https://reports.example.org/shop/", VERSION) == (
        f"https://reports.example.org/shop/{VERSION}/report.html"
    )
