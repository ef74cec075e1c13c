//! The compiler that builds this repository, as it describes itself.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::process;

/// A Rust toolchain.
pub(super) struct Toolchain {
    /// The compiler to call.
    pub(super) rustc: OsString,
    /// What `rustc -vV` says: the identity of a build of the compiler.
    pub(super) identity: String,
    /// For example `1.95.0`.
    pub(super) release: String,
    /// For example `x86_64-unknown-linux-gnu`.
    pub(super) host: String,
    /// The folder that holds the compiler and its libraries.
    pub(super) sysroot: PathBuf,
}

impl Toolchain {
    /// The toolchain that cargo uses in this repository.
    pub(super) fn active() -> Result<Self> {
        let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let identity = process::read(Command::new(&rustc).arg("-vV"))?;
        let sysroot = process::read(Command::new(&rustc).args(["--print", "sysroot"]))?;
        Ok(Self {
            release: field(&identity, "release")?,
            host: field(&identity, "host")?,
            sysroot: PathBuf::from(sysroot.trim_end()),
            rustc,
            identity,
        })
    }
}

/// One `name: value` line of the compiler's description.
fn field(identity: &str, name: &str) -> Result<String> {
    identity
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
        .map(str::to_owned)
        .with_context(|| format!("`rustc -vV` names no {name}:\n{identity}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_description_is_read_by_field() {
        let text = "rustc 1.95.0 (59807616e 2026-04-14)\nhost: x86_64-unknown-linux-gnu\nrelease: 1.95.0\n";
        assert_eq!(field(text, "release").unwrap(), "1.95.0");
        assert_eq!(field(text, "host").unwrap(), "x86_64-unknown-linux-gnu");
        assert!(field(text, "LLVM version").unwrap_err().to_string().contains("LLVM version"));
    }
}
