# What builds, tests and ships yoyu. Go, make, git and bash are enough; `make help` lists the rest.

SHELL          := bash
VERSION        ?= $(patsubst v%,%,$(shell git describe --tags --always --dirty 2>/dev/null || echo unknown))
comma          := ,
LDFLAGS        := -s -w -X github.com/prometheus/common/version.Version=$(VERSION)
PLATFORMS      ?= linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64
TEST_TIMEOUT   ?= 20m
FUZZTIME       ?= 10s
DEATHS         ?= 2000
BENCH_COUNT    ?= 5
# The same version as in .github/workflows/lint.yml.
GOLANGCI_LINT  ?= github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

# The race detector needs cgo, cgo needs a C compiler: without one the tests run all the same.
RACE := $(if $(filter 1,$(shell go env CGO_ENABLED)),-race)

.DEFAULT_GOAL := help
.PHONY: help build demo demo-datadog pictures test check lint bench fuzz torture dist clean

help: ## this list
	@echo "usage: make TARGET"
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  \1\t\2/p' Makefile

build: ## the program, as ./yoyu
	go build -trimpath -ldflags '$(LDFLAGS)' -o yoyu .

demo: ## an embedded shop with its budgets; flags go into ARGS="…"
	go run . demo $(ARGS)

demo-datadog: ## the same with a fake Datadog behind it: metrics out and in, monitors, dashboards; no account needed
	go run ./test/datadog/demo $(ARGS)

# The program has no version here, so that a commit alone changes no picture.
pictures: ## the pictures of docs/pictures, taken of the demo at one moment of one seed; needs a Chromium
	@chromium=$$(bash test/chromium.sh) && folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && \
	go build -trimpath -buildvcs=false -o "$$folder/yoyu" . && \
	YOYU_CHROMIUM="$$chromium" go run ./test/browser/pictures -yoyu "$$folder/yoyu" -o docs/pictures

# The real parts are built first: half an hour the first time, on two cores. The lines of go test
# come last.
test: ## everything, against a real Prometheus, Alertmanager, Kubernetes and Chromium; flags of go test go into TESTFLAGS="…"
	@parts=$$(bash test/build.sh prometheus) && am=$$(bash test/build.sh alertmanager) && \
	kube=$$(bash test/build.sh kubernetes) && old=$$(bash test/build.sh kubernetes-oldest) && vpa=$$(bash test/build.sh vpa) && \
	operators=$$(bash test/build.sh operators) && helm=$$(bash test/build.sh helm) && \
	chromium=$$(bash test/chromium.sh) && \
	export YOYU_REAL=1 YOYU_PROMETHEUS="$$parts/prometheus" YOYU_PROMTOOL="$$parts/promtool" \
		YOYU_ALERTMANAGER="$$am/alertmanager" YOYU_AMTOOL="$$am/amtool" \
		YOYU_KUBE_APISERVER="$$kube/kube-apiserver" YOYU_ETCD="$$kube/server" YOYU_KUBECTL="$$kube/kubectl" \
		YOYU_KUBE_APISERVER_OLDEST="$$old/kube-apiserver" \
		YOYU_VPA_RECOMMENDER="$$vpa/recommender" YOYU_CONTROLLER_GEN="$$operators/controller-gen" \
		YOYU_HELM="$$helm/helm" YOYU_CHROMIUM="$$chromium" && \
	$(if $(RACE),,echo "no C compiler here: testing without -race" >&2 &&) \
	echo "go vet ./..." && go vet ./... && \
	echo "go test $(RACE) -timeout $(TEST_TIMEOUT) $(TESTFLAGS) ./..." && \
	go test $(RACE) -timeout $(TEST_TIMEOUT) $(TESTFLAGS) ./...

check: ## the quick one: format, vet, tests without real parts, linters where installed
	@unformatted=$$(gofmt -l .) && if [ -n "$$unformatted" ]; then echo "gofmt would change:"; echo "$$unformatted"; exit 1; fi
	go vet ./...
	go test -short ./...
	@if command -v golangci-lint >/dev/null; then echo "golangci-lint run" && golangci-lint run; else echo "golangci-lint is not installed: make lint fetches it"; fi

lint: ## the linters; the pinned version is built the first time where none is installed
	@if command -v golangci-lint >/dev/null; then golangci-lint run; else go run $(GOLANGCI_LINT) run; fi

# The comparison with a Prometheus that evaluates rules takes minutes and is run once; it takes its own
# medians. Packages come one after another, so that they do not take each other's cores.
bench: ## benchmarks, as a table in docs/benchmarks.md; only some of them with BENCH=regexp, as a table here
	@parts=$$(bash test/build.sh prometheus) && \
	export YOYU_REAL=1 YOYU_PROMETHEUS="$$parts/prometheus" YOYU_PROMTOOL="$$parts/promtool" && \
	out=$$(mktemp) && trap 'rm -f "$$out"' EXIT && set -o pipefail && \
	go test -run '^$$' -bench '$(or $(BENCH),.)' -benchmem -count $(BENCH_COUNT) -p 1 -timeout 2h \
		$$(go list ./... | grep -v /test/e2e) | tee "$$out" && \
	go test -run '^$$' -bench '$(or $(BENCH),.)' -benchtime 1x -timeout 1h ./test/e2e | tee -a "$$out" && \
	go run ./test/benchtable $(if $(BENCH),-measured,-o docs/benchmarks.md) < "$$out" && \
	$(if $(BENCH),true,cat docs/benchmarks.md)

fuzz: ## every fuzz target for FUZZTIME, 10s unless told
	@bash test/fuzz.sh $(FUZZTIME)

torture: ## yoyu killed 2,000 times, or DEATHS; hours
	@parts=$$(bash test/build.sh prometheus) && \
	export YOYU_REAL=1 YOYU_PROMETHEUS="$$parts/prometheus" YOYU_PROMTOOL="$$parts/promtool" YOYU_TORTURE=$(DEATHS) && \
	go test -count=1 -timeout 4h -run Killed ./test/e2e

# The same commit gives the same archives, byte for byte, where tar is GNU's: names in order, nobody's
# name, the time of the commit.
SAME := $(if $(findstring GNU,$(shell tar --version 2>/dev/null)),--sort=name --owner=0 --group=0 --numeric-owner --mode=u=rwX$(comma)go=rX --mtime=@$(shell git log -1 --format=%ct 2>/dev/null || echo 0))

dist: ## archives for every platform with checksums, in dist/
	@rm -rf dist && mkdir dist
	@set -e; for platform in $(PLATFORMS); do \
		os=$${platform%/*} arch=$${platform#*/} name=yoyu-$(VERSION).$$os-$$arch exe=; \
		if [ $$os = windows ]; then exe=.exe; fi; \
		echo "dist/$$name.tar.gz"; \
		mkdir "dist/$$name"; \
		CGO_ENABLED=0 GOOS=$$os GOARCH=$$arch go build -trimpath -ldflags '$(LDFLAGS)' -o "dist/$$name/yoyu$$exe" .; \
		cp LICENSE README.md config.example.yaml "dist/$$name/"; \
		tar -C dist $(SAME) -cf - "$$name" | gzip -n > "dist/$$name.tar.gz"; \
		rm -r "dist/$$name"; \
	done
	@cd dist && if command -v sha256sum >/dev/null; then sha256sum *.tar.gz; else shasum -a 256 *.tar.gz; fi > sha256sums.txt
	@cat dist/sha256sums.txt

clean: ## what these targets left in the checkout; the cache of real parts stays
	rm -rf yoyu dist coverage.out
