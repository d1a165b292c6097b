"""Sends one mail with Microsoft's System.Net.Mail, as webCRM does: argv: port, user, password."""

import json
import os
import sys
import tempfile

import dotnetcore2
from clr_loader import get_coreclr
from pythonnet import set_runtime

port, user, password = sys.argv[1:]
root = os.path.join(os.path.dirname(dotnetcore2.__file__), "bin")
with tempfile.NamedTemporaryFile("w", suffix=".runtimeconfig.json", delete=False) as config:
    framework = {"name": "Microsoft.NETCore.App", "version": "3.1.0"}
    properties = {"System.Globalization.Invariant": True}
    json.dump({"runtimeOptions": {"framework": framework, "configProperties": properties}}, config)
set_runtime(get_coreclr(runtime_config=config.name, dotnet_root=root))

import clr  # noqa: E402

clr.AddReference("System.Net.Mail")
clr.AddReference("System.Net.Primitives")
from System.Net import NetworkCredential  # noqa: E402
from System.Net.Mail import MailMessage, SmtpClient  # noqa: E402
from System.Text import Encoding  # noqa: E402

message = MailMessage("info@test.dk", "kunde@example.com", "Æbler og pærer", "Kære kunde\r\n.\r\n.punktum\r\nSlut\r\n")
message.SubjectEncoding = Encoding.UTF8
message.BodyEncoding = Encoding.UTF8
message.Bcc.Add("skjult@example.com")
client = SmtpClient("127.0.0.1", int(port))
client.Credentials = NetworkCredential(user, password)
for _ in range(2):
    client.Send(message)
client.Dispose()
print("sent")
os.remove(config.name)
