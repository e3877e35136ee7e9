#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""generate.py [--seed N] KIND ...: data for the proofs on real programs, the same for the same seed.

    bytes FILE MIB          bytes without order
    text FILE MIB           lines of words, each with its number
    pages FILE MIB          text that begins like a text on the web, of which each half compresses well or not at all
    tree FOLDER MIB ROUND   files for a repository: round 0 makes them all, each later one changes a third
    manuals FOLDER COUNT    man1 to man8 with COUNT pages in all
"""
import argparse
import os
import random

MIB = 1 << 20
WORDS = ("fault page frame mapping needle vma budget reclaim table cache store read write dirty clean lock wait wake "
         "thread signal process memory address offset length align anonymous file private shared").split()


def make_bytes(rng, args):
    with open(args.file, "wb") as out:
        for _ in range(args.mib):
            out.write(rng.randbytes(MIB))


def words(rng, count):
    return " ".join(rng.choices(WORDS, k=count))


def make_text(rng, args):
    """Tails are drawn once and used in a random order: a gigabyte is made in seconds."""
    tails = [f"{words(rng, rng.randrange(3, 12))} {rng.getrandbits(64):016x}\n" for _ in range(4096)]
    number = 0
    with open(args.file, "w", encoding="ascii") as out:
        size = 0
        while size < args.mib * MIB:
            block = "".join([f"{n} {tail}" for n, tail in enumerate(rng.choices(tails, k=16384), number)])
            size += out.write(block)
            number += 16384


def make_pages(rng, args):
    with open(args.file, "wb") as out:
        out.write(b"<!doctype html>\n<pre>\n")
        for i in range(args.mib * 2):
            if i % 2:
                out.write(rng.randbytes(MIB // 2))
            else:
                line = words(rng, 12).encode() + b" %d\n" % i
                out.write((line * (MIB // 2 // len(line) + 1))[:MIB // 2])


def make_tree(rng, args):
    count = args.mib * 2
    rng = random.Random(f"{args.seed} {args.round}")
    for i in range(count):
        if args.round and i % 3 != args.round % 3:
            continue
        folder = f"{args.file}/{i % 16:02}"
        os.makedirs(folder, exist_ok=True)
        with open(f"{folder}/{i}", "ab" if args.round else "wb") as out:
            if args.round:
                out.write(f"round {args.round} {words(rng, 200)}\n".encode())
            else:
                out.write(rng.randbytes(MIB // 2))


PAGE = """.Dd January 1, 2020
.Dt {upper} {section}
.Os
.Sh NAME
.Nm {name}
.Nd {what}
.Sh SYNOPSIS
.Nm {name}
.Op Fl {flag}
.Sh DESCRIPTION
{text}
.Sh SEE ALSO
.Xr {other} {section}
"""


def make_manuals(rng, args):
    for i in range(args.count):
        section = i % 8 + 1
        folder = f"{args.file}/man{section}"
        os.makedirs(folder, exist_ok=True)
        name = f"{rng.choice(WORDS)}_{rng.choice(WORDS)}_{i}"
        text = "\n".join(words(rng, 10) for _ in range(8))
        with open(f"{folder}/{name}.{section}", "w", encoding="ascii") as out:
            out.write(PAGE.format(name=name, upper=name.upper(), section=section, what=words(rng, 24), text=text,
                                  flag=rng.choice("abcdef"), other=f"{rng.choice(WORDS)}_{i}"))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=1)
    kinds = parser.add_subparsers(required=True)
    for name, make in ("bytes", make_bytes), ("text", make_text), ("pages", make_pages), ("tree", make_tree):
        kind = kinds.add_parser(name)
        kind.add_argument("file")
        kind.add_argument("mib", type=int)
        kind.set_defaults(make=make)
        if make is make_tree:
            kind.add_argument("round", type=int)
    kind = kinds.add_parser("manuals")
    kind.add_argument("file")
    kind.add_argument("count", type=int)
    kind.set_defaults(make=make_manuals)
    args = parser.parse_args()
    args.make(random.Random(args.seed), args)


if __name__ == "__main__":
    main()
