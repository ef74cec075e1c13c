//! `cargo xtask dist`: one release binary with the plugins in it.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::workspace::Workspace;
use crate::{packages, plugins, process};

/// Builds the binary and returns its path.
pub(crate) fn dist(workspace: &Workspace) -> Result<PathBuf> {
    packages::ensure()?;
    println!("Building the plugins");
    plugins::build(workspace)?;
    println!("Building the binary");
    let mut cargo = workspace.cargo();
    cargo.args(["build", "--release", "--locked", "--package", "tidelock-cli", "--bin", "tidelock"]);
    process::run(workspace.embedding(&mut cargo))?;

    let folder = workspace.target().join("dist");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let binary = folder.join("tidelock");
    fs::copy(workspace.target().join("release/tidelock"), &binary).context("cannot copy the binary")?;
    let size = fs::metadata(&binary)?.len();
    println!("{}  {:.1} MiB", binary.display(), size as f64 / f64::from(1 << 20));
    Ok(binary)
}
