"""Submits a mail from the domain that is named, and prints its queue id. Fails where the relay does not take it."""

import base64
import socket
import sys

domain = sys.argv[1]
connection = socket.create_connection(("127.0.0.1", 2525), 10)
lines = connection.makefile("rwb")


def hear():
    while True:
        line = lines.readline().decode()
        if line[3:4] != "-":
            return line.strip()


def say(text, expected):
    lines.write(text.encode() + b"\r\n")
    lines.flush()
    answer = hear()
    if not answer.startswith(expected):
        sys.exit(f"{text!r}: {answer}")
    return answer


hear()
say("EHLO test", "250")
say("AUTH PLAIN " + base64.b64encode(b"\0webcrm\0correct horse battery").decode(), "235")
say(f"MAIL FROM:<a@{domain}>", "250")
say("RCPT TO:<b@example.net>", "250")
say("DATA", "354")
content = f"From: a@{domain}\r\nTo: b@example.net\r\nSubject: x\r\nDate: Thu, 26 Nov 2026 10:00:00 +0000\r\nMessage-ID: <{{}}@x>\r\n\r\nx\r\n."
print(say(content.format(id(lines)), "250").split()[-1])
