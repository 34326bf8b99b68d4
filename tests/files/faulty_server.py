"""A server of this machine that does what it is told to do wrong."""

import hashlib
import http.server
import threading

DATA = bytes(range(256)) * 5000  # 1.28 MB, so that it comes in several pieces
SHA256 = hashlib.sha256(DATA).hexdigest()


class Server(http.server.ThreadingHTTPServer):
    """Serves DATA; what it does wrong is set by the test."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests = []  # the Range of each, None without
        self.answers = []  # statuses to give before it behaves
        self.cut_after = []  # bytes after which to hang up, one entry a request
        self.stall = threading.Event()  # until it is set, a "stall" cut sends nothing more
        self.versions = ['"1"']  # entity tags, the last one for all further requests
        self.ranges = True
        self.data = DATA
        self.location = None
        self.url = f"http://127.0.0.1:{self.server_address[1]}/file.zip"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        server = self.server
        wanted = self.headers.get("Range")
        server.requests.append(wanted)
        if server.location:
            return self.reply(302, {"Location": server.location})
        if server.answers:
            return self.reply(server.answers.pop(0), {})
        version = server.versions.pop(0) if len(server.versions) > 1 else server.versions[0]
        start = 0
        if wanted and server.ranges and self.headers.get("If-Range") in (None, version):
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
        if start >= len(server.data):
            return self.reply(416, {"Content-Range": f"bytes */{len(server.data)}"})
        headers = {"Content-Length": str(len(server.data) - start)}
        if version:
            headers["ETag"] = version
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(server.data) - 1}/{len(server.data)}"
        return self.reply(206 if start else 200, headers, server.data[start:])

    def reply(self, status, headers, body=b""):
        self.send_response(status)
        headers.setdefault("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        cut = self.server.cut_after.pop(0) if body and self.server.cut_after else None
        try:
            self.wfile.write(body[:cut])
            self.wfile.flush()
            if cut is not None:
                self.server.stall.wait(20)
                self.close_connection = True
        except OSError:  # the test's process was killed or gave up
            self.close_connection = True
