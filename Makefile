# The front door: meson and ninja do the work. `make help` lists the targets.

PREFIX ?= /usr/local
MINUTES ?= 5

SOURCES = $(shell find include src shim cli tests bench examples -name '*.[ch]' 2>/dev/null)
# What `faultline bench` has of bench/.
SHARED = $(addprefix bench/,contender%.c data.c latency.c memcg.c page_cache.c undo.c util.c worker.c workload%.c zipf.c)
COMPILED = $(filter src/%.c shim/%.c cli/%.c examples/%.c $(SHARED),$(SOURCES))
# What clang-tidy 14 says of any memcpy, of va_start, and of attributes that it does not know.
TIDY_WITHOUT = -clang-analyzer-security.insecureAPI.DeprecatedOrUnsafeBufferHandling,-clang-analyzer-valist.Uninitialized,-clang-diagnostic-ignored-attributes
SCRIPTS = tools/setup tools/demo .ci/run $(wildcard tests/*.sh tests/e2e/*.sh tests/programs/*.sh)

.PHONY: build check demo install sanitize stress programs soak diff bench format lint clean help

build: ## build the library, the shim and the command in build/ (the default)
	@tools/setup build
	@test -f build/build.ninja || meson setup build --prefix '$(PREFIX)'
	@ninja -C build

check: ## every test in every build: plain, with checks, AddressSanitizer, ThreadSanitizer
	@tools/setup build test programs
	@tools/check

demo: build ## sqlite3 over a database nine times the memory budget
	@tools/setup demo
	@tools/demo

install: build ## install under PREFIX (/usr/local); DESTDIR is put in front
	@meson configure build -Dprefix='$(PREFIX)'
	@meson install -C build
	@test -n '$(DESTDIR)' || /sbin/ldconfig 2>/dev/null || :

sanitize: ## the tests that run under AddressSanitizer, UndefinedBehaviorSanitizer and ThreadSanitizer
	@tools/setup build test
	@tools/check build-asan build-tsan

stress: build ## the stress tests for MINUTES (5) each
	@FAULTLINE_STRESS_SECONDS=$$((60 * $(MINUTES))) meson test -C build --no-rebuild --suite stress --timeout-multiplier 0 --verbose

programs: build ## real programs, with data a few times the budget, beside the same without Faultline: a table; NAMES='git fio' runs some
	@tools/setup programs
	@tools/programs $(NAMES)

soak: build ## real programs at random in pairs, some of them killed, for MINUTES (5), from SEED
	@tools/setup programs
	@tools/soak --minutes $(MINUTES) $(if $(SEED),--seed $(SEED))

diff: build ## random operations on the kernel and on Faultline for MINUTES (5), from SEED: alone, in threads, faults by threads, on soft spaces
	@for how in '' --borders '--threads 4 --operations 800' '--faults thread' --soft '--soft --borders' --soft-twice; do \
		build/tests/diff --seconds $$((10 * $(MINUTES))) $(if $(SEED),--seed $(SEED)) --keep-going $$how || status=1; \
	done; exit $${status:-0}

bench: build ## what mappings and soft spaces cost, beside the kernel and the disk: tables, and JSON and plots in bench/out/; QUICK=1 takes two minutes
	@mkdir -p bench/out
	@build/bench/soft_cost $(if $(QUICK),--quick) --out bench/out
	@build/bench/native_cost $(if $(QUICK),--quick) --out bench/out

format: ## lay the code out as .clang-format says
	@tools/setup lint
	@clang-format -i $(SOURCES)

lint: build ## what clang-format, shellcheck, cppcheck, clang-tidy and mandoc have to say
	@tools/setup lint
	@clang-format --dry-run --Werror $(SOURCES)
	@shellcheck --severity=warning $(SCRIPTS)
	@cppcheck --quiet --error-exitcode=1 --inline-suppr --enable=warning,performance,portability -Isrc -Iinclude -I. $(COMPILED)
	@clang-tidy --quiet --checks=$(TIDY_WITHOUT) --warnings-as-errors='*' -p build $(COMPILED)
	@mandoc -T lint -W warning $(wildcard man/*.[137])

clean: ## remove every build
	@rm -rf build build-debug build-asan build-tsan

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/\1\t\2/p' Makefile | expand -t 12
