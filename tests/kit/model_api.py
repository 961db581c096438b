"""A stand-in for the model that an assistant talks to: no network and no account, and one sees what it would be sent.

It speaks as much of Anthropic's Messages API as Claude Code needs to call one tool and to repeat what the tool gave.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Model:
    tool: str
    arguments: dict[str, Any]
    url: str = ""
    results: list[str] = field(default_factory=list)
    """What the tool gave, or why it was not called: each as often as it was sent."""

    def answer(self, request: dict[str, Any]) -> tuple[dict[str, Any], str]:
        """(a block of content, why the model stops)."""
        contents = [message["content"] for message in request["messages"] if isinstance(message["content"], list)]
        given = [
            json.dumps(part["content"])
            for content in contents
            for part in content
            if part.get("type") == "tool_result" and part["tool_use_id"] == "call"
        ]
        if given:
            self.results += given
            return {"type": "text", "text": "The tool gave: " + given[-1]}, "end_turn"
        offered = [tool["name"] for tool in request.get("tools", [])]
        if self.tool in offered:
            return {"type": "tool_use", "id": "call", "name": self.tool, "input": self.arguments}, "tool_use"
        if "ToolSearch" in offered:  # Claude Code names tools first, and describes those that are asked for
            wanted = {"query": f"select:{self.tool}"}
            return {"type": "tool_use", "id": "find", "name": "ToolSearch", "input": wanted}, "tool_use"
        return {"type": "text", "text": f"{self.tool} is not offered"}, "end_turn"


@contextmanager
def model_api(tool: str, **arguments: Any) -> Iterator[Model]:
    """On loopback, a model that calls `tool` once."""
    model = Model(tool, arguments)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (its name there)
            """Nothing on standard error."""

        def do_GET(self) -> None:
            self.send(404, "application/json", "{}")

        do_HEAD = do_GET  # noqa: N815

        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["content-length"])))
            block, stop = model.answer(request)
            message = {"id": "m", "type": "message", "role": "assistant", "model": request["model"], "content": [block]}
            usage = {"input_tokens": 1, "output_tokens": 1}
            if request.get("stream"):
                self.send(200, "text/event-stream", streamed({**message, "usage": usage}, block, stop))
            else:
                self.send(200, "application/json", json.dumps({**message, "stop_reason": stop, "usage": usage}))

        def send(self, status: int, kind: str, text: str) -> None:
            body = text.encode()
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        model.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield model
        finally:
            server.shutdown()
            thread.join()


def streamed(message: dict[str, Any], block: dict[str, Any], stop: str) -> str:
    """The message as server-sent events."""
    if block["type"] == "text":
        start: dict[str, Any] = {**block, "text": ""}
        delta: dict[str, Any] = {"type": "text_delta", "text": block["text"]}
    else:
        start = {**block, "input": {}}
        delta = {"type": "input_json_delta", "partial_json": json.dumps(block["input"])}
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": {**message, "content": [], "stop_reason": None, "stop_sequence": None}},
        {"type": "content_block_start", "index": 0, "content_block": start},
        {"type": "content_block_delta", "index": 0, "delta": delta},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": stop, "stop_sequence": None}, "usage": {"output_tokens": 1}},
        {"type": "message_stop"},
    ]
    return "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events)
