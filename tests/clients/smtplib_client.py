"""Sends one mail with Python's smtplib over STARTTLS: argv: port, CA file, user, password."""

import smtplib
import ssl
import sys
from email.message import EmailMessage

port, ca, user, password = sys.argv[1:]
message = EmailMessage()
message["From"] = "Søren <info@test.dk>"
message["To"] = "kunde@example.com"
message["Bcc"] = "skjult@example.com"
message["Subject"] = "Æbler og pærer"
message.set_content("Kære kunde\n.\n.punktum\nSlut\n")
message.add_attachment(bytes(range(256)) * 40, maintype="application", subtype="octet-stream", filename="data.bin")
with smtplib.SMTP("localhost", int(port)) as client:
    client.starttls(context=ssl.create_default_context(cafile=ca))
    client.login(user, password)
    client.send_message(message)
print("sent")
