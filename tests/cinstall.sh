#!/bin/sh
# What `cargo cinstall` installs: the committed headers, one soname, the linker's flags of build.rs, and a pkg-config
# file by which C and C++ programs build in an empty directory, with the shared library and with the static one.
set -eu
version=$1 soname=$2
root=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "check-cinstall: $*" >&2; exit 1; }

prefix=/opt/vfs
(cd "$root" && ${CARGO:-cargo} cinstall --locked --release --package libvfs \
  --prefix "$prefix" --libdir "$prefix/lib" --destdir "$work/tree")
lib=$work/tree$prefix/lib include=$work/tree$prefix/include

for header in vfs.h vfs.hpp; do
  cmp "$root/include/$header" "$include/$header" || fail "$header is not the committed one"
done
[ "$(ls "$include")" = "$(printf 'vfs.h\nvfs.hpp')" ] || fail "other headers: $(ls "$include")"
[ "$(readlink -f "$lib/libvfs.so")" = "$(readlink -f "$lib/libvfs.so.$version")" ] || fail 'libvfs.so leads elsewhere'
[ -e "$lib/$soname" ] && [ -f "$lib/libvfs.a" ] || fail "no $soname, or no libvfs.a"
dynamic=$(readelf -dW "$lib/libvfs.so.$version")
[ "$(echo "$dynamic" | grep -c SONAME)" = 1 ] || fail 'not one soname'
echo "$dynamic" | grep -q "soname: \[$soname\]" || fail 'another soname'
echo "$dynamic" | grep -q NODELETE || fail 'it can be unloaded'
exported=$(nm -D --defined-only "$lib/libvfs.so.$version" | sed 's/.* //; s/@.*//' | sort)
declared=$(sed -n 's/^[a-z].*[ *]\(vfs_[a-z_]*\)(.*/\1/p' "$root/include/vfs.h" | sort)
[ -n "$declared" ] && [ "$exported" = "$declared" ] || fail "exports differ from the header: $exported"

mkdir "$work/empty" "$work/tier"
cd "$work/empty"
export PKG_CONFIG_LIBDIR="$lib/pkgconfig" PKG_CONFIG_SYSROOT_DIR="$work/tree" VFS_TIERS="$work/tier"
unset PKG_CONFIG_PATH LD_LIBRARY_PATH 2>/dev/null || :
[ "$(pkg-config --modversion vfs)" = "$version" ] || fail 'another version in vfs.pc'
cp "$root/examples/c/hello.c" .
cat > hello.cpp <<'END'
#include <cstdio>
#include <vfs.hpp>
int main() {
  vfs::Store store;
  store.put("greeting", "hello, world");
  std::puts(store.read<std::string>("greeting").c_str());
}
END
cc hello.c -o c-shared $(pkg-config --cflags --libs vfs)
c++ -std=c++17 hello.cpp -o cxx-shared $(pkg-config --cflags --libs vfs)
for program in c-shared cxx-shared; do
  [ "$(LD_LIBRARY_PATH=$lib ./$program)" = 'hello, world' ] || fail "$program"
  readelf -dW $program | grep -q "NEEDED.*\[$soname\]" || fail "$program does not ask for $soname"
done
rm "$lib"/libvfs.so*
cc hello.c -o c-static $(pkg-config --static --cflags --libs vfs)
c++ -std=c++17 hello.cpp -o cxx-static $(pkg-config --static --cflags --libs vfs)
for program in c-static cxx-static; do
  [ "$(./$program)" = 'hello, world' ] || fail "$program"
done
echo "cargo cinstall: $soname of $version, 2 headers, $(echo "$declared" | wc -l) functions, 4 programs"
