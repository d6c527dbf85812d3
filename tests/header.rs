//! `include/vfs.h` is what `src/ffi` says, and any C or C++ compiler and cffi can read it.
//! `VFS_BLESS_HEADER=1 cargo test --test header` writes it anew.
#![cfg(feature = "capi")]
mod common;
use std::ffi::CStr;
use std::mem::offset_of;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use vfs::ffi::*;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
/// In the order of the header.
const SOURCES: [&str; 8] = ["types", "open", "blob", "view", "writer", "list", "tiers", "text"];

/// The longest line of the header.
const WIDTH: usize = 100;

const C: [&str; 3] = ["c99", "c11", "c17"];
const CXX: [&str; 3] = ["c++11", "c++17", "c++20"];
const STRICT: [&str; 5] = ["-fsyntax-only", "-Wall", "-Wextra", "-Wpedantic", "-Werror"];

fn generate() -> String {
    let mut config = cbindgen::Config::from_root_or_default(ROOT);
    let initialisers = config.after_includes.take().expect("cbindgen.toml has after_includes");
    let (major, minor, patch) =
        (env!("CARGO_PKG_VERSION_MAJOR"), env!("CARGO_PKG_VERSION_MINOR"), env!("CARGO_PKG_VERSION_PATCH"));
    config.after_includes = Some(format!(
        "\n/** The version of this header; vfs_version tells that of the library. */\n\
         #define VFS_VERSION_MAJOR {major}\n\
         #define VFS_VERSION_MINOR {minor}\n\
         #define VFS_VERSION_PATCH {patch}\n\
         #define VFS_VERSION \"{}\"\n{}",
        env!("CARGO_PKG_VERSION"),
        initialisers.trim_end(),
    ));
    let mut builder = cbindgen::Builder::new().with_config(config);
    for source in SOURCES {
        builder = builder.with_src(format!("{ROOT}/src/ffi/{source}.rs"));
    }
    let mut header = Vec::new();
    builder.generate().expect("cbindgen reads src/ffi").write(&mut header);
    tidy(&String::from_utf8(header).unwrap())
}

/// What cbindgen has no setting for: short comments on one line, plain type names in signatures, no
/// empty line after another.
fn tidy(header: &str) -> String {
    let mut tidy: Vec<String> = Vec::new();
    let mut lines = header.lines().peekable();
    while let Some(line) = lines.next() {
        let indent = &line[..line.len() - line.trim_start().len()];
        if line.trim_start() == "/**" {
            let text = lines.next().unwrap();
            let short = format!("{indent}/** {} */", text.trim().trim_start_matches("* "));
            if lines.peek().is_some_and(|next| next.trim() == "*/") && short.len() <= WIDTH {
                lines.next();
                tidy.push(short);
            } else {
                tidy.extend([line.into(), text.into()]);
            }
        } else if line.starts_with("typedef") || line.starts_with(" *") {
            tidy.push(line.into());
        } else if !(line.is_empty() && tidy.last().is_none_or(String::is_empty)) {
            tidy.push(line.replace("struct vfs_", "vfs_").replace("// __cplusplus", "/* __cplusplus */"));
        }
    }
    tidy.join("\n") + "\n"
}

#[test]
fn the_committed_header_is_the_generated_one() {
    let path = format!("{ROOT}/include/vfs.h");
    let want = generate();
    if std::env::var_os("VFS_BLESS_HEADER").is_some_and(|v| v == "1") {
        std::fs::write(&path, &want).unwrap();
    }
    let have = std::fs::read_to_string(&path).unwrap_or_default();
    if have != want {
        let line = have.lines().zip(want.lines()).take_while(|(a, b)| a == b).count();
        panic!(
            "include/vfs.h differs from src/ffi from line {} on:\n  is     {:?}\n  should {:?}\n\
             write it anew with: VFS_BLESS_HEADER=1 cargo test --test header",
            line + 1,
            have.lines().nth(line),
            want.lines().nth(line),
        );
    }
}

