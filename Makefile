# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# make            build build/redial
# make demo       see it work                  (root; installs what is missing)
# make test       every test                   (root; installs what is missing)
# make asan-test  every test under ASan and UBSan
# make lint       format, layering, banned calls, both compilers' warnings
# make bench      measure against kube-proxy's rules, in three minutes (root; installs what is missing)
# make help       the rest

VERSION := $(shell sed -n 's/^#define REDIAL_VERSION "\(.*\)"/\1/p' user/version.h)
PREFIX ?= /usr/local
DESTDIR ?=
CC = gcc
CLANG ?= clang
BPFTOOL ?= $(firstword $(wildcard /usr/sbin/bpftool /sbin/bpftool) bpftool)
# Debian's Python, which has Debian's pytest.
PYTHON ?= /usr/bin/python3
B ?= build
V ?= 0

ifeq ($(V),0)
Q := @
say = @printf '  %-7s %s\n' $(1) $(2)
else
Q :=
say = @:
endif

WARNINGS := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wwrite-strings -Werror
CFLAGS ?= -O2 -g
CPPFLAGS += -D_GNU_SOURCE -Iinclude -I$(B) -Iuser
ALL_CFLAGS = -std=gnu11 $(WARNINGS) $(CFLAGS) -MMD -MP
LIBS := -lldns -lbpf -lelf -lz -lcjson -lfyaml -lcurl -levent_extra -levent_core
BPF_CFLAGS := -target bpf -mcpu=v3 -O2 -g -std=gnu11 -Wall -Wextra -Werror -Iinclude \
	-idirafter /usr/include/$(shell $(CC) -print-multiarch 2>/dev/null) -MMD -MP

# The pure core: no I/O, no JSON, no libbpf. Unit tests link these alone.
CORE := alloc assign clusterip dns_answer dns_cache dns_endpoints dns_message dns_numbers dns_zone ip model nodeport plan reason repeat resolve syncs util
EDGE := agent api base64 cgroupname commands credentials datapath decode dns_local dns_lookup dns_server dns_tcp dns_udp dns_upstream dns_watch healthcheck http httpd inspect json json_stream kubeconfig log maps metrics monitor_names nodeaddr options plugin probes reconcile reflector resolvconf secret sockets source_dir source_kube system table view watch yaml \
	cmd_check cmd_cleanup cmd_dns_config cmd_explain cmd_monitor cmd_run cmd_show cmd_top cmd_usage cmd_version
comma := ,
objects = $(patsubst %,$(B)/user/%.o,$(1))

UNIT_TESTS := $(patsubst tests/unit/test_%.c,%,$(wildcard tests/unit/test_*.c))
DATAPATH_TESTS := $(patsubst tests/datapath/test_%.c,%,$(wildcard tests/datapath/test_*.c))
TEST_BINARIES := $(patsubst %,$(B)/tests/unit/%,$(UNIT_TESTS)) \
	$(patsubst %,$(B)/tests/datapath/%,$(DATAPATH_TESTS))

.PHONY: all test asan asan-test unit-test demo deps lint fmt install clean help check-clean
.DELETE_ON_ERROR:
.SECONDARY:

all: $(B)/redial $(B)/redial.8 $(B)/completion.bash $(B)/_redial

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile
	@echo 'make unit-test  the tests that need no root'
	@echo 'make asan       build/asan/redial'
	@echo 'make fuzz     FUZZ_SECONDS=60'
	@echo 'make bench-full      the whole measurement, a quarter of an hour'
	@echo 'make bench-check     has the datapath become dearer?'
	@echo 'make bench-baseline  what bench-check compares with is what is measured now'
	@echo 'make bench-readme    put what was measured last into README.md'
	@echo 'make bench-datapath  what each hook costs (root)'
	@echo 'make bench-observe   what watching costs an application (root)'
	@echo 'make bench-control   what the control plane costs (root)'
	@echo 'make bench-dns       what an answer costs, beside Unbound and Knot DNS (root)'
	@echo 'make install    DESTDIR= PREFIX='
	@echo 'make image-root  the root tree of the image, in build/image-root'
	@echo 'make fmt clean check-clean'

# ---- build ---------------------------------------------------------------------

$(B)/redial: $(call objects,main $(CORE) $(EDGE))
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LIBS)

$(B)/redial.8: WRITES = man
$(B)/completion.bash: WRITES = completion bash
$(B)/_redial: WRITES = completion zsh
$(B)/redial.8 $(B)/completion.bash $(B)/_redial: $(B)/redial
	$(call say,WRITE,$@)
	$(Q)$< $(WRITES) > $@

