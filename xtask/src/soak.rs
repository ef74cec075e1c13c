//! `cargo xtask soak`: the long forms of tests that `cargo xtask test` runs short.

use anyhow::Result;

use crate::workspace::Workspace;
use crate::{process, test, wasm_std};

/// How long.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// How often the daemon is killed at a random moment
    #[arg(long, default_value_t = 300)]
    kills: u64,
    /// How long it is left alone with commits and drift, in seconds
    #[arg(long, default_value_t = 1_200)]
    seconds: u64,
    /// How often Tidelock or its database server is killed in the middle of an apply
    #[arg(long, default_value_t = 40)]
    database_kills: u64,
    /// How often four writers apply at once to one database server
    #[arg(long, default_value_t = 100)]
    writers: u64,
    /// Runs the same random moments again
    #[arg(long)]
    seed: Option<u64>,
}

/// Runs them, one after the other, and prints what they count.
pub(crate) fn soak(workspace: &Workspace, options: &Options) -> Result<()> {
    test::binary(workspace)?;
    let mut cargo = workspace.cargo();
    cargo.args(["test", "--workspace", "--locked"]);
    cargo
        .args(["soak", "mysql_killed", "postgres_killed", "postgres_writers"].iter().flat_map(|test| ["--test", test]));
    cargo.args(["--", "--nocapture", "--test-threads=1"]);
    cargo.env("TIDELOCK_SOAK_DATABASE_KILLS", options.database_kills.to_string());
    cargo.env("TIDELOCK_SOAK_WRITERS", options.writers.to_string());
    cargo.env("TIDELOCK_SOAK_KILLS", options.kills.to_string());
    cargo.env("TIDELOCK_SOAK_SECONDS", options.seconds.to_string());
    if let Some(seed) = options.seed {
        cargo.env("TIDELOCK_SOAK_SEED", seed.to_string());
    }
    wasm_std::ensure(workspace)?.configure(&mut cargo);
    process::run(workspace.embedding(&mut cargo))
}
