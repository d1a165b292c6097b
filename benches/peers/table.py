#!/usr/bin/env python3
"""Makes the comparison table from the harness' JSON files and puts it between the markers of benches/README.md."""

import argparse
import json
import pathlib
import re
import statistics
import subprocess

BEGIN, END = "<!-- peers:begin -->", "<!-- peers:end -->"
NAMES = {"postbud": "postbud", "postfix": "Postfix + OpenDKIM", "exim": "Exim"}


def version(name, root):
    """What runs under that name, as it says itself."""
    def said(*command):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.stdout + done.stderr
    if name == "postbud":
        return "postbud " + said("git", "describe", "--always", "--dirty").strip()
    if name == "postfix":
        dkim = re.search(r"OpenDKIM Filter v(\S+)", said("opendkim", "-V"))
        return f"Postfix {said('postconf', '-h', 'mail_version').strip()} + OpenDKIM {dkim.group(1) if dkim else ''}"
    packages = sorted(pathlib.Path(root).glob("exim/root/usr/share/doc/exim4-base/changelog.Debian.gz"))
    exim = re.search(r"exim4 \(([^-]+)", said("zcat", str(packages[0]))) if packages else None
    return f"Exim {exim.group(1) if exim else ''}".strip()


def runs(root, name, suffix):
    files = sorted(pathlib.Path(root).glob(f"{name}.[0-9]*{suffix}"))
    return [json.loads(f.read_text()) for f in files if suffix == ".pair.json" or ".pair" not in f.name]


def median(values):
    values = [v for v in values if v is not None]
    return statistics.median(values) if values else None


def cpu(run):
    relay = run["relay"]
    return (relay["user_us"] + relay["system_us"]) / max(run["books"]["accepted"], 1) if relay else None


def measured(root, name):
    own = [r["run"] for r in runs(root, name, ".json")]
    pair = [r["pair"] for r in runs(root, name, ".pair.json")]
    if not own:
        return None
    sound = all(r["books"]["missing"] == r["books"]["duplicates"] == 0 for r in own)
    signed = all(r["signatures"] and r["signatures"]["good"] == r["signatures"]["checked"] for r in own)
    return {
        "rate": median([r["delivered_per_s"] for r in own]),
        "pair": median([r["delivered_per_s"] for r in pair]),
        "cpu": median([cpu(r) for r in own]),
        "rsa": median([r["rsa_us"] for r in own]),
        "p99": median([r["to_250"]["p99"] for r in own]) / 1000,
        "memory": median([r["relay"]["peak_memory"] for r in own if r["relay"]]),
        "verdict": ("every message once" if sound else "NOT EXACTLY ONCE") + (", signed" if signed else ", NOT SIGNED RIGHT"),
        "fdatasync": (median([r["fdatasync"]["p50"] for r in own]), median([r["fdatasync"]["p99"] for r in own])),
    }


def number(value, form="{:,.0f}"):
    return "–" if value is None else form.format(value)


def table(root, command):
    found = {name: m for name in NAMES if (m := measured(root, name))}
    if not found:
        raise SystemExit("no run was completed")
    machine = json.loads(sorted(pathlib.Path(root).glob("*.json"))[0].read_text())["machine"]
    base = found.get("postfix") or next(iter(found.values()))
    against = "Postfix + OpenDKIM" if "postfix" in found else NAMES[next(iter(found))]
    rsa = median([m["rsa"] for m in found.values()])
    sync = found[next(iter(found))]["fdatasync"]
    lines = [
        f"{machine}; `{command}`; medians. Raw RSA-2048: {rsa:.0f} µs. fdatasync: p50 {sync[0] / 1000:.2f} ms, "
        f"p99 {sync[1] / 1000:.2f} ms.",
        "",
        f"| | delivered/s | × {against} | smtp-source/-sink: /s | × {against} | CPU µs a message | × RSA | p99 to 250, ms | peak MB | check |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, m in found.items():
        pair_ratio = m["pair"] / base["pair"] if m["pair"] and base["pair"] else None
        lines.append(
            f"| {version(name, root)} | {number(m['rate'])} | {number(m['rate'] / base['rate'], '{:.1f}')} "
            f"| {number(m['pair'])} | {number(pair_ratio, '{:.1f}')} "
            f"| {number(m['cpu'])} | {number(m['cpu'] and m['cpu'] / m['rsa'], '{:.2f}')} | {m['p99']:.1f} "
            f"| {number(m['memory'] and m['memory'] / 1e6)} | {m['verdict']} |"
        )
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root")
    parser.add_argument("--command", required=True)
    parser.add_argument("--readme", type=pathlib.Path)
    args = parser.parse_args()
    text = table(args.root, args.command)
    print(text)
    if args.readme:
        page = args.readme.read_text()
        if page.count(BEGIN) != 1 or page.count(END) != 1:
            raise SystemExit(f"{args.readme} lacks the line {BEGIN} or {END}")
        head, rest = page.split(BEGIN)
        args.readme.write_text(head + BEGIN + "\n" + text + "\n" + END + rest.split(END)[1])


if __name__ == "__main__":
    main()
