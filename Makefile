# Needs cargo, cc and make. What lies behind `make test` is all driven by cargo.
CARGO ?= cargo
CFLAGS ?= -O2
TARGET_DIR := $(abspath $(or $(CARGO_TARGET_DIR),target))

PREFIX ?= /usr/local
BINDIR ?= $(PREFIX)/bin
LIBDIR ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
DATADIR ?= $(PREFIX)/share

VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)
REAL := libvfs.so.$(VERSION)
SONAME := libvfs.so.$(firstword $(subst ., ,$(VERSION)))

RELEASE := $(TARGET_DIR)/release
LIBRARY := $(RELEASE)/libvfs.so
SOURCES := Cargo.toml build.rs $(wildcard Cargo.lock) $(shell find src -name '*.rs')
VFSCTL := $(RELEASE)/vfsctl
# Its man pages and completions, laid out as they are installed.
SHARE := $(TARGET_DIR)/share
# Programs that run from the build directory, beside the library they were built with.
BIN := $(TARGET_DIR)/c
WARN := -Wall -Wextra -Wpedantic -Werror
LINK := -L$(RELEASE) -lvfs -Wl,-rpath,'$$ORIGIN/../release'

# How long everything at once goes on.
SOAK_SECONDS ?= 3600

.PHONY: build test loom fuzz demo serve bench bench-long soak install uninstall header docs check-cinstall clean help

build:
	$(CARGO) build --release
	@$(MAKE) --no-print-directory $(SHARE)/man/man1/vfsctl.1

test:
	$(CARGO) test

# What threads share, in every order that they can come in.
loom:
	RUSTFLAGS="--cfg loom" $(CARGO) test --profile loom --lib orders

# FUZZ_SECONDS=600 for each target from fuzz/corpus on, and for eight threads against a model.
fuzz:
	CARGO="$(CARGO)" sh fuzz/run.sh

demo: $(addprefix $(BIN)/,hello store fetch usual)
	@sh examples/demo.sh $(BIN) $(RELEASE)

bench: $(BIN)/bench
	@sh benches/run.sh short $(BIN)

bench-long: $(BIN)/long
	@sh benches/run.sh long $(BIN)

soak: $(BIN)/soak
	@dir=$$(mktemp -d $(BIN)/soak.XXXXXX) && $(BIN)/soak $$dir long $(SOAK_SECONDS); answer=$$?; rm -rf $$dir; exit $$answer

header:
	VFS_BLESS_HEADER=1 $(CARGO) test --test header

clean:
	$(CARGO) clean

# Outside of `.ci/run`: cargo-c itself takes long to build (`cargo install cargo-c --locked`).
check-cinstall:
	@CARGO="$(CARGO)" sh tests/cinstall.sh "$(VERSION)" "$(SONAME)"

# The reference pages: html/index.html there. Needs doxygen.
DOCS := $(TARGET_DIR)/docs
docs:
	@mkdir -p "$(DOCS)"
	@VERSION=$(VERSION) OUTPUT="$(DOCS)" doxygen Doxyfile

# Only when a source is newer: `sudo make install` after `make` runs no cargo.
$(LIBRARY): $(SOURCES)
	$(CARGO) build --release
	@touch -c $@

