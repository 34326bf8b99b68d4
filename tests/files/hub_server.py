"""The part of the Hugging Face Hub that takes uploads, on this machine."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

LARGE = (".pdparams", ".safetensors", ".bin", ".model")


@dataclass
class Hub:
    """What was uploaded, and what is to go wrong.

    Attributes:
        token: That may write.
        created: Requests for repositories.
        commits: Files of each commit by their names, and the branch.
        blobs: Large files by their digests.
        sent: Digests of large files in the order in which they came whole.
        breaks: How many uploads of large files break off.
    """

    token: str = "hf_" + "Secret1" * 5
    address: str = ""
    created: list[dict[str, Any]] = field(default_factory=list)
    branches: list[str] = field(default_factory=list)
    commits: list[tuple[str, dict[str, bytes]]] = field(default_factory=list)
    blobs: dict[str, bytes] = field(default_factory=dict)
    sent: list[str] = field(default_factory=list)
    breaks: int = 0


class Handler(BaseHTTPRequestHandler):
    """Answers as the Hub does."""

    protocol_version = "HTTP/1.1"
    hub: Hub  # of a class made for it

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        lines = [json.loads(line) for line in body.splitlines()]
        if self.path == "/api/validate-yaml":
            self._answer({"errors": [], "warnings": []})
        elif self.headers.get("Authorization") != f"Bearer {self.hub.token}":
            self._answer({"error": "Invalid credentials"}, 401)
        elif self.path == "/api/repos/create":
            self.hub.created.append(lines[0])
            self._answer({"url": f"{self.hub.address}/me/model"})
        else:
            *_, action, name = self.path.split("?")[0].split("/")
            self._answer(getattr(self, f"_{action}")(name, lines))

    def do_PUT(self) -> None:
        size = int(self.headers["Content-Length"])
        if self.hub.breaks:
            self.hub.breaks -= 1
            self.rfile.read(size // 2)
            self.close_connection = True
            return
        digest = self.path.rpartition("/")[2]
        self.hub.blobs[digest] = self.rfile.read(size)
        self.hub.sent.append(digest)
        self._answer({})

    def log_message(self, *_: object) -> None:
        """Keep quiet."""

    def _branch(self, name: str, lines: list[Any]) -> object:
        self.hub.branches.append(name)
        return {}

    def _preupload(self, branch: str, lines: list[Any]) -> object:
        names = [one["path"] for one in lines[0]["files"]]
        modes = {name: "lfs" if name.endswith(LARGE) else "regular" for name in names}
        return {
            "files": [
                {"path": name, "uploadMode": mode, "shouldIgnore": False}
                for name, mode in modes.items()
            ]
        }

    def _objects(self, batch: str, lines: list[Any]) -> object:
        places = []
        for one in lines[0]["objects"]:
            upload = {"href": f"{self.hub.address}/blobs/{one['oid']}"}
            places.append(
                one if one["oid"] in self.hub.blobs else one | {"actions": {"upload": upload}}
            )
        return {"transfer": "basic", "objects": places}

    def _commit(self, branch: str, lines: list[Any]) -> object:
        files = {}
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.hub.blobs[value["oid"]]
        self.hub.commits.append((branch, files))
        number = len(self.hub.commits)
        url = f"{self.hub.address}/me/model/commit/{number}"
        return {"success": True, "commitUrl": url, "commitOid": f"{number}"}

    def _answer(self, value: object, status: int = 200) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def taking() -> Iterator[Hub]:
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("OfHub", (Handler,), {"hub": hub}))
    hub.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
