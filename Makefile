# croft is built with GNU make; `make help` lists what it can do.
# Every .c under src/ is built: a new file needs no edit here.
OPT      ?= -O2 -g
BUILD    ?= build
PREFIX   ?= /usr/local
JOBS     ?= $(shell nproc)
V        ?=                             # V=1 shows the commands
run       = $(if $(V),,@printf '  %-4s %s\n' $(1) $@;)
PKGS      = jansson libpcre2-8 libutf8proc hwloc libedit libevent_core libevent_openssl libssl libcrypto libcyaml libcurl sqlite3 libpq
SANITIZE  = -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all
VERSION  := $(shell cat VERSION)

# Targets that compile need the libraries; say which one is missing and what to do about it.
ifneq ($(filter-out clean help tidy format,$(or $(MAKECMDGOALS),all)),)
MISSING  := $(shell command -v pkg-config >/dev/null || echo pkg-config; \
              for p in $(PKGS); do pkg-config --exists $$p 2>/dev/null || echo $$p; done)
ifneq ($(strip $(MISSING)),)
$(error not installed: $(strip $(MISSING)). Run ./check or tools/setup, which install what is needed)
endif
PKG_CFLAGS := $(if $(PKGS),$(shell pkg-config --cflags $(PKGS)))
PKG_LIBS   := $(if $(PKGS),$(shell pkg-config --libs $(PKGS)))
endif

GCC_ONLY := $(if $(findstring clang,$(shell $(CC) --version)),,-Wno-format-truncation)
CPPFLAGS += -D_GNU_SOURCE -Isrc -DCROFT_VERSION='"$(VERSION)"' -MMD -MP
CFLAGS    = -std=c11 $(OPT) -ffp-contract=off -fno-math-errno -pthread -Wall -Wextra -Wshadow -Wconversion \
            -Wstrict-prototypes -Wmissing-prototypes -Wvla -Werror $(GCC_ONLY) $(PKG_CFLAGS)
