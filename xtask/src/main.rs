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

mod bench;
mod check;
mod demo;
mod dependencies;
mod dist;
mod fuzz;
mod packages;
mod plugins;
mod process;
mod soak;
mod test;
mod wasm_std;
mod workspace;

use std::ffi::OsString;
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
    /// Build everything and watch Tidelock do its job, in a throw-away folder
    Demo(demo::Options),
    /// Make sure that the standard library for WebAssembly is there
    WasmStd,
    /// Build the first-party plugins into target/plugins/*.wasm, or plugins of your own
    Plugins(plugins::Options),
    /// Build everything and run all tests
    Test {
        /// For `cargo test` of the runtime's workspace, such as `-p tidelock-plan` or `-- NAME`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Check formatting, lints, documentation and dependencies
    Check {
        /// Fail where security advisories cannot be looked up
        #[arg(long)]
        advisories: bool,
    },
    /// Build one release binary with the plugins in it, and use it once
    Dist {
        /// How it is built
        #[arg(long, value_enum, default_value_t = dist::Profile::Release)]
        profile: dist::Profile,
    },
    /// Run the long forms of tests that `test` runs short: kills by the hundred, and a soak
    Soak(soak::Options),
    /// Print figures, as ratios within one run
    Bench(bench::Options),
    /// Fuzz what is read from others
    Fuzz(fuzz::Options),
    /// What the build server runs: `test`, then `check`
    Ci,
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
        Task::Demo(options) => demo::demo(&workspace, &options),
        Task::WasmStd => wasm_std::ensure(&workspace).map(|std| println!("{std}")),
        Task::Plugins(options) => plugins::run(&workspace, &options),
        Task::Test { arguments } => test::test(&workspace, &arguments),
        Task::Dist { profile } => dist::dist(&workspace, profile).map(drop),
        Task::Soak(options) => soak::soak(&workspace, &options),
        Task::Bench(options) => bench::bench(&workspace, &options),
        Task::Fuzz(options) => fuzz::fuzz(&workspace, &options),
        Task::Check { advisories } => check::check(&workspace, advisories),
        Task::Ci => check::ci(&workspace),
    }
}
