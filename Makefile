# make demo    two virtual machines from bare metal to an installed Debian
# make test    all tests
# make unit    the tests without virtual machines, and a list of what was left out
# make bench-boot  TFTP and HTTP beside tftpd-hpa, dnsmasq and nginx; docs/benchmarks.md
# make bench-dhcp  DHCP beside Kea and dnsmasq, and what is left after kill -9 in a storm; docs/benchmarks.md
# make check   format, vet, staticcheck, vulnerabilities, race detector

GO          ?= go
STATICCHECK ?= honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOVULNCHECK ?= golang.org/x/vuln/cmd/govulncheck@v1.9.0
# Racks, namespaces and raw sockets need root.
AS_ROOT     := $(shell [ "$$(id -u)" -eq 0 ] || echo sudo -E env "PATH=$$PATH")
# Packages in which several goroutines share state.
CONCURRENT  := ./dhcp ./pxe ./hw ./inventory/... ./loda ./loda/agentapi ./loda/apiserver ./loda/configrepo ./loda/gitprofiles \
	./loda/gitsource ./loda/depot ./loda/site ./loda/trust ./bootos/agent ./bootos/disk ./bootos/script ./bootos/storage \
	./bootos/tool ./raid ./raid/command ./raid/host ./raid/plugin

.PHONY: all setup build demo test unit check fmt vet staticcheck vuln race bench bench-boot bench-dhcp clean

all: build

setup:
	scripts/setup

build:
	$(GO) build -trimpath -o bin/lodad ./lodad

demo: setup build
	$(AS_ROOT) bin/lodad lab up --machines 2 --install

test: build
	scripts/setup test
	LODA_TEST_REQUIRE=all $(AS_ROOT) $(GO) test -p 1 -timeout 50m ./...

unit:
	@mkdir -p build
	@$(GO) test -short -v ./... >build/unit.log 2>&1 ; status=$$? ; grep -E '^(ok|FAIL|panic)|^ *--- FAIL' build/unit.log ; \
	echo "left out, by reason:" ; grep -hoE '(needs|left out) .*' build/unit.log | sort | uniq -c | sort -rn ; exit $$status

check: fmt vet staticcheck vuln race

fmt:
	@bad=$$(gofmt -l $$(git ls-files '*.go')); [ -z "$$bad" ] || { echo "not gofmt-ed:"; echo "$$bad"; exit 1; }

vet:
	$(GO) vet ./...

staticcheck:
	$(GO) run $(STATICCHECK) ./...

# It needs the vulnerability database, which a closed network does not reach: that is said, and is no failure. What it
# finds (exit status 3) is one.
vuln:
	@GOBIN=$(CURDIR)/bin $(GO) install $(GOVULNCHECK)
	@bin/govulncheck ./... ; status=$$? ; \
	[ $$status -ne 3 ] || exit 1 ; [ $$status -eq 0 ] || echo "govulncheck could not run here (exit status $$status)"

race:
	$(GO) test -race -short $(CONCURRENT)

bench:
	$(GO) test -run '^$$' -bench . -benchmem ./dhcp ./pxe ./hw ./inventory/... ./loda/configrepo ./loda/gitsource ./raid ./bootos/disk

bench-boot:
	scripts/setup bench
	@mkdir -p build
	$(GO) build -trimpath -o build/bench-boot ./scripts/bench/boot
	$(AS_ROOT) build/bench-boot $(BENCH_BOOT)

# A few minutes per server and run. RUNS=1 for a first look.
bench-dhcp: build
	scripts/setup bench
	$(GO) build -o bin/bench-dhcp ./scripts/bench/dhcp
	$(AS_ROOT) bin/bench-dhcp -lodad bin/lodad -runs $(or $(RUNS),3)
	LODA_TEST_REQUIRE=all LODA_BENCH_STORM=5000x10 $(AS_ROOT) $(GO) test ./loda/site -run TestKill9InAStorm -count 1 -v

clean:
	rm -rf bin build
