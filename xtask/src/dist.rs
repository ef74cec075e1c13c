//! `cargo xtask dist`: one release binary with the plugins in it, used once before it is
//! called good.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use tidelock_tests::environment::hermetic;

use crate::workspace::Workspace;
use crate::{packages, plugins, process};

/// How the binary is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Profile {
    /// For use.
    Release,
    /// As the tests build it: to see that the whole way works, without waiting.
    Dev,
}

/// Builds the binary and returns its path.
pub(crate) fn dist(workspace: &Workspace, profile: Profile) -> Result<PathBuf> {
    packages::ensure(&[packages::BUILD])?;
    println!("Building the plugins");
    plugins::build(workspace)?;
    println!("Building the binary");
    let mut cargo = workspace.cargo();
    let built = match profile {
        Profile::Release => {
            cargo.args(["build", "--release", "--locked", "--package", "tidelock-cli", "--bin", "tidelock"]);
            "release/tidelock"
        }
        // With the tests, as `xtask test` does: another choice of features would build all anew.
        Profile::Dev => {
            cargo.args(["build", "--workspace", "--bins", "--tests", "--locked"]);
            "debug/tidelock"
        }
    };
    process::run(workspace.embedding(&mut cargo))?;

    let folder = workspace.target().join("dist");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let binary = folder.join("tidelock");
    fs::copy(workspace.target().join(built), &binary).context("cannot copy the binary")?;
    smoke(&binary)?;
    let size = fs::metadata(&binary)?.len();
    println!("{}  {:.1} MiB", binary.display(), size as f64 / f64::from(1 << 20));
    Ok(binary)
}

/// Uses the binary as somebody does who has nothing but it: away from this repository,
/// with no home to write to, from an empty folder to a machine that is as Git says.
fn smoke(binary: &Path) -> Result<()> {
    let folder = tempfile::Builder::new().prefix("tidelock-dist-").tempdir()?;
    let away = folder.path().join("tidelock");
    fs::copy(binary, &away).context("cannot copy the binary")?;
    let run = |within: &Path, arguments: &[&str]| {
        let mut command = Command::new(&away);
        hermetic(&mut command, Path::new("/dev/null")).current_dir(within).args(arguments);
        process::read(&mut command)
    };
    run(folder.path(), &["init", "site"])?;
    let site = folder.path().join("site");
    run(&site, &["apply", "--yes"])?;
    run(&site, &["plan", "--detailed-exitcode"])?;
    ensure!(site.join("machine/etc/motd").is_file(), "the binary applied, and nothing is there");
    Ok(())
}
