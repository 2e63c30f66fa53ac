"""One page with the metrics of all workers: a scrape reaches only one of them."""

from __future__ import annotations

import socket
import socketserver
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress

from serving.server.workers.place import Place

# A worker that does not answer in time is left out, as one that is being restarted is.
_SECONDS = 2.0


class MetricsPage:
    """Gives a worker's metrics to the other workers, and makes one page of those of all.

    Args:
        place: Of this worker.
        render: Returns this worker's own page.
    """

    def __init__(self, place: Place, render: Callable[[], str]) -> None:
        self._place = place
        self._render = render
        path = place.socket_path()
        path.unlink(missing_ok=True)  # of a worker that died
        self._server = socketserver.ThreadingUnixStreamServer(str(path), _handler(render))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, name="worker-metrics", daemon=True)

    def start(self) -> None:
        """Begins to answer the other workers."""
        self._thread.start()

    def stop(self) -> None:
        """Ends."""
        if self._thread.is_alive():
            self._server.shutdown()
        self._server.server_close()
        self._place.socket_path().unlink(missing_ok=True)

    def render(self) -> str:
        """Returns the metrics of every worker that answers, each sample with the label `worker`."""
        pages = {self._place.number: self._render()}
        for path in self._place.socket_path().parent.glob("*.sock"):
            number = int(path.stem)
            if number not in pages:
                with suppress(OSError):
                    pages[number] = _fetch(str(path))
        return merged(pages)


def merged(pages: dict[int, str]) -> str:
    """Returns one page in Prometheus' text format of the pages of workers, by their numbers."""
    families: dict[str, list[str]] = {}
    for number, page in sorted(pages.items()):
        for line in page.splitlines():
            if line.startswith("#"):
                samples = families.setdefault(line, [])
            else:
                samples.append(_labelled(line, number))
    return "".join(f"{line}\n" for head, samples in sorted(families.items()) for line in (head, *samples))


def _labelled(line: str, number: int) -> str:
    name, _, rest = line.partition("{")
    return f'{name}{{worker="{number}"{"" if rest.startswith("}") else ","}{rest}'


def _handler(render: Callable[[], str]) -> type[socketserver.StreamRequestHandler]:
    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(render().encode("utf-8", "surrogateescape"))

    return Handler


def _fetch(path: str) -> str:
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(_SECONDS)
        peer.connect(path)
        return b"".join(_parts(peer)).decode("utf-8", "surrogateescape")


def _parts(peer: socket.socket) -> Iterable[bytes]:
    while part := peer.recv(65536):
        yield part
