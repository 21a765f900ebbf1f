"""A mail relay: writes each mail that it takes as a line of JSON.

relay.py ADDRESS PORT OUT [CERTIFICATE KEY [implicit]]: with a certificate it wants STARTTLS and the user keepone with
the password secret, or is in TLS from the start.
"""

import asyncio
import email
import email.policy
import json
import ssl
import sys
import time

from aiosmtpd.smtp import SMTP, AuthResult

address, port, out = sys.argv[1:4]
context = None
if len(sys.argv) > 4:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(sys.argv[4], sys.argv[5])
implicit = context if "implicit" in sys.argv else None


class Handler:
    async def handle_RCPT(self, server, session, envelope, to, options):
        if to.startswith("nobody@"):
            return "550 5.1.1 nobody of that name"
        envelope.rcpt_tos.append(to)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
        line = {
            "at": time.time(),
            "helo": session.host_name,
            "tls": session.ssl is not None or implicit is not None,
            "user": bool(session.authenticated),
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "subject": mail["Subject"],
            "id": mail["Message-ID"],
            "auto": mail["Auto-Submitted"],
            "body": mail.get_content(),
        }
        with open(out, "a") as file:
            file.write(json.dumps(line) + "\n")
        return "250 taken"


def authenticate(server, session, envelope, mechanism, data):
    right = mechanism in ("LOGIN", "PLAIN") and (data.login, data.password) == (b"keepone", b"secret")
    return AuthResult(success=right)


def smtp():
    if context is None:
        return SMTP(Handler(), enable_SMTPUTF8=True)
    return SMTP(
        Handler(),
        tls_context=None if implicit else context,
        require_starttls=not implicit,
        authenticator=authenticate,
        auth_required=True,
        auth_require_tls=not implicit,
    )


async def main():
    server = await asyncio.get_running_loop().create_server(smtp, address, int(port), ssl=implicit)
    print("ready", flush=True)
    await server.serve_forever()


asyncio.run(main())
