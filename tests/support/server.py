"""HTTP servers for tests: one with replies set by the test, one that is unreachable."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

Reply = tuple[int, dict[str, str], Any]
"""Status, headers, body: a value for JSON, or bytes."""


class Request(NamedTuple):
    """A request of a client."""

    path: str
    body: Any
    """None for GET."""
    key: str | None


def chat_completion(text: str, finish_reason: str = "stop", **more: Any) -> dict[str, Any]:
    """Return the body of a chat completion."""
    return {"choices": [{"message": {"content": text}, "finish_reason": finish_reason}], **more}


@contextmanager
def serving(reply: Callable[[Request], Reply]) -> Iterator[str]:
    """Serve on a free port of this machine; yield the URL, which ends in `/v1`."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self._send(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def do_GET(self) -> None:
            self._send(None)

        def _send(self, body: Any) -> None:
            status, headers, content = reply(
                Request(self.path, body, self.headers["Authorization"])
            )
            data = content if isinstance(content, bytes) else json.dumps(content).encode()
            try:
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(data))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)
            except ConnectionError:  # the client closed the connection
                pass

        def log_message(self, format: str, *args: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        request_queue_size = 256

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def nobody() -> Iterator[str]:
    """Yield a URL at which no server listens, with its port reserved."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{held.getsockname()[1]}/v1"
