# croft is built with GNU make; `make help` lists what it can do.
# Every .c under src/ is built: a new file needs no edit here.
OPT      ?= -O2 -g
BUILD    ?= build
PREFIX   ?= /usr/local
PKGS      = jansson libpcre2-8 libutf8proc hwloc libedit libcrypto
GCC_ONLY := $(if $(findstring clang,$(shell $(CC) --version)),,-Wno-format-truncation)
VERSION  := $(shell cat VERSION)
CPPFLAGS += -D_GNU_SOURCE -Isrc -DCROFT_VERSION='"$(VERSION)"' -MMD -MP
CFLAGS    = -std=c11 $(OPT) -ffp-contract=off -fno-math-errno -pthread -Wall -Wextra -Wshadow -Wconversion \
            -Wstrict-prototypes -Wmissing-prototypes -Wvla -Werror $(GCC_ONLY) $(PKG_CFLAGS)
PKG_CFLAGS := $(shell pkg-config --cflags $(PKGS))
LDLIBS   := $(shell pkg-config --libs $(PKGS)) -lm -pthread

SRC  := $(shell find src -name '*.c' | sort)
OBJ  := $(SRC:%.c=$(BUILD)/%.o)
CORE := $(filter-out $(BUILD)/src/cmd/main.o,$(OBJ))
UNIT := $(patsubst %.c,$(BUILD)/%.o,$(sort $(wildcard tests/unit/*.c)))

all: $(BUILD)/croft

$(BUILD)/croft: $(OBJ)
	$(CC) $(OPT) -o $@ $^ $(LDLIBS)

# Unit tests in one Criterion program: build/unit --filter 'gguf/*'
$(BUILD)/unit: $(CORE) $(UNIT)
	$(CC) $(OPT) -o $@ $^ $(LDLIBS) -lcriterion

$(BUILD)/check: $(filter $(BUILD)/src/base/% $(BUILD)/src/kernels/%,$(OBJ)) $(BUILD)/tests/kernels/check.o
	$(CC) $(OPT) -o $@ $^ $(LDLIBS)

# The end of a file's name says which instructions it may use.
$(BUILD)/%_avx2.o:   CFLAGS += -mavx2 -mfma -mf16c
$(BUILD)/%_avx512.o: CFLAGS += -mavx2 -mfma -mf16c -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512vnni

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -c -o $@ $<

$(BUILD)/tidy: tools/tidy.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -o $@ $<

tidy: $(BUILD)/tidy
	find src tests tools -name '*.[ch]' | sort | $(BUILD)/tidy tools/layers.txt

clean:
	rm -rf $(BUILD)
.PHONY: all tidy clean
-include $(OBJ:.o=.d) $(UNIT:.o=.d) $(wildcard $(BUILD)/*.d)
