#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# ripgrep --mmap over a file many times the budget.
. "$(dirname "$0")/common.sh"
need rg
BUDGET=2M

/usr/bin/python3 -c "
import random
r = random.Random(7)
words = ['fault', 'page', 'frame', 'mapping', 'needle', 'vma', 'budget', 'reclaim']
with open('text', 'w') as f:
    for i in range(500000):
        f.write('%d %s %s %x\n' % (i, r.choice(words), r.choice(words), r.getrandbits(64)))
" || fail "cannot make the text"
same count rg --mmap -j1 -c 'needle.*[0-9a-f]{3}7\$?' text
same lines rg --mmap -j1 -n 'vma budget [0-9a-f]*ab' text
same threads rg --mmap --sort path -c page . -g text
same none rg --mmap -j1 'no such line here' text
served count '/text$'
