# make demo    two virtual machines from bare metal to an installed Debian
# make test    all tests
# make check   format, vet, staticcheck, vulnerabilities, race detector

GO          ?= go
STATICCHECK ?= honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOVULNCHECK ?= golang.org/x/vuln/cmd/govulncheck@v1.1.4
# Racks, namespaces and raw sockets need root.
AS_ROOT     := $(shell [ "$$(id -u)" -eq 0 ] || echo sudo -E env "PATH=$$PATH")
# Packages in which several goroutines share state.
CONCURRENT  := ./dhcp ./pxe ./inventory/... ./loda ./loda/agentapi ./loda/apiserver ./loda/site ./loda/trust ./bootos/agent ./bootos/disk

.PHONY: all setup build demo test check fmt vet staticcheck vuln race bench clean

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

check: fmt vet staticcheck vuln race

fmt:
	@bad=$$(gofmt -l $$(git ls-files '*.go')); [ -z "$$bad" ] || { echo "not gofmt-ed:"; echo "$$bad"; exit 1; }

vet:
	$(GO) vet ./...

staticcheck:
	$(GO) run $(STATICCHECK) ./...

# Needs the vulnerability database, which a closed network does not reach: that is said and is no failure.
vuln:
	@if $(GO) run $(GOVULNCHECK) -version >/dev/null 2>&1 && $(GO) run $(GOVULNCHECK) ./... ; then :; else \
		echo "govulncheck could not run or found something; see above" ; \
		$(GO) run $(GOVULNCHECK) -version >/dev/null 2>&1 && $(GO) run $(GOVULNCHECK) -scan module ./... 2>&1 | grep -q 'fetching vulnerabilities' || exit 1 ; fi

race:
	$(GO) test -race -short $(CONCURRENT)

bench:
	$(GO) test -run '^$$' -bench . -benchmem ./dhcp ./pxe ./inventory/... ./bootos/disk

clean:
	rm -rf bin build
