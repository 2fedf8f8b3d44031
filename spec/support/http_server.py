"""A server of HTTP for specs: http_server.py [CERT KEY]. Prints "port N", then what it is asked
and what becomes of it. What it answers is in the path. It is a proxy as well."""
import http.server
import json
import os
import select
import socket
import ssl
import sys
import threading
import time

connections = 0
lock = threading.Lock()


def say(*words):
    with lock:
        print(*words, flush=True)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def setup(self):
        global connections
        super().setup()
        with lock:
            connections += 1
            self.connection_id = connections

    def log_message(self, *_):
        pass

    def body(self):
        if self.headers.get("Transfer-Encoding") == "chunked":
            text = b""
            while size := int(self.rfile.readline(), 16):
                text += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return text
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def answer(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        empty = status in (204, 304)
        if not empty:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if not empty and self.command != "HEAD":
            self.wfile.write(body)

    def chunk(self, text):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(text), text))

    def any(self):
        path, _, query = self.path.partition("?")
        say("asked", self.command, self.path)
        if path.startswith("http://"):
            self.headers["X-Proxied"] = path
            path = "/" + path.split("/", 3)[3]
        word, _, rest = path[1:].partition("/")
        try:
            getattr(self, "on_" + word, self.on_echo)(rest, query)
        except OSError:
            self.close_connection = True
            say("gone", self.path)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_QUERY = any

    def on_echo(self, _rest, query):
        body = self.body()
        text = json.dumps({
            "method": self.command, "path": self.path, "query": query, "type": None,
            "headers": {name.lower(): self.headers.get_all(name) for name in self.headers},
            "body": body.decode("latin-1"), "connection": self.connection_id})
        self.answer(200, text.encode(), Content_Type="application/json", X_One="1")

    def on_status(self, rest, _query):
        self.answer(int(rest), b'{"error":"status %s"}' % rest.encode())

    def on_redirect(self, rest, query):
        self.body()
        self.answer(int(rest or 302), Location=query)

    def on_headers(self, _rest, _query):
        self.wfile.write(b"HTTP/1.1 103 Early Hints\r\nX-Early: 1\r\n\r\n"
                         b"HTTP/1.1 200 OK\r\nX-Twice: a\r\nx-twice: b\r\nSet-Cookie: a=1\r\n"
                         b"Set-Cookie: b=2, c\r\nX-Empty:\r\nX-Blank:  x y \t\r\n"
                         b"Content-Length: 2\r\n\r\nok")

    def on_text(self, rest, _query):
        self.answer(200, rest.encode(), Content_Type="text/plain")

    def on_raw(self, rest, _query):
        """What is in the path, percent-encoded, and the end of the connection."""
        self.wfile.write(bytes.fromhex(rest))
        self.close_connection = True

    def on_bytes(self, rest, _query):
        self.answer(200, b"x" * int(rest))

    def on_many_headers(self, rest, _query):
        self.wfile.write(b"HTTP/1.1 200 OK\r\n" + b"".join(
            b"X-%d: %s\r\n" % (i, b"x" * 1000) for i in range(int(rest))) +
            b"Content-Length: 0\r\n\r\n")

    def on_silent(self, _rest, _query):
        self.until_gone()

    def on_deaf(self, _rest, _query):
        """Reads nothing."""
        time.sleep(60)

    def on_refuses(self, _rest, _query):
        """Answers at once, and forgets what it reads."""
        self.answer(413, b"no", Connection="close")
        self.connection.shutdown(socket.SHUT_WR)
        while self.connection.recv(65536):
            pass
        self.close_connection = True

    def on_hasty(self, rest, _query):
        """Answers and is gone, without having read what was sent."""
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: %s\r\n\r\n" % rest.encode())
        self.wfile.write(b"x" * int(rest))
        self.close_connection = True

    def on_half(self, _rest, _query):
        """Half an answer, and no more."""
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf ")
        self.until_gone()

    def on_cut(self, _rest, _query):
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf ")
        self.close_connection = True

    def on_lines(self, rest, _query):
        """Lines, one by one: the next one when a file of this name is there."""
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for i in range(1, 4):
            self.chunk(b"line %d\n" % i)
            while i < 3 and not os.path.exists("/%s.%d" % (rest, i)):
                time.sleep(0.005)
        self.chunk(b"")

    def on_endless(self, _rest, _query):
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        sent = 0
        while True:
            self.chunk(b"x" * 65536)
            sent += 65536
            if sent % (1 << 20) == 0:
                say("sent", sent)

    def until_gone(self):
        select.select([self.connection], [], [])
        try:
            if self.connection.recv(1) == b"":
                say("gone", self.path)
        except OSError:
            say("gone", self.path)
        self.close_connection = True

    def do_CONNECT(self):
        say("connect", self.path, self.headers.get("Proxy-Authorization", "-"))
        if self.path.startswith("forbidden"):
            self.answer(403)
            return
        host, port = self.path.rsplit(":", 1)
        there = socket.create_connection(("127.0.0.1", int(port)))
        self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        pair = {self.connection: there, there: self.connection}
        while True:
            for one in select.select(list(pair), [], [])[0]:
                text = one.recv(65536)
                if not text:
                    there.close()
                    self.close_connection = True
                    return
                pair[one].sendall(text)


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        say("failed", repr(sys.exc_info()[1]))


class TlsServer(Server):
    """The handshake is made where it holds up nobody else."""

    def finish_request(self, request, address):
        request = tls.wrap_socket(request, server_side=True)
        super().finish_request(request, address)
        request.close()


tls = None
if len(sys.argv) > 1:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(sys.argv[1], sys.argv[2])
    if len(sys.argv) > 3:
        tls.verify_mode = ssl.CERT_REQUIRED
        tls.load_verify_locations(sys.argv[3])
server = (TlsServer if tls else Server)(("127.0.0.1", 0), Handler)
say("port", server.server_address[1])
server.serve_forever()
