"""A receiver of webhooks: writes each event that it takes as a line of JSON, each key once, and answers 503 while
OUT.refuse is there.

receiver.py ADDRESS PORT OUT KEY_FILE [CERTIFICATE KEY]
"""

import hashlib
import hmac
import json
import os
import ssl
import sys
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

address, port, out, key_file = sys.argv[1:5]
key = open(key_file, "rb").read().strip()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        refuses = os.path.exists(out + ".refuse")
        if not refuses:
            wanted = "sha256=" + hmac.new(key, body, hashlib.sha256).hexdigest()
            line = {
                "at": time.time(),
                "key": self.headers["Idempotency-Key"],
                "is_signed": hmac.compare_digest(wanted, self.headers.get("Keepone-Signature", "")),
                "type": self.headers["Content-Type"],
                "path": self.path,
                "event": json.loads(body),
            }
            with open(out, "a") as file:
                file.write(json.dumps(line) + "\n")
        self.send_response(503 if refuses else 204)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *words):
        pass


server = HTTPServer((address, int(port)), Handler)
if len(sys.argv) > 5:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(sys.argv[5], sys.argv[6])
    server.socket = context.wrap_socket(server.socket, server_side=True)
print("ready", flush=True)
server.serve_forever()
