"""A bare ASGI app: no framework, the same answers and headers as the sample shop."""

import asyncio
import hashlib
import json
import os
from pathlib import Path
from urllib.parse import parse_qs

VERSION = (Path(__file__).resolve().parent / "VERSION.txt").read_text().strip()
RELEASE = os.environ.get("DEPLOYER_RELEASE", "")


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await _lifespan(receive, send)
    elif scope["type"] == "http":
        await _http(scope, receive, send)
    elif scope["type"] == "websocket":
        await _websocket(receive, send)


async def _websocket(receive, send):
    """Answers each message with the release and the message."""
    while True:
        message = await receive()
        if message["type"] == "websocket.connect":
            await send({"type": "websocket.accept"})
        elif message["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": f"{RELEASE} {message.get('text', '')}"})
        else:
            return


async def _lifespan(receive, send):
    while True:
        message = await receive()
        await send({"type": message["type"] + ".complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def _http(scope, receive, send):
    body = await _body(receive)
    status, answer = 200, {"version": VERSION, "pid": os.getpid(), "release": RELEASE}
    if scope["path"] == "/healthz":
        answer = "ok"
    elif scope["path"] == "/work":
        query = parse_qs(scope["query_string"].decode())
        await asyncio.sleep(float(query.get("ms", ["20"])[0]) / 1000)
    elif scope["path"] == "/echo":
        answer = {"sha256": hashlib.sha256(body).hexdigest(), "length": len(body)}
    elif scope["path"] != "/":
        status, answer = 404, "not found"
    text = isinstance(answer, str)
    payload = (answer if text else json.dumps(answer)).encode()
    headers = [
        (b"content-type", b"text/plain" if text else b"application/json"),
        (b"content-length", str(len(payload)).encode()),
        (b"x-version", VERSION.encode()),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": payload})


async def _body(receive):
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body", False):
            return body
