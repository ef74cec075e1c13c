//! The standard library for `wasm32-unknown-unknown`, the target of every guest.
//!
//! For most people rustup has installed it already, because
//! `rust-toolchain.toml` asks for it. On machines where rustup cannot fetch
//! anything, it is built from the sources of the very same compiler version:
//! those of the toolchain if it has them, else those of Debian's `rust-src`.
//!
//! ```text
//! toolchain  which compiler is this, and what has it got?
//! source     where are the library's sources?
//! compile    sources -> rlibs
//! install    rlibs -> the toolchain, or a private folder if that is read-only
//! ```
//!
//! This module never calls rustup: which toolchains a machine has is its
//! owner's business.

mod compile;
mod install;
mod source;
mod toolchain;

use std::fmt;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use self::toolchain::Toolchain;
use crate::workspace::Workspace;

/// The target that guests are built for.
pub(crate) const TARGET: &str = "wasm32-unknown-unknown";

/// A standard library for [`TARGET`] that is known to be there.
pub(crate) enum WasmStd {
    /// Part of the toolchain: plain `cargo build --target` finds it.
    InToolchain(PathBuf),
    /// In a folder of ours, laid out as a sysroot, which cargo must be told of.
    Private(PathBuf),
}

impl WasmStd {
    /// Makes a cargo command find the library.
    pub(crate) fn configure(&self, cargo: &mut Command) {
        if let Self::Private(sysroot) = self {
            let flags = format!("--sysroot={}", sysroot.display());
            cargo.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS", flags);
        }
    }
}

impl fmt::Display for WasmStd {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InToolchain(folder) => write!(out, "std for {TARGET}: {}", folder.display()),
            Self::Private(sysroot) => write!(
                out,
                "std for {TARGET}: private, as the toolchain is read-only; to use it without xtask:\n  \
                 export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS=--sysroot={}",
                sysroot.display()
            ),
        }
    }
}

/// Finds the library, or builds and installs it.
///
/// Repeating this costs nothing; two at once do not disturb each other.
pub(crate) fn ensure(workspace: &Workspace) -> Result<WasmStd> {
    let toolchain = Toolchain::active()?;
    let private = workspace.target().join("sysroot").join(&toolchain.release);
    if install::is_complete(&toolchain.sysroot, &toolchain) {
        return Ok(WasmStd::InToolchain(install::library_folder(&toolchain.sysroot)));
    }
    if install::is_complete(&private, &toolchain) {
        return Ok(WasmStd::Private(private));
    }

    println!("The toolchain has no std for {TARGET}; building it from source.");
    build(&toolchain, private).with_context(|| {
        format!(
            "rustc {} has no std for {TARGET} and it cannot be built here; run `rustup target add {TARGET}`",
            toolchain.release
        )
    })
}

fn build(toolchain: &Toolchain, private: PathBuf) -> Result<WasmStd> {
    let staging = tempfile::Builder::new().prefix("wasm-std-").tempdir().context("cannot make a temporary folder")?;
    let source = source::find(toolchain, staging.path())?;
    let rlibs = compile::compile(toolchain, &source, staging.path())?;
    match install::install(&rlibs, &toolchain.sysroot, toolchain) {
        Ok(()) => Ok(WasmStd::InToolchain(install::library_folder(&toolchain.sysroot))),
        Err(refused) => {
            println!("The toolchain takes no additions ({refused:#}); keeping the library in {}.", private.display());
            install::install(&rlibs, &private, toolchain)?;
            Ok(WasmStd::Private(private))
        }
    }
}
