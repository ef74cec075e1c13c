//! Where this repository keeps its sources and its build results.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

/// The repository that this program was built from.
pub(crate) struct Workspace {
    root: PathBuf,
    target: PathBuf,
}

impl Workspace {
    /// Finds the repository by the place of this crate, and the target
    /// directory as cargo does.
    pub(crate) fn locate() -> Result<Self> {
        let crate_folder = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = crate_folder.parent().context("the xtask crate has no parent folder")?.to_path_buf();
        let target = match std::env::var_os("CARGO_TARGET_DIR") {
            Some(chosen) => std::path::absolute(chosen).context("CARGO_TARGET_DIR is not a usable path")?,
            None => root.join("target"),
        };
        Ok(Self { root, target })
    }

    /// The repository's root folder.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Cargo's target directory of the runtime's workspace.
    pub(crate) fn target(&self) -> &Path {
        &self.target
    }

    /// Where the finished first-party components are.
    pub(crate) fn components(&self) -> PathBuf {
        self.target.join("plugins")
    }

    /// Cargo's target directory of all guest workspaces: one, so that what
    /// they have in common is compiled once.
    pub(crate) fn guest_target(&self) -> PathBuf {
        self.target.join("guests")
    }

    /// A call of the cargo that runs this program, in the repository's root.
    pub(crate) fn cargo(&self) -> Command {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.current_dir(&self.root);
        cargo
    }

    /// A call of a nightly cargo, which exists only where rustup has one.
    pub(crate) fn nightly(&self) -> Command {
        let mut cargo = Command::new("cargo");
        // Set by rustup for us, and stronger than the `+nightly` below.
        cargo.env_remove("RUSTUP_TOOLCHAIN").env_remove("CARGO").env_remove("RUSTC");
        cargo.current_dir(&self.root).arg("+nightly");
        cargo
    }

    /// A call of cargo in a guest workspace.
    pub(crate) fn guest_cargo(&self, folder: &Path) -> Command {
        let mut cargo = self.cargo();
        cargo.current_dir(folder).env("CARGO_TARGET_DIR", self.guest_target());
        cargo
    }

    /// Makes a build of the binary take up the finished components.
    ///
    /// Every build of the runtime goes through here, so that none makes the
    /// binary of another stale.
    pub(crate) fn embedding<'c>(&self, cargo: &'c mut Command) -> &'c mut Command {
        cargo.env("TIDELOCK_EMBED", self.components())
    }
}
