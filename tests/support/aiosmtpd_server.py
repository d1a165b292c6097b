"""Takes mail on 127.0.0.1 after STARTTLS and AUTH LOGIN, one file a message.

Arguments: port, certificate chain, key, mailbox folder, username, password.
"""

import asyncio
import itertools
import pathlib
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult

port, chain, key, mailbox, username, password = sys.argv[1:]
numbers = itertools.count()


class Box:
    async def handle_DATA(self, server, session, envelope):
        pathlib.Path(mailbox, f"{next(numbers)}").write_bytes(envelope.content)
        return "250 2.0.0 kept"


def authenticate(server, session, envelope, mechanism, data):
    known = (data.login, data.password) == (username.encode(), password.encode())
    print(mechanism, "accepted" if known else "refused", flush=True)
    return AuthResult(success=known, handled=known)


async def main():
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(chain, key)

    def session():
        return SMTP(
            Box(),
            tls_context=context,
            require_starttls=True,
            auth_required=True,
            auth_exclude_mechanism=["PLAIN"],
            authenticator=authenticate,
            enable_SMTPUTF8=True,
        )

    server = await asyncio.get_running_loop().create_server(session, "127.0.0.1", int(port))
    await server.serve_forever()


asyncio.run(main())