LDLIBS   := $(PKG_LIBS) -lm -pthread
FLAGS    := $(subst ',,$(CC) $(CPPFLAGS) $(CFLAGS))

# Fast kernels are of the processor that the compiler builds for.
ARCH  := $(patsubst aarch64%,arm,$(patsubst x86_64%,x86,$(shell $(CC) -dumpmachine)))
OTHER := $(filter-out $(ARCH),x86 arm)
SRC   := $(filter-out $(OTHER:%=src/kernels/%/%),$(shell find src -name '*.c' | sort))
OBJ   := $(SRC:%.c=$(BUILD)/%.o)
CORE  := $(filter-out $(BUILD)/src/cmd/main.o,$(OBJ))
LOW   := $(filter $(BUILD)/src/base/err.o $(BUILD)/src/kernels/%,$(OBJ))
objs   = $(patsubst %.c,$(BUILD)/%.o,$(sort $(wildcard $(1))))
UNIT  := $(call objs,tests/unit/*.c)
FAULT := $(call objs,tests/fault/*.c)
CHECK := $(filter-out $(BUILD)/tests/kernels/lab_%,$(call objs,tests/kernels/*.c))
FUZZ  := $(patsubst tests/fuzz/fuzz_%.c,%,$(sort $(wildcard tests/fuzz/fuzz_*.c)))
TESTS := $(if $(UNIT),$(BUILD)/unit) $(if $(FAULT),$(BUILD)/fault) $(if $(CHECK),$(BUILD)/check) \
         $(FUZZ:%=$(BUILD)/fuzz_%) $(if $(wildcard tests/wire/*.c),$(BUILD)/wire_pipe) \
         $(BUILD)/echo_server $(BUILD)/fetch $(BUILD)/store_drive $(BUILD)/load_upstream $(BUILD)/load_client \
         $(BUILD)/canary $(BUILD)/croft_unguarded $(BUILD)/fake_clock.so \
         $(BUILD)/clock_step.so $(BUILD)/count_syncs.so

all: $(BUILD)/croft                     ## build/croft, optimised (the default)

$(BUILD)/croft: $(OBJ)
	$(call run,LINK) $(CC) $(OPT) -o $@ $^ $(LDLIBS)

# Unit tests in one Criterion program: build/unit --filter 'gguf/*'
$(BUILD)/unit: $(CORE) $(UNIT)
	$(call run,LINK) $(CC) $(OPT) -o $@ $^ $(LDLIBS) -lcriterion

# Needs no library, so that it can be built for other processors.
$(BUILD)/check: $(LOW) $(CHECK)
	$(call run,LINK) $(CC) $(OPT) -o $@ $^ $(LDLIBS)

# The linker hands the fault tests every allocation, so that the n-th one can fail.
$(BUILD)/fault: $(CORE) $(FAULT)
	$(call run,LINK) $(CC) $(OPT) -o $@ $^ $(LDLIBS) -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc \
	    -Wl,--wrap=strdup,--wrap=posix_memalign,--wrap=pread

# A fuzz target with a main that feeds it files; the same target under libFuzzer is PART=fuzz.
$(BUILD)/fuzz_%: $(CORE) $(BUILD)/tests/fuzz/fuzz_%.o $(BUILD)/tests/fuzz/replay.o
	$(call run,LINK) $(CC) $(OPT) -o $@ $^ $(LDLIBS)

$(BUILD)/libfuzzer_%: $(CORE) $(BUILD)/tests/fuzz/fuzz_%.o
	$(call run,LINK) $(CC) $(OPT) -fsanitize=fuzzer -o $@ $^ $(LDLIBS)

# A server of all that src/http can do, for tests/api/http.py.
$(BUILD)/echo_server: $(filter $(BUILD)/src/base/% $(BUILD)/src/http/%,$(OBJ)) \
                      $(BUILD)/tests/http/echo_server.o
	$(call run,LINK) $(CC) $(OPT) -o $@ $^ $(LDLIBS)

# All that the client of src/http can do, for tests/api/client.py.
$(BUILD)/fetch: $(filter $(BUILD)/src/base/% $(BUILD)/src/http/%,$(OBJ)) $(BUILD)/tests/http/fetch.o
	$(call run,LINK) $(CC) $(OPT) -o $@ $^ $(LDLIBS)

# The ledger and the audit log as a gateway uses them, for tests/api/ledger.py and audit.py.
$(BUILD)/store_drive: $(filter $(BUILD)/src/base/% $(BUILD)/src/store/%,$(OBJ)) \
                      $(BUILD)/tests/store/store_drive.o
	$(call run,LINK) $(CC) $(OPT) -o $@ $^ $(LDLIBS)

# An upstream and its clients that cost next to nothing, for measuring what stands between them.
$(BUILD)/load_%: $(BUILD)/tests/load/load_%.o $(BUILD)/tests/load/net.o
	$(call run,LINK) $(CC) $(OPT) -o $@ $^ $(LDLIBS)

# Requests with canaries and the upstreams behind a gateway, for tests/gateway/canary.py; and a gateway
# whose one decision is always yes, which must be caught.
$(BUILD)/canary: $(filter-out %/unguarded.o,$(call objs,tests/canary/*.c)) $(BUILD)/tests/load/net.o
	$(call run,LINK) $(CC) $(OPT) -o $@ $^ $(LDLIBS)

$(BUILD)/croft_unguarded: $(OBJ) $(BUILD)/tests/canary/unguarded.o
	$(call run,LINK) $(CC) $(OPT) -o $@ $^ $(LDLIBS) -Wl,--wrap=policy_decide,--wrap=prove

# A clock of the loop's thread that a test sets forward: tests/gateway/silence.py.
$(BUILD)/fake_clock.so: tests/gateway/fake_clock.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(call run,LINK) $(CC) $(CPPFLAGS) $(CFLAGS) -shared -fPIC -o $@ $<

# Loaded before a program: a wall clock that jumps; how often it asked for the disk.
$(BUILD)/clock_step.so $(BUILD)/count_syncs.so: $(BUILD)/%.so: tests/load/%.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(call run,LINK) $(CC) $(CPPFLAGS) $(CFLAGS) -shared -fPIC -o $@ $<

# Loaded before a program it loses memory: what measures growth must find that.
$(BUILD)/leak.so: tests/soak/leak.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(call run,CC) $(CC) $(CPPFLAGS) $(CFLAGS) -shared -fPIC -o $@ $<

# The pool alone: the only place where threads meet.
$(BUILD)/test_pool: $(patsubst %,$(BUILD)/src/base/%.o,pool seats err) $(BUILD)/tests/tsan/test_pool.o
	$(call run,LINK) $(CC) $(OPT) -o $@ $^ $(LDLIBS)

# What a barrier costs, and how a loop fares beside busy neighbours: no test, it prints.
$(BUILD)/pool_speed: $(patsubst %,$(BUILD)/src/base/%.o,pool seats cgroup err) \
                     $(BUILD)/tests/bench/pool_speed.o
	$(call run,LINK) $(CC) $(OPT) -o $@ $^ $(LDLIBS)

# A pipe through src/wire for the Python tests.
$(BUILD)/wire_pipe: $(filter $(BUILD)/src/base/% $(BUILD)/src/wire/%,$(OBJ)) $(call objs,tests/wire/*.c)
	$(call run,LINK) $(CC) $(OPT) -o $@ $^ $(LDLIBS)

$(BUILD)/synth: $(filter $(BUILD)/src/base/%,$(OBJ)) $(BUILD)/tools/synth.o
	$(call run,LINK) $(CC) $(OPT) -o $@ $^ $(LDLIBS)

# The end of a file's name says which instructions it may use.
$(BUILD)/%_avx2.o:   CFLAGS += -mavx2 -mfma -mf16c
$(BUILD)/%_avx512.o: CFLAGS += -mavx2 -mfma -mf16c -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512vnni
$(BUILD)/%_avx512bf16.o: CFLAGS += -mavx2 -mfma -mf16c -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512vnni -mavx512bf16
$(BUILD)/%_dotprod.o: CFLAGS += -march=armv8.2-a+dotprod

$(BUILD)/%.o: %.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(call run,CC) $(CC) $(CPPFLAGS) $(CFLAGS) -c -o $@ $<

# Rewritten only when a flag changes, and then everything is compiled again.
$(BUILD)/flags: FORCE
	@mkdir -p $(@D)
	@echo '$(FLAGS)' | cmp -s - $@ || echo '$(FLAGS)' > $@

# What `croft bench --json` and receipts say they were built from.
$(BUILD)/commit: FORCE
	@mkdir -p $(@D)
	@git describe --always --dirty --abbrev=9 2>/dev/null >$@.new || echo unknown >$@.new
	@cmp -s $@.new $@ || cp $@.new $@
$(BUILD)/src/cmd/bench_json.o $(BUILD)/src/cmd/receipt_about.o: $(BUILD)/commit
$(BUILD)/src/cmd/bench_json.o $(BUILD)/src/cmd/receipt_about.o: CPPFLAGS += -DCROFT_COMMIT='"$(shell cat $(BUILD)/commit)"'

tests: $(TESTS)                         ## the test programs, not run
objects: $(OBJ) $(UNIT) $(FAULT) $(CHECK) \
         $(call objs,tests/canary/*.c tests/fuzz/*.c tests/http/*.c tests/load/*.c tests/store/*.c tests/tsan/*.c tests/wire/*.c tools/*.c)
synth: $(BUILD)/synth                   ## build/synth, the writer of synthetic models

debug:                                  ## build-asan/croft with AddressSanitizer and UBSan
	$(MAKE) BUILD=build-asan OPT='$(SANITIZE)' all
asan-tests:
	$(MAKE) BUILD=build-asan OPT='$(SANITIZE)' all tests
ubsan:                                  ## build-ubsan/croft with UBSan alone (its memory is the program's own)
	$(MAKE) BUILD=build-ubsan OPT='-O1 -g -fsanitize=undefined -fno-sanitize-recover=all' all
clang:                                  ## everything compiled by clang, in build-clang/
	$(MAKE) CC=clang BUILD=build-clang OPT='-O1 -g' objects all
tsan:                                   ## build-tsan/test_pool, echo_server, store_drive with ThreadSanitizer
	$(MAKE) BUILD=build-tsan OPT='-O1 -g -fsanitize=thread' build-tsan/test_pool build-tsan/echo_server build-tsan/store_drive

tsan-croft:                             ## build-tsan/croft with ThreadSanitizer
	$(MAKE) BUILD=build-tsan OPT='-O1 -g -fsanitize=thread' build-tsan/croft

ARM_CC   ?= aarch64-linux-gnu-gcc
arm64-check:                            ## build-arm64-check/check, the kernel check for 64-bit ARM
	$(MAKE) CC=$(ARM_CC) PKGS= BUILD=build-arm64-check build-arm64-check/check
arm64: export PKG_CONFIG_SYSROOT_DIR = $(CURDIR)/build-sysroot/root
arm64: export PKG_CONFIG_LIBDIR = $(PKG_CONFIG_SYSROOT_DIR)/usr/lib/aarch64-linux-gnu/pkgconfig
arm64:                                  ## build-arm64/croft for 64-bit ARM (tools/arm64-sysroot has its libraries)
	tools/arm64-sysroot build-sysroot
	$(MAKE) CC='$(ARM_CC) --sysroot=$(PKG_CONFIG_SYSROOT_DIR)' BUILD=build-arm64 all

check:                                  ## all tests, nothing timed: what ./check runs
	JOBS=$(JOBS) tests/run check
check-long:                             ## one long part: PART=real, llama, tokenizers, batch, fuzz, sanitize, big, arm64, draft, lm-eval, serve-verify, gateway-policy, gateway-carry, gateway-faults, gateway-ledger, gateway-load, gateway-canary or gateway-fuzz
	JOBS=$(JOBS) tests/run long "$(PART)"

soak: $(BUILD)/croft $(BUILD)/leak.so   ## croft serve under load for HOURS=n: its memory must be flat, and a planted leak be found
	python3 tests/soak/soak.py $(or $(HOURS),2)

# PEER is a folder made by tools/build-llama; BENCH are options, such as BENCH='-p 512,2k -d 0,4k -r 9'.
bench: $(BUILD)/croft                   ## build/bench.html: speed, ceilings, profile; MODEL=file PEER=folder
	@$(BUILD)/croft bench $(or $(MODEL),models/stories260K.gguf) --profile --json $(BENCH) \
	    $(if $(PEER),--peer $(PEER)) > $(BUILD)/bench.json
	@python3 tests/bench/report.py $(BUILD)/bench.json > $(BUILD)/bench.html
	@echo '  $(BUILD)/bench.html'
bench-kernels: $(BUILD)/check           ## kernels against their references
	$(BUILD)/check --bench

$(BUILD)/tidy: tools/tidy.c
	@mkdir -p $(@D)
	$(call run,CC) $(CC) -D_GNU_SOURCE $(filter-out $(PKG_CFLAGS),$(CFLAGS)) -o $@ $<

tidy: $(BUILD)/tidy                     ## the rules of the house that a machine can check
	@find src tests tools -name '*.[ch]' -o -name '*.def' -o -path 'src/*/README.md' | sort | \
	    $(BUILD)/tidy tools/layers.txt

format:                                 ## lay out the C with clang-format
	find src tests tools -name '*.[ch]' | xargs clang-format -i

# A page for the program and for each command, made from the option table and the prose in man/.
PAGES    := $(shell sed -n 's/^CMD.[a-z_]*, *"\([a-z-]*\)".*/croft-\1.1/p' src/cmd/cmd.def) croft.1
SHARE     = $(DESTDIR)$(PREFIX)/share
SHELLS    = bash-completion/completions/croft zsh/site-functions/_croft fish/vendor_completions.d/croft.fish

$(BUILD)/mkman: $(filter $(BUILD)/src/base/%,$(OBJ)) $(BUILD)/src/cmd/cmd_table.o $(BUILD)/tools/mkman.o
	$(call run,LINK) $(CC) $(OPT) -o $@ $^ $(LDLIBS)

$(BUILD)/man/%.1.scd: $(BUILD)/mkman $(wildcard man/*.scd)
	@mkdir -p $(@D)
	$(call run,MAN) $(BUILD)/mkman man $* > $@
$(BUILD)/man/%.1: $(BUILD)/man/%.1.scd
	$(call run,MAN) scdoc < $< > $@.new && mv $@.new $@

man: $(PAGES:%=$(BUILD)/man/%)          ## build/man/*.1, the manual pages (needs scdoc)

INSTALLED = $(if $(shell command -v scdoc),man)
install: all $(INSTALLED)               ## program, manual, completion, small model into $(DESTDIR)$(PREFIX)
	install -D -m 755 $(BUILD)/croft $(DESTDIR)$(PREFIX)/bin/croft
	install -D -m 644 models/stories260K.gguf $(SHARE)/croft/stories260K.gguf
	install -D -m 644 models/SOURCE.txt $(SHARE)/croft/SOURCE.txt
	install -D -m 644 LICENSE $(SHARE)/croft/LICENSE
	@for file in $(SHELLS); do \
	    shell=$${file%%/*}; shell=$${shell%%-*}; echo "  completion for $$shell"; \
	    $(BUILD)/croft completion $$shell > $(BUILD)/completion && \
	    install -D -m 644 $(BUILD)/completion $(SHARE)/$$file || exit 1; done
	$(if $(INSTALLED),cd $(BUILD)/man && install -D -m 644 -t $(abspath $(SHARE)/man/man1) $(PAGES),@echo \
	    'make: the manual pages are left out: scdoc is not installed (apt-get install scdoc)')

uninstall:                              ## remove what install put there, nothing else
	rm -f $(DESTDIR)$(PREFIX)/bin/croft $(PAGES:%=$(SHARE)/man/man1/%) $(SHELLS:%=$(SHARE)/%) \
	    $(SHARE)/croft/stories260K.gguf $(SHARE)/croft/SOURCE.txt $(SHARE)/croft/LICENSE
	[ ! -d $(SHARE)/croft ] || rmdir --ignore-fail-on-non-empty $(SHARE)/croft

clean:                                  ## remove every build folder
	rm -rf build build-asan build-ubsan build-clang build-tsan build-fuzz build-canary build-venv build-cov build-arm64 build-arm64-check build-sysroot

help:                                   ## this list
	@sed -n 's/^\([a-z][a-z-]*\):[^#]*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 22
	@echo; echo 'Variables: OPT (compiler options), BUILD (folder), CC, PREFIX, DESTDIR, JOBS.'

FORCE:
.PHONY: all tests objects synth debug asan-tests ubsan clang tsan tsan-croft arm64 arm64-check check check-long soak bench \
        bench-kernels tidy format man install uninstall clean help FORCE
.SECONDARY:
-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
