"""Submits a mail as webCRM does, over STARTTLS, to port 2525 of the address that is named."""

import smtplib
import ssl
import sys
import time

context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
with smtplib.SMTP(sys.argv[1], 2525, timeout=20) as client:
    client.starttls(context=context)
    client.login("webcrm", "correct horse battery")
    client.sendmail(
        "a@test.dk",
        ["b@example.net"],
        f"From: a@test.dk\r\nTo: b@example.net\r\nSubject: x\r\nDate: Thu, 26 Nov 2026 10:00:00 +0000\r\nMessage-ID: <{time.time_ns()}@test.dk>\r\n\r\nx\r\n",
    )