/// Runs a compiler on source text from standard input, and fails with what it says.
fn compile(compiler: &str, language: &str, arguments: &[&str], source: &str) -> String {
    use std::io::Write;
    let mut command = Command::new(compiler);
    command.args(arguments).args(["-x", language, "-"]);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("this test needs the compiler `{compiler}` of the system: {e}"));
    child.stdin.take().unwrap().write_all(source.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(
        output.status.success(),
        "{compiler} {arguments:?} refuses:\n{}\n{source}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// Compiles under every standard with everything strict, and with `more` for C.
fn compile_everywhere(source: &str, more: &[&str], more_for_c: &[&str]) {
    let include = format!("-I{ROOT}/include");
    for (compiler, language, standards, extra) in [("cc", "c", C, more_for_c), ("c++", "c++", CXX, &[][..])] {
        for standard in standards {
            let standard = format!("-std={standard}");
            let arguments = [&STRICT[..], more, extra, &[&standard, &include]].concat();
            compile(compiler, language, &arguments, source);
        }
    }
}

#[test]
fn the_header_compiles_alone_and_twice_in_c_and_cxx() {
    compile_everywhere("#include <vfs.h>\n", &[], &["-Wstrict-prototypes", "-Wc++-compat"]);
    compile_everywhere("#include <vfs.h>\n#include \"vfs.h\"\nint main(void) { return VFS_OK; }\n", &[], &[]);
}

#[test]
fn the_cxx_header_compiles_alone_and_twice_and_leaves_no_macro() {
    let (include, more) =
        (format!("-I{ROOT}/include"), ["-Wshadow", "-Wconversion", "-Wsign-conversion", "-Wold-style-cast"]);
    for standard in ["-std=c++17", "-std=c++20", "-std=c++23"] {
        let arguments = [&STRICT[..], &more, &[standard, &include]].concat();
        compile("c++", "c++", &arguments, "#include <vfs.hpp>\n");
        let twice = "#include <vfs.hpp>\n#include \"vfs.hpp\"\nint main() { return vfs::Outcome() ? 0 : 1; }\n";
        compile("c++", "c++", &[&arguments[..], &["-fno-exceptions", "-fno-rtti"]].concat(), twice);
    }
    let macros = |header: &str| -> Vec<String> {
        let all = compile("c++", "c++", &["-std=c++17", "-E", "-dM", &include], &format!("#include <{header}>\n"));
        all.lines().filter(|l| l.starts_with("#define VFS_")).map(str::to_string).collect()
    };
    let (mut left, c) = (macros("vfs.hpp"), macros("vfs.h"));
    left.retain(|line| !c.contains(line));
    assert_eq!(left, ["#define VFS_HPP "]);
}

#[test]
fn initialisers_and_constants_serve_in_c_and_cxx() {
    let source = std::fs::read_to_string(format!("{ROOT}/tests/c/header_init.c")).unwrap();
    compile_everywhere(
        &source,
        &["-Wmissing-field-initializers", "-Wconversion", "-Wsign-conversion"],
        &["-Wc++-compat"],
    );
}

#[test]
fn structs_lie_in_c_as_they_do_in_rust() {
    let mut source = String::from("#include <stddef.h>\n#include <vfs.h>\n");
    macro_rules! same {
        ($($name:ident { $($field:ident),+ })+) => {$(
            source += &format!("_Static_assert(sizeof({0}) == {1}, \"{0}\");\n", stringify!($name), size_of::<$name>());
            source += &format!("_Static_assert(_Alignof({0}) == {1}, \"{0}\");\n", stringify!($name), align_of::<$name>());
            $(source += &format!(
                "_Static_assert(offsetof({0}, {1}) == {2}, \"{0}.{1}\");\n",
                stringify!($name), stringify!($field), offset_of!($name, $field)
            );)+
        )+};
    }
    same! {
        vfs_options_t { struct_size, flags, name, tiers, log, log_user }
        vfs_stat_t { struct_size, flags, size, stored_at_ns, id, tier, reserved }
        vfs_view_t { data, len, owner }
        vfs_tier_stat_t {
            struct_size, flags, kind, last_errno, dir, blobs, bytes, stored, refused,
            free_bytes, total_bytes, free_inodes, total_inodes
        }
    }
    compile("cc", "c", &[&STRICT[..], &["-std=c11", &format!("-I{ROOT}/include")]].concat(), &source);
}

#[test]
fn the_version_of_the_header_is_that_of_the_library() {
    // SAFETY: static text.
    let version = unsafe { CStr::from_ptr(vfs_version()) }.to_str().unwrap();
    let source = "#include <vfs.h>\nVFS_VERSION_MAJOR VFS_VERSION_MINOR VFS_VERSION_PATCH VFS_VERSION\n";
    let text = compile("cc", "c", &["-E", "-P", &format!("-I{ROOT}/include")], source);
    let words: Vec<_> = text.lines().last().unwrap().split_whitespace().collect();
    assert_eq!(words[..3].join("."), version.split('-').next().unwrap());
    assert_eq!(words[3], format!("\"{version}\""));
}

/// The header after the preprocessor, the system's part included.
fn preprocessed() -> String {
    compile("cc", "c", &["-E", "-P", &format!("-I{ROOT}/include")], "#include \"vfs.h\"\n")
}

#[test]
fn cffi_reads_the_header_after_the_preprocessor() {
    let declarations = preprocessed();
    assert!(!declarations.contains('#'), "a directive is left:\n{declarations}");
    for constant in ["VFS_OK = 0", "VFS_ERR_PANIC = -99", "VFS_REPLACE = 1", "VFS_TIER_MEMORY = 3", "VFS_LOG_INFO = 3"]
    {
        assert!(declarations.contains(constant), "{constant} is no enumerator");
    }
    match Command::new("python3").args(["-c", "import cffi"]).stderr(Stdio::null()).status() {
        Ok(status) if status.success() => {}
        _ => return common::skip("python3 with cffi is not there"),
    }
    let script = "import cffi, sys\n\
        ffi = cffi.FFI()\n\
        ffi.cdef(sys.stdin.read())\n\
        assert ffi.sizeof('vfs_stat_t') == int(sys.argv[1])\n\
        ffi.typeof('vfs_tier_stat_t'), ffi.typeof('vfs_view_t'), ffi.typeof('vfs_options_t')\n";
    let mut child = Command::new("python3")
        .args(["-c", script, &size_of::<vfs_stat_t>().to_string()])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), declarations.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
}

/// What a reader of the header needs to hear of each function.
#[test]
fn every_function_tells_its_threads_its_fork_and_its_age() {
    let header = generate();
    let functions = header.split("extern \"C\" {").nth(1).unwrap();
    let mut seen = 0;
    for part in functions.split("/**").skip(1) {
        let (doc, declaration) = part.split_once("*/").unwrap();
        let declaration = declaration.trim().split(';').next().unwrap();
        for word in ["Threads: ", "Fork: ", "Since: "] {
            assert!(doc.contains(word), "{declaration} does not say {word:?}");
        }
        if declaration.starts_with("vfs_status_t") {
            for word in ["VFS_OK: ", "VFS_ERR_INVALID: ", "VFS_ERR_PANIC: "] {
                assert!(doc.contains(word), "{declaration} does not say {word:?}");
            }
        }
        seen += 1;
    }
    assert_eq!(seen, 25);
    let wide: Vec<_> = header.lines().filter(|line| line.chars().count() > WIDTH).collect();
    assert!(wide.is_empty(), "{wide:#?}");
}

#[test]
fn the_list_of_sources_misses_none() {
    let exporting = |path: &PathBuf| std::fs::read_to_string(path).unwrap().contains("#[unsafe(no_mangle)]");
    let mut files: Vec<_> =
        Path::new(&format!("{ROOT}/src/ffi")).read_dir().unwrap().map(|e| e.unwrap().path()).collect();
    files.retain(exporting);
    for file in &files {
        let name = file.file_stem().unwrap().to_str().unwrap();
        assert!(SOURCES.contains(&name), "{name} exports functions but is not in the header");
    }
    assert!(!files.is_empty());
}
