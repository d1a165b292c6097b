"""A consumer of postbud's events, written from docs/ alone: events.md, webcrm.md, api.md and openapi.json. It reads no source.

    consumer.py serve PORT SECRET-FILE STORE   takes the webhook's calls; refuses the first and each third one after it, as a consumer with trouble
    consumer.py replay API TOKEN STORE         reads the same events by cursor
    consumer.py lives DOCS STORE               prints the life of each recipient of each mail as JSON

A store is an SQLite file with one row for each event. What comes again is dropped by its event_id (events.md, "Order and duplicates").
"""

import hashlib
import hmac
import json
import re
import sqlite3
import sys
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer


def opened(path):
    store = sqlite3.connect(path, check_same_thread=False)
    store.execute("CREATE TABLE IF NOT EXISTS event (number INTEGER PRIMARY KEY, id TEXT UNIQUE, event TEXT)")
    store.execute("CREATE TABLE IF NOT EXISTS again (id TEXT)")
    return store


def keep(store, events):
    """Stores what is new, durably."""
    for event in events:
        text = json.dumps(event, sort_keys=True)
        added = store.execute("INSERT OR IGNORE INTO event (id, event) VALUES (?, ?)", (event["event_id"], text)).rowcount
        if not added:
            store.execute("INSERT INTO again VALUES (?)", (event["event_id"],))
    store.commit()


def is_genuine(secret, fields, body):
    """events.md, "Webhooks": the HMAC-SHA256 of the timestamp, a dot, and the body's octets as they came; not older than five minutes."""
    timestamp = fields.get("Postbud-Timestamp", "")
    if not timestamp.isdigit() or abs(time.time() - int(timestamp)) > 300:
        return False
    expected = hmac.new(secret, timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    return hmac.compare_digest("v1=" + expected, fields.get("Postbud-Signature", ""))


def serve(port, secret_file, path):
    secret, store = open(secret_file, "rb").read().rstrip(b"\r\n"), opened(path)
    calls = 0

    class Webhook(BaseHTTPRequestHandler):
        def do_POST(self):
            nonlocal calls
            calls += 1
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if not is_genuine(secret, self.headers, body):
                return self.answer(401)
            call = json.loads(body)
            assert call["batch"] == self.headers["Postbud-Batch"] and call["events"]
            keep(store, call["events"])
            # The events are stored, and the answer is lost: they come again.
            self.answer(503 if calls % 3 == 1 else 204)

        def answer(self, status):
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_):
            pass

    HTTPServer(("127.0.0.1", int(port)), Webhook).serve_forever()


def replay(api, token, path):
    store, cursor = opened(path), "oldest"
    while True:
        request = urllib.request.Request(
            f"{api}/api/v1/events?cursor={cursor}&limit=7", headers={"Authorization": f"Bearer {token}"}
        )
        page = json.load(urllib.request.urlopen(request))
        keep(store, page["events"])
        cursor = page["cursor"]
        if not page["more"] and not page["events"]:
            return


def tables(docs):
    """The kinds of events about mail as the two tables of events.md name them: True where the third column says that it is the end."""
    told, reported = {}, set()
    for line in open(f"{docs}/events.md", encoding="utf-8"):
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        names = re.findall(r"`([a-z_.]+)`", cells[0]) if line.startswith("| `") else []
        if line.startswith("Everything else:"):
            return told, reported
        if len(cells) == 3:
            told.update((name, cells[2].startswith("yes")) for name in names)
        elif len(cells) == 2:
            reported.update(names)
    raise SystemExit("events.md has no such tables")


def lives(docs, path):
    told, reported = tables(docs)
    mails = {}
    for (text,) in opened(path).execute("SELECT event FROM event ORDER BY number"):
        event = json.loads(text)
        if "queue_id" not in event or "recipient" not in event or event["event"] not in {*told, *reported}:
            continue
        mail = mails.setdefault(event["queue_id"], {"reference": event.get("reference"), "recipients": {}})
        life = mail["recipients"].setdefault(event["recipient"], {"events": [], "ends": [], "later": []})
        life["events"].append(event["event"])
        if event["event"] in reported and "reason" in event:
            life["later"].append(event["event"])
        elif told[event["event"]]:
            life["ends"].append(event["event"])
    for mail in mails.values():
        for life in mail["recipients"].values():
            # events.md: what was reported behind a "relayed" counts in this order, because reports come in any order.
            later = life.pop("later")
            reports = [kind for kind in ("bounced", "complained", "unsubscribed", "delivered") if kind in later]
            life["outcome"] = reports[0] if reports else (life["ends"] or ["waits"])[-1]
    again = opened(path).execute("SELECT count(*) FROM again").fetchone()[0]
    ids = [row[0] for row in opened(path).execute("SELECT id FROM event ORDER BY number")]
    print(json.dumps({"mails": mails, "again": again, "ids": ids}))


if __name__ == "__main__":
    {"serve": serve, "replay": replay, "lives": lives}[sys.argv[1]](*sys.argv[2:])
