//! Compiling the standard library from its sources.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::TARGET;
use super::toolchain::Toolchain;
use crate::process;

/// Builds the library below `staging`, and returns its rlibs.
///
/// Cargo looks for the sources in the compiler's sysroot. They are shown to it
/// in a sysroot of our own, made of links, so that the real one is touched only
/// by the finished result.
pub(super) fn compile(toolchain: &Toolchain, source: &Path, staging: &Path) -> Result<Vec<PathBuf>> {
    let rustc = disguise(toolchain, source, staging)?;
    let guest = empty_crate(staging)?;
    let target = staging.join("target");

    println!("  compiling (about half a minute)");
    let mut cargo = std::process::Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(&guest).args(["build", "--quiet", "--release", "--target", TARGET]);
    cargo.args(["-Zbuild-std=std,panic_abort,test"]);
    // The flag above is for nightly compilers; with the sources of this very
    // version it works as well with a stable one.
    cargo.env("RUSTC_BOOTSTRAP", "1").env("RUSTC", &rustc).env("CARGO_TARGET_DIR", &target);
    // As in the library that rustup ships: guests that use link-time
    // optimisation need the bitcode.
    cargo.env("RUSTFLAGS", "-Cembed-bitcode=yes");
    for inherited in ["CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_TARGET", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER"] {
        cargo.env_remove(inherited);
    }
    process::read(&mut cargo).context("the standard library does not compile")?;
    rlibs(&target.join(TARGET).join("release/deps"))
}

/// A compiler that names our sysroot as its own.
fn disguise(toolchain: &Toolchain, source: &Path, staging: &Path) -> Result<PathBuf> {
    let sysroot = staging.join("sysroot");
    let rustlib = sysroot.join("lib/rustlib");
    fs::create_dir_all(rustlib.join("src"))?;
    symlink(source, rustlib.join("src/rust"))?;
    symlink(toolchain.sysroot.join("lib/rustlib").join(&toolchain.host), rustlib.join(&toolchain.host))?;

    let wrapper = staging.join("rustc");
    let script =
        format!("#!/bin/sh\nexec '{}' \"$@\" --sysroot '{}'\n", toolchain.rustc.to_string_lossy(), sysroot.display());
    fs::write(&wrapper, script)?;
    fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755))?;
    Ok(wrapper)
}

/// A crate that needs the library and nothing else.
fn empty_crate(staging: &Path) -> Result<PathBuf> {
    let folder = staging.join("guest");
    fs::create_dir_all(folder.join("src"))?;
    let manifest = "[package]\nname = \"guest\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[workspace]\n\n\
                    [profile.release]\ndebug = false\n";
    fs::write(folder.join("Cargo.toml"), manifest)?;
    fs::write(folder.join("src/lib.rs"), "//! Nothing.\n")?;
    Ok(folder)
}

/// What was built, but for the empty crate itself.
fn rlibs(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.ends_with(".rlib") && !name.starts_with("libguest") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}
