#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# git on a repository whose pack is several times the budget: clone, log, fsck, gc.
. "$(dirname "$0")/common.sh"
need git
BUDGET=2M
export HOME="$WORK" GIT_AUTHOR_NAME=t GIT_AUTHOR_EMAIL=t@example.org GIT_COMMITTER_NAME=t GIT_COMMITTER_EMAIL=t@example.org
export GIT_AUTHOR_DATE='2020-01-01T00:00:00Z' GIT_COMMITTER_DATE='2020-01-01T00:00:00Z' GIT_CONFIG_NOSYSTEM=1

git init -q repo || exit 1
for i in 1 2 3 4; do
	/usr/bin/python3 -c "
import random, sys
r = random.Random($i)
for n in range(12):
    open('repo/file%d' % n, 'wb').write(r.randbytes(200000) + b'line\n' * 1000)
"
	git -C repo add -A && git -C repo commit -qm "commit $i"
done
git -C repo gc -q
[ "$(du -sk repo/.git/objects/pack | cut -f1)" -gt 6000 ] || fail "the pack is too small"

same log git -C repo log --stat --format=%H
same fsck git -C repo fsck --full --strict
same show git -C repo cat-file --batch-all-objects --batch-check
served fsck 'pack$'
"$FAULTLINE" run --budget $BUDGET -- git clone -q --no-local repo clone || fail "clone"
git -C clone fsck --full >/dev/null 2>&1 || fail "the clone is broken"
[ "$(git -C clone rev-parse HEAD)" = "$(git -C repo rev-parse HEAD)" ] || fail "the clone is another"
"$FAULTLINE" run --budget $BUDGET -- git -C clone gc -q --aggressive || fail "gc"
git -C clone fsck --full >/dev/null 2>&1 || fail "the repository is broken after gc"
[ -z "$(git -C clone status --porcelain)" ] || fail "the work tree is not clean"
