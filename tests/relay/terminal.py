"""Runs a program on a terminal of its own and answers its questions as a person would.

    terminal.py '[["question", "answer"], ...]' PROGRAM ARGUMENT...

Each answer is typed once its question is on the screen; null is Ctrl-C. What was on the screen goes to standard output, and whether the
terminal shows what is typed after the program's end; the exit code is the program's.
"""

import json
import os
import pty
import select
import sys
import termios
import time

PATIENCE = 60


def main():
    conversation, program = json.loads(sys.argv[1]), sys.argv[2:]
    child, terminal = pty.fork()
    if child == 0:
        os.execvp(program[0], program)
    screen, read_up_to = b"", 0
    for question, answer in conversation:
        until = time.monotonic() + PATIENCE
        while (at := screen.find(question.encode(), read_up_to)) < 0:
            said = hear(terminal, until)
            if not said:
                end(screen, child, f"it never asked {question!r}")
            screen += said
        read_up_to = at + len(question.encode())
        os.write(terminal, b"\x03" if answer is None else answer.encode() + b"\n")
    while said := hear(terminal, time.monotonic() + PATIENCE):
        screen += said
    sys.stdout.buffer.write(screen)
    sys.stdout.buffer.write(b"\necho is %s\n" % (b"on" if termios.tcgetattr(terminal)[3] & termios.ECHO else b"off"))
    sys.stdout.flush()
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


def hear(terminal, until):
    """What comes next; nothing where the program has ended, or says nothing for too long."""
    ready, _, _ = select.select([terminal], [], [], max(0, until - time.monotonic()))
    try:
        return os.read(terminal, 65536) if ready else b""
    except OSError:
        return b""


def end(screen, child, why):
    sys.stdout.buffer.write(screen)
    print(f"\n{why}", file=sys.stderr)
    os.kill(child, 9)
    sys.exit(99)


main()
