#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# What runs in the SIGBUS handler calls nothing but itself and a short list of functions that are safe there: no malloc,
# no stdio, no lock of the C library, no thread-local storage that is allocated on first use (__tls_get_addr).
#
# Seen from the outside: the objects of the folders that the fault path goes through may leave no other symbol undefined.
# Some files also hold functions that only run when a file is mapped, at the start or in a forked child, never in a
# fault; what those call stands in exceptions(), file by file. Whoever adds to it shows that no fault gets there.
#
#   handler_rules_test.sh LIBRARY       the static library of the engine, built without sanitizers

library=$1
symbols=$(mktemp)
trap 'rm -f "$symbols"' EXIT

# Safe anywhere: they touch what they are given and nothing else. clock_gettime reads the vDSO; errno is saved and put
# back by the handler; abort ends the process with a message (fl_bug).
allowed='memcpy memmove memset memcmp strlen clock_gettime __errno_location abort _GLOBAL_OFFSET_TABLE_ __popcountdi2 sys_sigreturn'

# __stack_chk_fail and the like, where the compiler's defaults put them in.
hardening='__stack_chk_fail __memcpy_chk __memmove_chk __memset_chk'

exceptions()
{
	case $1 in
	cache_file_object.c.o) echo 'snprintf __snprintf_chk strrchr' ;; # path_of(), base_name(): a file is mapped
	cache_frames.c.o) echo 'snprintf __snprintf_chk' ;;               # shmem_frames_create(): a file is mapped
	mm_hand_over.c.o) echo 'snprintf __snprintf_chk' ;;               # note(): mmap, fork, exit
	mm_maps.c.o) echo 'snprintf __snprintf_chk' ;;                    # mm_maps(), mm_smaps(): calls of the program's own
	mm_soft_dump.c.o) echo 'snprintf __snprintf_chk' ;;               # fl_space_walk(), fl_space_dump()
	mmu_fault_signal.c.o) echo 'sigfillset' ;;                              # fault_signal_install()
	mmu_uffd_thread.c.o) echo 'sysconf eventfd' ;;                    # start_crew(): the start, a forked child, a change of user
	store_fault_store.c.o) echo 'snprintf __snprintf_chk sscanf __isoc99_sscanf __isoc23_sscanf strtok_r __strtok_r strcmp' ;; # set_rules()
	store_file_store.c.o) echo 'snprintf __snprintf_chk' ;;           # reopen(): a file is mapped
	store_swap_store.c.o) echo 'snprintf __snprintf_chk getenv' ;;    # open_swap(): a private mapping is made
	util_proc_stat.c.o) echo 'strchr strrchr' ;;                      # inflight_wait(): a file is mapped; the end of a thread
	util_report.c.o) echo 'snprintf __snprintf_chk strcmp' ;;         # a slot or a note is filled: a file is mapped
	util_stack.c.o) echo 'getauxval' ;;                               # at_start(): the start
	util_log.c.o) echo 'vsnprintf __vsnprintf_chk' ;;                 # fl_log(); callers are checked below
	esac
}

# Not on the fault path as a whole: sizes and options as text.
skipped='util_size.c.o'

is_in()
{
	case " $2 " in
	*" $1 "*) return 0 ;;
	esac
	return 1
}

# Lines "object symbol kind" for all objects, thin archive or not.
nm -A "$library" | awk '{ n = $0; sub(/: *[0-9a-f]* [A-Za-z] .*/, "", n); sub(/.*[\/:]/, "", n); print n, $NF, $(NF - 1) }' >"$symbols"
if ! grep -q '^cache_page.c.o ' "$symbols"; then
	echo "$library: no symbols of the engine in it"
	exit 1
fi
ours=$(awk '$3 != "U" && $3 == toupper($3) { print $2 }' "$symbols" | sort -u | tr '\n' ' ')

bad=0
while read -r object symbol kind; do
	case $object in
	cache_* | mmu_* | store_* | mm_* | util_*) ;;
	*) continue ;;
	esac
	[ "$kind" = U ] || continue
	is_in "$object" "$skipped" && continue
	if [ "$symbol" = fl_log ]; then
		echo "$object: logs, which formats with stdio"
		bad=1
	elif ! is_in "$symbol" "$allowed $hardening $ours $(exceptions "$object")"; then
		echo "$object: calls $symbol, which is not on the list for code that a fault may run"
		bad=1
	fi
done <"$symbols"
exit $bad
