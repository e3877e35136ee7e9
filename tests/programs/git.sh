#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# git on a repository with a large pack: clone, log, all objects, gc, fsck.
. "$(dirname "$0")/common.sh"
need git
BUDGET=$(sized 64M 16M)
mib=$(sized 384 64)
HEAP=${HEAP:+512} # what it packs is in its own memory
export HOME="$WORK" GIT_CONFIG_NOSYSTEM=1 GIT_AUTHOR_NAME=t GIT_AUTHOR_EMAIL=t@example.org GIT_COMMITTER_NAME=t GIT_COMMITTER_EMAIL=t@example.org
export GIT_AUTHOR_DATE='2020-01-01T00:00:00Z' GIT_COMMITTER_DATE='2020-01-01T00:00:00Z'
git config --global pack.threads 1
git config --global pack.window 2
git config --global core.compression 0
git config --global gc.autoDetach false

git init -q repo || exit 1
for round in 0 1 2 3; do
	generate tree repo "$mib" $round
	git -C repo add -A || fail "git add"
	git -C repo commit -qm "round $round" || fail "git commit"
done
git -C repo gc -q

prepare()
{
	:
}

checked()
{
	run "$@" || echo "status $? of $*"
}

work()
{
	checked git clone -q --no-local "$WORK/repo" clone
	checked git -C clone log --stat --format=%H
	checked git -C clone cat-file --batch-all-objects --batch-check
	checked git -C clone repack -q -a -d -f
	checked git -C clone gc -q
	checked git -C clone fsck --full --strict
	checked git -C clone status --porcelain
	checked git -C clone archive HEAD | sha256sum
	# The index holds times of files.
	rm clone/.git/index
}

prove
git -C served/clone fsck --full >/dev/null 2>&1 || fail "the clone is broken"
served_file 'pack$'
figures "$(mebibytes repo/.git/objects/pack)"
