#!/bin/sh
# Prints vfs.h for Doxygen: its head as the page of the file, with headings and the example in Markdown; each macro of a
# group with a word of its own; and a first page.
sed -E '1s|.*|/** @file|; 1,/\*\//{
  s|^ \* ([A-Z]{4,})$| * # \1|
  s|^ \*   (vfs_t \*.*\|if .*\|vfs_close.*)$| *     \1|
}
s|^#define __need_.*||
s|^#define VFS_VERSION(_MINOR\|_PATCH\|) .*|& /**< See VFS_VERSION_MAJOR. */|
s|^#define VFS_(TIER_)?STAT_INIT .*|& /**< See VFS_OPTIONS_INIT. */|' "$1"
echo '/** @mainpage
 * - vfs.h is the C ABI: what no library can promise, the conventions, and each function.
 * - vfs.hpp is the same for C++17 and later. */'
