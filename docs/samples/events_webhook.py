"""Takes postbud's events over HTTP. Needs nothing but Python.

Usage: events_webhook.py PORT SECRET-FILE

Prints each event once. Store it instead, before the answer: an answer of 2xx says that you have it.
"""

import hashlib
import hmac
import json
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

OLDEST = 300  # seconds
MOST = 16 << 20  # octets of one call


def is_genuine(secret: bytes, timestamp: str, body: bytes, signature: str, now: float) -> bool:
    """True if postbud signed these octets lately. `timestamp` and `signature` are the header fields as they came."""
    if not timestamp.isascii() or not timestamp.isdigit() or abs(now - int(timestamp)) > OLDEST:
        return False
    expected = "v1=" + hmac.new(secret, timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected.encode(), signature.encode())


def main(port: int, secret: bytes) -> None:
    seen = set()  # in earnest: a table with event_id as its key, emptied after some days

    class Webhook(BaseHTTPRequestHandler):
        def do_POST(self):
            length = int(self.headers.get("Content-Length", 0))
            body = self.rfile.read(length) if length <= MOST else b""
            timestamp = self.headers.get("Postbud-Timestamp", "")
            signature = self.headers.get("Postbud-Signature", "")
            if not is_genuine(secret, timestamp, body, signature, time.time()):
                self.send_response(401)
                self.end_headers()
                return
            for event in json.loads(body)["events"]:
                if event["event_id"] not in seen:
                    seen.add(event["event_id"])
                    print(event["event"], event.get("queue_id"), event.get("reference"), event.get("recipient"), flush=True)
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass

    ThreadingHTTPServer(("127.0.0.1", port), Webhook).serve_forever()


if __name__ == "__main__":
    # A line end at the end of the file is not part of the secret.
    main(int(sys.argv[1]), open(sys.argv[2], "rb").read().rstrip(b"\r\n"))
