//! `cargo xtask test`: everything that a test needs, then all tests.

use std::ffi::OsString;

use anyhow::Result;

use crate::workspace::Workspace;
use crate::{packages, plugins, process, wasm_std};

/// Builds the plugins and the binary, and runs the tests of every workspace.
///
/// `arguments` go to `cargo test` of the runtime's workspace; with any, that is
/// all that runs, because they choose tests there.
pub(crate) fn test(workspace: &Workspace, arguments: &[OsString]) -> Result<()> {
    packages::ensure(&[packages::BUILD, packages::TESTS])?;
    binary(workspace)?;
    let mut cargo = workspace.cargo();
    cargo.args(["test", "--workspace", "--locked", "--no-fail-fast"]).args(arguments);
    // The host's tests build guests of their own.
    wasm_std::ensure(workspace)?.configure(&mut cargo);
    process::run(workspace.embedding(&mut cargo))?;
    if arguments.is_empty() {
        plugin_tests(workspace)?;
    }
    Ok(())
}

/// Builds the plugins, and the binary of the development profile with them in it.
///
/// The tests are built in the same call: cargo chooses features for all that
/// one call builds, and a second choice would compile the dependencies twice.
pub(crate) fn binary(workspace: &Workspace) -> Result<()> {
    println!("Building the plugins");
    plugins::build(workspace)?;
    println!("Building the binary with the plugins embedded");
    let mut cargo = workspace.cargo();
    cargo.args(["build", "--workspace", "--bins", "--tests", "--locked"]);
    process::run(workspace.embedding(&mut cargo))
}

/// The plugins' own tests, which run natively with the SDK's test kit.
fn plugin_tests(workspace: &Workspace) -> Result<()> {
    println!("Testing the plugins natively");
    let mut cargo = workspace.guest_cargo(&workspace.root().join("plugins"));
    process::run(cargo.args(["test", "--workspace", "--locked", "--no-fail-fast"]))
}