$(B)/user/%.o: user/%.c
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(ALL_CFLAGS) -c -o $@ $<

$(B)/user/datapath.o: $(B)/redial.skel.h

$(B)/redial.bpf.o: bpf/redial.bpf.c
	$(call say,BPF,$<)
	@mkdir -p $(@D)
	$(Q)$(CLANG) $(BPF_CFLAGS) -c -o $@ $<

$(B)/%.skel.h: $(B)/%.bpf.o
	$(call say,SKEL,$@)
	$(Q)$(BPFTOOL) gen skeleton $< > $@

# ---- tests ---------------------------------------------------------------------

# What a test puts its own function in the place of.
WRAP = malloc calloc realloc reallocarray strdup
wrapped = $(patsubst %,-Wl$(comma)--wrap=%,$(WRAP))
$(B)/tests/unit/credentials: WRAP += rd_monotonic_ns rd_realtime_ns event_add
$(B)/tests/unit/dns_lookup: WRAP += rd_monotonic_ns event_add rd_dns_upstreams_ask rd_dns_upstreams_cancel
# By which a datapath test has an older kernel.
$(B)/tests/datapath/% $(B)/tests/bench/%: WRAP = btf__find_by_name_kind
$(B)/tests/unit/dns_upstream: WRAP += rd_monotonic_ns event_add socket getrandom

$(B)/tests/unit/%: tests/unit/test_%.c $(B)/tests/unit/alloc_fail.o $(B)/tests/unit/simulated_maps.o \
		$(call objects,$(CORE) api base64 cgroupname credentials decode dns_lookup dns_upstream json json_stream kubeconfig log maps metrics plugin reflector resolvconf secret system yaml)
	$(call say,TEST,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) -Itests $(ALL_CFLAGS) -MF $@.d $(LDFLAGS) \
		$(wrapped) -o $@ $(filter %.c %.o,$^) -lcmocka $(LIBS)

$(B)/tests/%.o: tests/%.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) -Itests $(ALL_CFLAGS) -c -o $@ $<

$(B)/tests/datapath/%: tests/datapath/test_%.c $(B)/tests/datapath/sandbox.o $(call objects,$(CORE) datapath maps sockets system)
	$(call say,TEST,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) -Itests $(ALL_CFLAGS) -MF $@.d $(LDFLAGS) \
		$(wrapped) -o $@ $(filter %.c %.o,$^) -lcmocka -lpthread $(LIBS)

$(B)/tests/bench/%: tests/bench/bench_%.c $(B)/tests/datapath/sandbox.o $(call objects,$(CORE) datapath maps sockets system)
	$(call say,BENCH,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) -Itests $(ALL_CFLAGS) -MF $@.d $(LDFLAGS) \
		$(wrapped) -o $@ $(filter %.c %.o,$^) -lcmocka -lpthread $(LIBS)

FUZZ_SECONDS ?= 60
FUZZ_FLAGS := -O1 -g -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all

FUZZ_RUN = -max_total_time=$(FUZZ_SECONDS) -max_len=16384 -timeout=10 -print_final_stats=1 \
	-artifact_prefix=build/fuzz/
# A recording is a seed with the byte before it that fuzz_watch.c wants.
FUZZ_WATCH_SEEDS := @:watch-services.ndjson B:watch-endpointslices.ndjson \
	B:watch-initial-events-endpointslices.ndjson A:services-list.json C:endpointslices-list.json \
	C:endpointslices-page1.json E:endpoints-list.json G:nodes-list.json A:status-403.json \
	A:status-504-too-large-resource-version.json

build/fuzz/%: tests/fuzz/fuzz_%.c $(patsubst %,user/%.c,$(CORE) api base64 cgroupname decode dns_upstream json json_stream kubeconfig resolvconf secret system yaml)
	$(call say,FUZZ,$@)
	@mkdir -p $(@D)
	$(Q)$(CLANG) $(CPPFLAGS) -std=gnu11 $(WARNINGS) $(FUZZ_FLAGS) -o $@ $^ $(LIBS)

