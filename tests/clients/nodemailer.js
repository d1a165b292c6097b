// Sends two mails over one pooled connection with nodemailer over STARTTLS: argv: port, CA file, user, password.
const fs = require("fs");
const nodemailer = require("nodemailer");

const [port, ca, user, pass] = process.argv.slice(2);
const transport = nodemailer.createTransport({
    host: "localhost",
    port: Number(port),
    requireTLS: true,
    pool: true,
    maxConnections: 1,
    auth: { user, pass },
    tls: { ca: fs.readFileSync(ca) },
});
const mail = {
    from: "Søren <info@test.dk>",
    to: "kunde@example.com",
    bcc: "skjult@example.com",
    subject: "Æbler og pærer",
    text: "Kære kunde\n.\n.punktum\nSlut\n",
    html: "<p>Kære kunde</p>",
};
Promise.all([transport.sendMail(mail), transport.sendMail(mail)]).then(
    () => { transport.close(); console.log("sent"); },
    (error) => { console.error(error); process.exit(1); },
);
