//! Automation of this repository: `cargo xtask <task>`.
//!
//! Everything that a newcomer, a developer and the build server need beyond
//! plain cargo is a task here, in Rust, so that nobody has to own a second
//! toolbox. A task says what it does in a line, does it, and leaves its results
//! under the target directory. Nothing of the product may live here: the
//! runtime does not know that this crate exists.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "telling a person what happens is this program's purpose"
)]

mod plugins;
mod process;
mod wasm_std;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::workspace::Workspace;

/// The automation of this repository.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Make sure that the standard library for WebAssembly is there
    WasmStd,
    /// Build the first-party plugins into target/plugins/*.wasm
    Plugins,
}

fn main() -> ExitCode {
    match run(Arguments::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<()> {
    let workspace = Workspace::locate()?;
    match task {
        Task::WasmStd => wasm_std::ensure(&workspace).map(|std| println!("{std}")),
        Task::Plugins => plugins::build(&workspace).map(drop),
    }
}
