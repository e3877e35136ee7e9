#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""terminal.py SECONDS COMMAND...: runs a program at a terminal of its own and types the lines of standard input to it.

Lines are typed one after the other; <Escape> is that key, and a line that begins with : or / is ended by return. After each it waits
until the program has shown nothing new for a while and has done nothing. The exit status is that of the program.
"""
import fcntl
import os
import pty
import select
import struct
import sys
import termios
import time

QUIET = 0.15


def activity(pid):
    """What the process has done so far: it also sleeps where a host serves its faults. None while it runs or waits for the disk."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
            if stat.read().rpartition(")")[2].split()[0] in "RD":
                return None
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as status:
            return [line for line in status if "ctxt_switches" in line]
    except OSError:
        return []


def settle(terminal, pid, end):
    """Reads what the program shows until it waits for keys."""
    before = None
    while time.monotonic() < end:
        ready, _, _ = select.select([terminal], [], [], QUIET)
        if ready:
            try:
                if not os.read(terminal, 65536):
                    return
            except OSError:
                return
        now = activity(pid)
        if not ready and now is not None and now == before:
            return
        before = now
    sys.exit("terminal.py: the program does not come to rest")


def main():
    end = time.monotonic() + float(sys.argv[1])
    lines = sys.stdin.read().splitlines()
    pid, terminal = pty.fork()
    if pid == 0:
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        os.execvp(sys.argv[2], sys.argv[2:])
    for line in lines:
        settle(terminal, pid, end)
        keys = line.replace("<Escape>", "\x1b") + ("\r" if line[0] in ":/" else "")
        os.write(terminal, keys.encode())
    settle(terminal, pid, end)
    while time.monotonic() < end:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            sys.exit(os.waitstatus_to_exitcode(status) % 256)
        settle(terminal, pid, end)
    os.kill(pid, 9)
    sys.exit("terminal.py: the program does not end")


if __name__ == "__main__":
    main()
