//! `cargo xtask fuzz`: the targets of `tests/fuzz`, with libFuzzer where a nightly
//! compiler and cargo-fuzz are, else the same bodies under proptest.

use std::fs;

use anyhow::{Context, Result};

use crate::process;
use crate::workspace::Workspace;

/// How long to fuzz.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Seconds for each target
    #[arg(long, default_value_t = 30)]
    seconds: u32,
}

/// Cases of proptest for a second of libFuzzer: about as many as it manages.
const CASES_PER_SECOND: u32 = 1_000;

/// Runs every target.
pub(crate) fn fuzz(workspace: &Workspace, options: &Options) -> Result<()> {
    if has_cargo_fuzz(workspace) {
        println!("Fuzzing with libFuzzer, {} s for each target.", options.seconds);
        with_libfuzzer(workspace, options.seconds)
    } else {
        println!("No nightly compiler with cargo-fuzz: running the same targets under proptest.");
        let cases = options.seconds.saturating_mul(CASES_PER_SECOND).to_string();
        let mut cargo = workspace.cargo();
        cargo.args(["test", "--locked", "--package", "tidelock-tests", "--test", "fuzz_bodies"]);
        process::run(workspace.embedding(&mut cargo).env("PROPTEST_CASES", cases))
    }
}

fn has_cargo_fuzz(workspace: &Workspace) -> bool {
    process::exists("cargo-fuzz") && process::read(workspace.nightly().arg("--version")).is_ok()
}

fn with_libfuzzer(workspace: &Workspace, seconds: u32) -> Result<()> {
    let folder = workspace.root().join("tests/fuzz/targets");
    let listing = fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))?;
    let mut targets: Vec<String> =
        listing.filter_map(|entry| entry.ok()?.path().file_stem()?.to_str().map(str::to_owned)).collect();
    targets.sort();
    for target in targets {
        println!("\n==> {target}");
        let seeds = workspace.root().join("tests/fuzz/seeds").join(&target);
        // What the fuzzer finds worth keeping is not for the seeds in Git.
        let corpus = workspace.target().join("fuzz-corpus").join(&target);
        fs::create_dir_all(&corpus)?;
        let mut cargo = workspace.nightly();
        cargo.args(["fuzz", "run", "--fuzz-dir", "tests/fuzz", &target]).arg(&corpus).arg(&seeds);
        process::run(cargo.args(["--", &format!("-max_total_time={seconds}")]))?;
    }
    Ok(())
}
