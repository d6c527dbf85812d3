//! Link arguments of the shared library, and nothing else.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let os = std::env::var("CARGO_CFG_TARGET_OS").unwrap_or_default();
    if !matches!(os.as_str(), "linux" | "android" | "freebsd" | "netbsd" | "openbsd" | "dragonfly") {
        return; // not ELF, or not a linker that we know
    }
    // The number rises when the ABI breaks, which it does not.
    println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libvfs.so.0");
    // Unmapped after `dlclose`, a Rust library whose thread-locals were touched crashes the host when that thread ends.
    println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
    // A host's own symbol of the same name must not catch our inner calls.
    println!("cargo::rustc-cdylib-link-arg=-Wl,-Bsymbolic-functions");
}
