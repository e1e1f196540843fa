"""Serves report pages over HTTP, so that the Dagster UI can link to them: browsers block `file://` links on web pages.

Only these pages are served, read-only, to this machine. `report_pages` finds the newest page of a day.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

REPORTS, REPORT_FILE = "popularity_bias_report", "report.html"
_PAGE = re.compile(rf"/(\d{{4}}-\d\d-\d\d-[0-9a-f]{{12}})/{re.escape(REPORT_FILE)}")
LOOPBACK = ("127.0.0.1", "localhost")


class ReportServerError(OSError):
    """Reports cannot be served at the address of the setting `report_address`."""


def report_url(address: str, version: str) -> str:
    """The URL of a report version's page; `address` is the setting `report_address`."""
    return f"{address.rstrip('/')}/{version}/{REPORT_FILE}"


@contextmanager
def reports_served(folder: Path, address: str) -> Iterator[bool]:
    """Serve `<folder>/<version>/report.html` at `address` while the context lasts; yields whether it is served.

    If the address is on another machine, nothing is served here. Raises `ReportServerError` if the port is in use.
    """
    url = urlsplit(address)
    if url.hostname not in LOOPBACK:
        yield False
        return
    try:
        server = ThreadingHTTPServer(("127.0.0.1", url.port or 80), _handler(folder))
    except OSError as error:
        raise ReportServerError(
            f"reports cannot be served at {address}: {error.strerror or error}. Set another address with "
            "TWOTOWER_REPORT_ADDRESS"
        ) from error
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield True
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(folder: Path) -> type[BaseHTTPRequestHandler]:
    class Pages(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            page = _PAGE.fullmatch(urlsplit(self.path).path)
            try:
                content = (folder / page[1] / REPORT_FILE).read_bytes() if page else None
            except OSError:
                content = None
            if content is None:
                self.send_error(HTTPStatus.NOT_FOUND, "There is no such report")
                return
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            """Requests are not logged."""

    return Pages
