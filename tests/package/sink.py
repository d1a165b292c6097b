"""A mail server on 127.0.0.1:2500 that takes everything and appends it to the file that is named."""

import socketserver
import sys


class Session(socketserver.StreamRequestHandler):
    def handle(self):
        self.say("220 sink")
        while line := self.rfile.readline():
            verb = line.split()[0].upper() if line.split() else b""
            if verb == b"DATA":
                self.say("354 go on")
                with open(sys.argv[1], "ab") as received:
                    while (line := self.rfile.readline()) not in (b".\r\n", b""):
                        received.write(line)
            self.say("250 ok")
            if verb == b"QUIT":
                return

    def say(self, text):
        self.wfile.write(text.encode() + b"\r\n")


socketserver.ThreadingTCPServer.allow_reuse_address = True
socketserver.ThreadingTCPServer(("127.0.0.1", 2500), Session).serve_forever()