.PHONY: fuzz
fuzz: $(patsubst tests/fuzz/fuzz_%.c,build/fuzz/%,$(wildcard tests/fuzz/fuzz_*.c))
	$(Q)mkdir -p $(patsubst %,build/fuzz/corpus-%,$(notdir $^))
	$(Q)cp -n tests/data/kube-api/*.json tests/fuzz/seeds/* build/fuzz/corpus-manifest/
	$(Q)for seed in $(FUZZ_WATCH_SEEDS); do printf %s "$${seed%%:*}" | \
		cat - "tests/data/kube-api/$${seed#*:}" >"build/fuzz/corpus-watch/$${seed#*:}"; done
	$(Q)cp -n tests/fuzz/seeds-kubeconfig/* build/fuzz/corpus-kubeconfig/
	$(Q)cp -n tests/fuzz/seeds-cgroupname/* build/fuzz/corpus-cgroupname/
	$(Q)cp -n tests/fuzz/seeds-dns/* build/fuzz/corpus-dns/
	$(Q)for target in $(notdir $^); do \
		build/fuzz/$$target $(FUZZ_RUN) build/fuzz/corpus-$$target || exit 1; done

$(B)/tests/bench/load: tests/bench/load.c
	$(call say,BENCH,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(ALL_CFLAGS) -MF $@.d $(LDFLAGS) -o $@ $<

# As clients: in a Pod, or on the node itself.
BENCH_CLIENT ?= pod
BENCH = scripts/sandbox $(PYTHON) -B tests/bench/bench.py --client $(BENCH_CLIENT)

.PHONY: bench bench-full bench-smoke bench-check bench-baseline bench-readme
bench: BENCH_MODE = quick
bench-full: BENCH_MODE = full
bench-smoke: BENCH_MODE = smoke
bench bench-full bench-smoke:
	$(Q)scripts/deps bench
	$(Q)$(MAKE) --no-print-directory all $(B)/tests/bench/load
	$(Q)$(BENCH) $(BENCH_MODE)
	$(Q)scripts/bench-report

bench-baseline: STORE = --store
bench-check bench-baseline:
	$(Q)scripts/deps bench
	$(Q)$(MAKE) --no-print-directory all $(B)/tests/bench/load
	$(Q)$(BENCH) check --out bench-results/check.json
	$(Q)scripts/bench-check $(STORE) bench-results/check.json

bench-readme:
	$(Q)scripts/bench-report --readme

.PHONY: bench-datapath
bench-datapath: $(B)/tests/bench/datapath
	$(Q)$<

.PHONY: bench-observe
bench-observe:
	$(Q)scripts/deps bench
	$(Q)$(MAKE) --no-print-directory all $(B)/tests/bench/load
	$(Q)$(BENCH) observe --out bench-results/observe.json
	$(Q)scripts/bench-report --to redial@1 bench-results/observe.json

.PHONY: bench-control
bench-control: all
	$(Q)scripts/sandbox $(PYTHON) tests/bench/bench_control.py

.PHONY: bench-dns
bench-dns: all
	$(Q)scripts/deps bench
	$(Q)scripts/sandbox $(PYTHON) tests/bench/bench_dns.py $(BENCH_DNS)
	$(Q)scripts/sandbox $(PYTHON) tests/bench/bench_dns_change.py

deps:
	$(Q)scripts/deps

unit-test: $(patsubst %,$(B)/tests/unit/%,$(UNIT_TESTS))
	$(Q)scripts/run-cmocka $^

test: deps
	$(Q)$(MAKE) --no-print-directory run-tests

.PHONY: run-tests
run-tests: all $(TEST_BINARIES)
	$(Q)scripts/test $(B) $(PYTHON)

asan:
	$(Q)$(MAKE) --no-print-directory B=build/asan \
		CFLAGS='-O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all' all

asan-test: deps
	$(Q)$(MAKE) --no-print-directory B=build/asan \
		CFLAGS='-O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all' run-tests

check-clean:
	$(Q)scripts/check-clean

demo: deps
	$(Q)$(MAKE) --no-print-directory all
	$(Q)scripts/demo $(B)/redial

# ---- the rest --------------------------------------------------------------------

lint: deps
	$(Q)CLANG=$(CLANG) scripts/lint

fmt:
	$(Q)clang-format -i $$(git ls-files '*.c' '*.h')

install: all
	install -D -m 0755 $(B)/redial $(DESTDIR)$(PREFIX)/sbin/redial
	install -D -m 0644 $(B)/redial.8 $(DESTDIR)$(PREFIX)/share/man/man8/redial.8
	install -D -m 0644 $(B)/completion.bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/redial
	install -D -m 0644 $(B)/_redial $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_redial

.PHONY: image-root
image-root: all
	$(Q)rm -rf $(B)/image-root
	$(Q)scripts/image-root $(B)/image-root $(B)/redial

clean:
	rm -rf build

-include $(shell find $(B) -name '*.d' 2>/dev/null)