$(VFSCTL): $(LIBRARY) vfsctl/Cargo.toml $(wildcard vfsctl/src/*.rs)
	$(CARGO) build --release
	@touch -c $@

$(SHARE)/man/man1/vfsctl.1: $(VFSCTL)
	$(VFSCTL) generate $(SHARE)

# The name that the loader looks for.
$(RELEASE)/$(SONAME): $(LIBRARY)
	@ln -sf libvfs.so $@

$(BIN)/%: examples/c/%.c $(wildcard examples/c/*.h) include/vfs.h $(RELEASE)/$(SONAME)
	@mkdir -p $(BIN)
	$(CC) -std=c99 $(WARN) $(CFLAGS) -Iinclude $< -o $@ $(LINK) -lrt

$(BIN)/%: benches/%.c benches/bench.h include/vfs.h $(RELEASE)/$(SONAME)
	@mkdir -p $(BIN)
	$(CC) -std=c11 $(WARN) $(CFLAGS) -pthread -Iinclude $< -o $@ $(LINK)

$(BIN)/%: tests/c/%.c tests/c/harness.h include/vfs.h $(RELEASE)/$(SONAME)
	@mkdir -p $(BIN)
	$(CC) -std=c11 -D_GNU_SOURCE $(WARN) $(CFLAGS) -pthread -Iinclude $< -o $@ $(LINK)

# An HTTP server of a store's blobs. Needs libmicrohttpd.
serve: $(BIN)/serve
$(BIN)/serve: examples/serve/serve.cpp include/vfs.h include/vfs.hpp $(RELEASE)/$(SONAME)
	@mkdir -p $(BIN)
	$(CXX) -std=c++17 $(WARN) $(CFLAGS) -pthread -Iinclude $< -o $@ $(LINK) -lmicrohttpd

# In the pkg-config file, directories below the prefix are told by it.
PC_DIR = $(patsubst $(PREFIX)/%,$${prefix}/%,$(1))

# In the CMake package, the headers are told from where it lies, so that the tree may be moved.
CMAKE_DIR = $(LIBDIR)/cmake/vfs
SPACE := $(subst ,, )
TO_PREFIX = $(subst $(SPACE),/,$(patsubst %,..,$(subst /, ,$(patsubst $(PREFIX)/%,%,$(CMAKE_DIR)))))
FROM_CMAKE = $(if $(filter $(PREFIX)/%,$(CMAKE_DIR)),$(patsubst $(PREFIX)/%,$(TO_PREFIX)/%,$(INCLUDEDIR)),$(INCLUDEDIR))

FILL = sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@VERSION@|$(VERSION)|' -e 's|@SONAME@|$(SONAME)|' \
	-e 's|@MAJOR@|$(firstword $(subst ., ,$(VERSION)))|' -e 's|@FROM_CMAKE@|$(FROM_CMAKE)|' \
	-e 's|@LIBDIR@|$(call PC_DIR,$(LIBDIR))|' -e 's|@INCLUDEDIR@|$(call PC_DIR,$(INCLUDEDIR))|'

install: $(LIBRARY) $(SHARE)/man/man1/vfsctl.1
	@case '$(PREFIX)' in /*) ;; *) echo 'make: PREFIX=$(PREFIX) is not absolute' >&2; exit 2;; esac
	install -d "$(DESTDIR)$(INCLUDEDIR)" "$(DESTDIR)$(LIBDIR)/pkgconfig" "$(DESTDIR)$(CMAKE_DIR)"
	install -m 644 include/vfs.h include/vfs.hpp "$(DESTDIR)$(INCLUDEDIR)"
	install -m 755 $(LIBRARY) "$(DESTDIR)$(LIBDIR)/$(REAL)"
	ln -sf $(REAL) "$(DESTDIR)$(LIBDIR)/$(SONAME)"
	ln -sf $(SONAME) "$(DESTDIR)$(LIBDIR)/libvfs.so"
	install -m 644 $(RELEASE)/libvfs.a "$(DESTDIR)$(LIBDIR)/libvfs.a"
	$(FILL) vfs.pc.in > "$(DESTDIR)$(LIBDIR)/pkgconfig/vfs.pc"
	$(FILL) cmake/vfsConfig.cmake.in > "$(DESTDIR)$(CMAKE_DIR)/vfsConfig.cmake"
	$(FILL) cmake/vfsConfigVersion.cmake.in > "$(DESTDIR)$(CMAKE_DIR)/vfsConfigVersion.cmake"
	chmod 644 "$(DESTDIR)$(LIBDIR)/pkgconfig/vfs.pc" "$(DESTDIR)$(CMAKE_DIR)"/*.cmake
	install -d "$(DESTDIR)$(BINDIR)"
	install -m 755 $(VFSCTL) "$(DESTDIR)$(BINDIR)/vfsctl"
	set -e; for file in $$(cd $(SHARE) && find * -type f); do \
	    install -D -m 644 $(SHARE)/$$file "$(DESTDIR)$(DATADIR)/$$file"; done
	@[ -n "$(DESTDIR)" ] || ldconfig 2>/dev/null || : # the loader looks in its cache, which only root can renew

uninstall:
	rm -f "$(DESTDIR)$(INCLUDEDIR)/vfs.h" "$(DESTDIR)$(INCLUDEDIR)/vfs.hpp" "$(DESTDIR)$(LIBDIR)/pkgconfig/vfs.pc"
	rm -f $(addprefix "$(DESTDIR)$(LIBDIR)/,$(addsuffix ",$(REAL) $(SONAME) libvfs.so libvfs.a))
	rm -f "$(DESTDIR)$(CMAKE_DIR)/vfsConfig.cmake" "$(DESTDIR)$(CMAKE_DIR)/vfsConfigVersion.cmake"
	@rmdir "$(DESTDIR)$(CMAKE_DIR)" 2>/dev/null || :
	rm -f "$(DESTDIR)$(BINDIR)/vfsctl" "$(DESTDIR)$(DATADIR)"/man/man1/vfsctl.1 "$(DESTDIR)$(DATADIR)"/man/man1/vfsctl-*.1
	rm -f $(addprefix "$(DESTDIR)$(DATADIR)/,$(addsuffix ",bash-completion/completions/vfsctl \
	    zsh/site-functions/_vfsctl fish/vendor_completions.d/vfsctl.fish))

help:
	@echo 'make              build the library and vfsctl: target/release/libvfs.so, libvfs.a, libvfs.rlib, vfsctl'
	@echo 'make test         run all tests (cargo test)'
	@echo 'make loom         run what threads share in every order that they can come in'
	@echo 'make fuzz         fuzz keys, lists of tiers, calls and threads, FUZZ_SECONDS=600 for each'
	@echo 'make demo         store and read back real files while /dev/shm is full'
	@echo 'make serve        build target/c/serve, which serves blobs over HTTP (libmicrohttpd)'
	@echo 'make bench        compare with bare system calls'
	@echo 'make bench-long   a million blobs, many threads, processes and owners'
	@echo 'make soak         everything at once, with kills, for SOAK_SECONDS=$(SOAK_SECONDS)'
	@echo 'make install      PREFIX=$(PREFIX) BINDIR=$(BINDIR) LIBDIR=$(LIBDIR) INCLUDEDIR=$(INCLUDEDIR) DATADIR=$(DATADIR) DESTDIR=$(DESTDIR)'
	@echo 'make uninstall    the same variables'
	@echo 'make header       write include/vfs.h anew from src/ffi'
	@echo 'make check-cinstall  what cargo-c installs is what make install does, and serves C and C++ programs'
	@echo 'make docs         reference pages of vfs.h and vfs.hpp: target/docs/html (doxygen)'
	@echo 'make clean        remove what was built'
