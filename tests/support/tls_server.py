"""An SMTP server with OpenSSL's TLS that takes every certificate and key which OpenSSL can load, however weak.

Usage: tls_server.py PORT CERTIFICATE KEY VERSION   (VERSION: 1.2, 1.3 or both)

Writes what it hears to standard output, a line each, with what the line came over: `TLSv1.3 MAIL FROM:<a@test.dk>`.
"""

import socket
import ssl
import sys
import threading

port, certificate, key, version = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.set_ciphers("ALL:@SECLEVEL=0")
context.load_cert_chain(certificate, key)
versions = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
context.minimum_version = versions.get(version, ssl.TLSVersion.TLSv1_2)
context.maximum_version = versions.get(version, ssl.TLSVersion.TLSv1_3)


def talk(stream):
    over, lines, content = "clear", stream.makefile("rb"), False

    def say(text):
        stream.sendall(text.encode() + b"\r\n")

    say("220 mail.test.dk ESMTP")
    while line := lines.readline():
        text = line.decode().rstrip("\r\n")
        if content:
            if text == ".":
                content = False
                say("250 2.0.0 queued")
            continue
        print(over, text, flush=True)
        verb = text.split(" ")[0].upper()
        if verb == "EHLO":
            say("250-mail.test.dk" + ("\r\n250-STARTTLS" if over == "clear" else "") + "\r\n250 8BITMIME")
        elif verb == "STARTTLS":
            say("220 2.0.0 go")
            stream = context.wrap_socket(stream, server_side=True)
            over, lines = stream.version(), stream.makefile("rb")
        elif verb == "DATA":
            content = True
            say("354 go")
        elif verb == "QUIT":
            say("221 2.0.0 bye")
            return
        else:
            say("250 2.0.0 ok")


def serve(stream):
    try:
        talk(stream)
    except OSError as error:
        print("error", error, flush=True)
    finally:
        stream.close()


listener = socket.create_server(("127.0.0.1", port))
while True:
    connection, _ = listener.accept()
    threading.Thread(target=serve, args=(connection,), daemon=True).start()
