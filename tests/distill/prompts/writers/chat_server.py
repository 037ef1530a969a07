"""A server with OpenAI's interface of chats, which answers as a test says."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def completion(text, finish="stop", tokens=7):
    return {"choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": finish}],
            "usage": {"total_tokens": tokens}}  # fmt: skip


class ChatHandler(BaseHTTPRequestHandler):
    """Calls `server.answer(number, body)`: a dictionary is sent as JSON, bytes as they are, a function gets the handler."""

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            self.server.asked.append((self.path, body, self.headers.get("Authorization")))
            number = len(self.server.asked)
        reply = self.server.answer(number, body)
        if callable(reply):
            reply(self)
            return
        self.reply(200, json.dumps(reply).encode() if isinstance(reply, dict) else reply)

    def reply(self, status, content=b"", headers=()):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        """Keep quiet."""


class ChatServer(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        """A client that hangs up is no fault."""


@contextmanager
def chat_server(answer):
    server = ChatServer(("127.0.0.1", 0), ChatHandler)
    server.answer, server.asked, server.lock = answer, [], threading.Lock()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server, f"http://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
