//! `cargo xtask soak`: the long forms of tests that `cargo xtask test` runs short.

use anyhow::Result;

use crate::workspace::Workspace;
use crate::{packages, process, test, wasm_std};

/// The suites that have long forms: all that read a `TIDELOCK_SOAK_` variable.
const SUITES: [&str; 7] =
    ["soak", "mysql_killed", "network_confirm", "network_watched", "postgres_killed", "postgres_writers", "sql"];

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
    /// How often an apply to a network is killed that a guard watches over
    #[arg(long, default_value_t = 100)]
    guard_kills: u64,
    /// How many changes by hand to a watched network are healed
    #[arg(long, default_value_t = 200)]
    heals: u64,
    /// Runs the same random moments again
    #[arg(long)]
    seed: Option<u64>,
}

/// Runs them, one after the other, and prints what they count.
pub(crate) fn soak(workspace: &Workspace, options: &Options) -> Result<()> {
    packages::ensure(&[packages::BUILD, packages::TESTS])?;
    test::binary(workspace)?;
    let mut cargo = workspace.cargo();
    cargo.args(["test", "--workspace", "--locked"]);
    cargo.args(SUITES.iter().flat_map(|test| ["--test", test]));
    cargo.args(["--", "--nocapture", "--test-threads=1"]);
    cargo.env("TIDELOCK_SOAK_DATABASE_KILLS", options.database_kills.to_string());
    cargo.env("TIDELOCK_SOAK_WRITERS", options.writers.to_string());
    cargo.env("TIDELOCK_SOAK_GUARD_KILLS", options.guard_kills.to_string());
    cargo.env("TIDELOCK_SOAK_HEALS", options.heals.to_string());
    cargo.env("TIDELOCK_SOAK_KILLS", options.kills.to_string());
    cargo.env("TIDELOCK_SOAK_SECONDS", options.seconds.to_string());
    if let Some(seed) = options.seed {
        cargo.env("TIDELOCK_SOAK_SEED", seed.to_string());
    }
    wasm_std::ensure(workspace)?.configure(&mut cargo);
    process::run(workspace.embedding(&mut cargo))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::SUITES;

    #[test]
    fn what_has_a_long_form_is_run() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut left_out = Vec::new();
        for (folder, suite) in [("tests/tests", None), ("runtime/target/tests/sql", Some("sql"))] {
            for file in std::fs::read_dir(root.join(folder)).unwrap().map(|entry| entry.unwrap().path()) {
                let name = file.file_stem().unwrap().to_string_lossy().into_owned();
                let suite = suite.unwrap_or(&name);
                let reads = std::fs::read_to_string(&file).is_ok_and(|text| text.contains("TIDELOCK_SOAK_"));
                if reads && !SUITES.contains(&suite) {
                    left_out.push(file);
                }
            }
        }
        assert!(left_out.is_empty(), "no soak runs {left_out:?}");
    }
}
