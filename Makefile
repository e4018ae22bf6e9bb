# ffwd: a poll-mode userspace switch. `make help` lists the targets.

GO      ?= go
BIN     := bin/ffwd
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS := -X main.version=$(VERSION)
DEMO    := run
# pkg-config of DPDK 23.11 and newer gives this flag, and cgo lets no flag pass it does not know.
export CGO_CFLAGS_ALLOW ?= -mrtm

# Debian packages: to build and run, and what the end-to-end tests drive besides.
BUILD_PACKAGES := build-essential pkg-config libdpdk-dev dpdk dpdk-dev
TEST_PACKAGES  := iproute2 netbase util-linux nftables conntrack ethtool iputils-ping iputils-arping iputils-tracepath traceroute ndisc6 iperf3 \
                  curl tcpdump tshark nmap python3 dnsmasq-base bind9-dnsutils bird2 dpdk-doc
PACKAGES       := $(BUILD_PACKAGES) $(TEST_PACKAGES)
NIC_PACKAGES   := $(PACKAGES) qemu-system-x86 busybox-static cpio kmod
# Packages without DPDK: they build and test with no C compiler.
PURE := ./packet ./mem ./clock ./epoch ./ct ./fib ./policy ./pipeline ./slowpath ./queue/... ./conf ./capture ./bench

.PHONY: help deps build-deps build run test unit pure e2e nic-test race fuzz bench bench-peers lint fmt check clean

help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## (.*)/\1	\2/' | expand -t 12

deps: ## install the Debian packages that are missing, and check for Go
	@$(MAKE) --no-print-directory build-deps BUILD_PACKAGES='$(PACKAGES)'

build-deps: # deps without what only tests need
	@missing=$$(dpkg-query -W -f='$${Package} $${db:Status-Status}\n' $(BUILD_PACKAGES) 2>/dev/null | awk '$$2=="installed"{print $$1}' | sort >/tmp/ffwd-have.$$$$; \
	  printf '%s\n' $(BUILD_PACKAGES) | sort | comm -23 - /tmp/ffwd-have.$$$$; rm -f /tmp/ffwd-have.$$$$); \
	if [ -n "$$missing" ]; then \
	  echo "installing" $$missing; \
	  sudo=; [ $$(id -u) = 0 ] || sudo=sudo; \
	  $$sudo apt-get update -q && $$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $$missing; \
	fi
	@command -v $(GO) >/dev/null || { echo "Go 1.26 or newer is needed and Debian has none: install it, see https://go.dev/doc/install"; exit 1; }
	@$(GO) mod download

build: build-deps ## build bin/ffwd
	$(GO) build -ldflags '$(LDFLAGS)' -o $(BIN) ./cmd/ffwd

run: build ## forward a generated capture with DPDK's software devices: no NIC, huge pages or root
	@mkdir -p $(DEMO)
	$(BIN) capture --out $(DEMO)/in.pcap
	$(BIN) run -c conf/samples/minimal.toml --idle-exit 1s
	@echo "what left is in $(DEMO)/wan.pcap and $(DEMO)/lan.pcap; look at it with: tshark -r $(DEMO)/wan.pcap"

test: deps build unit pure ## run all tests (as root also those in network namespaces)

unit:
	$(GO) vet ./...
	$(GO) test -count=1 -timeout 20m $(TESTFLAGS) ./...

pure: ## test what needs no DPDK without a C compiler, and compile it for processors without our assembly
	CGO_ENABLED=0 $(GO) test -short $(PURE)
	CGO_ENABLED=0 GOARCH=arm64 $(GO) vet $(PURE)

e2e: deps build ## run the end-to-end tests alone (root)
	$(GO) test -count=1 -v ./e2e

nic-test: build ## test ports of emulated NICs, in a machine of QEMU's between real hosts (root, 10 minutes)
	@$(MAKE) --no-print-directory build-deps BUILD_PACKAGES='$(NIC_PACKAGES)'
	e2e/nic/image.sh bin/nic
	$(GO) vet -tags nic ./e2e
	$(GO) test -count=1 -v -timeout 60m -tags nic -run '^TestNIC' ./e2e

# Of tables that tests map the detector keeps its shadow when they are gone: the first of these fill so many that it takes
# all memory. In one the kernel changes without rest, faster than anybody follows who is watched. The others are long work of
# one goroutine, in which there is nothing to detect.
RACE_HEAVY := AgreesWithAFreshDump|HundredThousand|MoreRoutesThanFit|DumpsSkip|TwoFullTables|ManyNextHopsAreBounded|NoStreamWedges|AgainstTheKernel
race: deps ## run the tests under the race detector, but for those of processes
	$(GO) test -race -skip '$(RACE_HEAVY)' ./packet ./mem ./clock ./epoch ./fib ./policy ./conf ./queue/...
	$(GO) test -race -skip '$(RACE_HEAVY)' ./ct -args -rapid.checks=10
	$(GO) test -race -short ./pipeline
	$(GO) test -race ./control
	$(GO) test -race -skip '$(RACE_HEAVY)' ./slowpath

FUZZTIME ?= 30s
fuzz: ## run every fuzz target for FUZZTIME
	@for p in $$(grep -lrE '^func Fuzz' --include=*_test.go . | xargs -n1 dirname | sort -u); do \
	  for f in $$(grep -hoE '^func Fuzz[A-Za-z0-9]+' $$p/*_test.go | cut -c6-); do \
	    echo "== $$p $$f"; CGO_ENABLED=0 $(GO) test $$p -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) || exit 1; \
	  done; done

bench: build ## measure ffwd beside dpdk-testpmd on the same packets
	$(BIN) bench

OVS := /usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk
bench-peers: deps build ## measure ffwd beside DPDK's l3fwd, ip_fragmentation and rte_hash (root)
	$(BIN) bench --peers --seconds 1 --warmup 0.5 --repetitions 3 --reserve-huge-pages $(if $(wildcard $(OVS)),--ovs)

lint: ## run the linters
	$(GO) tool -modfile=tools/go.mod golangci-lint run

fmt: ## format the code
	gofmt -w .

check: fmt lint test ## what to run before a commit

clean: ## remove what was built
	rm -rf bin $(DEMO)
