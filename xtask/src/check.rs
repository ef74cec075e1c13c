//! `cargo xtask check`: everything about the code but its tests.
//!
//! `cargo xtask ci` is the tests and these checks, one after the other, with
//! the time that each took.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::workspace::Workspace;
use crate::{dependencies, process, test, wasm_std};

/// What `.ci/run` runs.
pub(crate) fn ci(workspace: &Workspace) -> Result<()> {
    step("test", || test::test(workspace, &[]))?;
    check(workspace, false)
}

/// Formatting, lints, documentation, dependencies. With `advisories` it is an error where
/// those of the dependencies cannot be looked up.
pub(crate) fn check(workspace: &Workspace, advisories: bool) -> Result<()> {
    step("lock files", || lock_files(workspace))?;
    step("format", || format(workspace))?;
    step("lints", || lints(workspace))?;
    step("documentation", || documentation(workspace))?;
    let unchecked = step("dependencies", || dependencies::check(workspace))?;
    match unchecked {
        None => println!("\nAll checks passed, security advisories among them."),
        Some(why) if advisories => bail!("security advisories and yanked versions could not be checked: {why}"),
        Some(why) => {
            println!("\nAll checks passed, but SECURITY ADVISORIES AND YANKED VERSIONS WERE NOT CHECKED: {why}.");
            println!("`cargo xtask check --advisories` fails where they cannot be.");
        }
    }
    Ok(())
}

/// Runs a named step and says how long it took.
fn step<T>(name: &str, action: impl FnOnce() -> Result<T>) -> Result<T> {
    println!("\n==> {name}");
    let start = Instant::now();
    let answer = action().with_context(|| format!("step `{name}`"))?;
    println!("==> {name}: ok ({} s)", start.elapsed().as_secs());
    Ok(answer)
}

/// The workspaces of this repository that exist, the runtime's first.
fn workspaces(workspace: &Workspace) -> Vec<PathBuf> {
    ["", "plugins", "tests/guests", "tests/fuzz"]
        .map(|folder| workspace.root().join(folder))
        .into_iter()
        .filter(|folder| folder.join("Cargo.toml").is_file())
        .collect()
}

fn lock_files(workspace: &Workspace) -> Result<()> {
    for folder in workspaces(workspace) {
        process::read(workspace.cargo().current_dir(&folder).args(["metadata", "--locked", "--format-version=1"]))
            .with_context(|| format!("the lock file of {} is out of date", folder.display()))?;
    }
    Ok(())
}

fn format(workspace: &Workspace) -> Result<()> {
    for folder in workspaces(workspace) {
        process::run(workspace.cargo().current_dir(&folder).args(["fmt", "--all", "--check"]))?;
    }
    Ok(())
}

fn lints(workspace: &Workspace) -> Result<()> {
    let clippy = ["clippy", "--workspace", "--locked"];
    let strict = ["--", "-D", "warnings"];
    let mut runtime = workspace.cargo();
    process::run(workspace.embedding(&mut runtime).args(clippy).arg("--all-targets").args(strict))?;

    let std = wasm_std::ensure(workspace)?;
    for guests in workspaces(workspace).iter().filter(|folder| !folder.ends_with("fuzz")).skip(1) {
        // The plugins' tests run natively; the tests' guests know one machine only.
        if guests.ends_with("plugins") {
            let mut native = workspace.guest_cargo(guests);
            process::run(native.args(clippy).arg("--all-targets").args(strict))?;
        }
        let mut wasm = workspace.guest_cargo(guests);
        std.configure(&mut wasm);
        process::run(wasm.args(clippy).args(["--target", wasm_std::TARGET]).args(strict))?;
    }
    Ok(())
}

fn documentation(workspace: &Workspace) -> Result<()> {
    let mut cargo = workspace.cargo();
    cargo.args(["doc", "--workspace", "--no-deps", "--locked"]).env("RUSTDOCFLAGS", "-D warnings");
    process::run(workspace.embedding(&mut cargo))
}
