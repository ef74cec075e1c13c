//! `cargo xtask bench`: figures of the release binary, as ratios within one run.
//!
//! A time in milliseconds says more about the machine than about the program.
//! Where something ordinary does comparable work (`sha256sum`, `cp`, `git
//! ls-remote`), both are measured in the same run and the ratio is what counts.

mod databases;
mod fleet;
mod measure;
mod network;
mod table;
mod webhook;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use tidelock_tests::environment::hermetic;
use tidelock_tests::{GitHttp, Repo};

use self::measure::{Measured, best_of, measure};
use self::table::Table;
use crate::workspace::Workspace;
use crate::{dist, packages, process};

/// What to measure.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// A binary that is there; default builds one with `dist`
    #[arg(long)]
    binary: Option<PathBuf>,
    /// Files of the large stack
    #[arg(long, default_value_t = 10_000)]
    files: usize,
    /// The largest stack of the growth
    #[arg(long, default_value_t = 100_000)]
    largest: usize,
    /// Machines of the fleet
    #[arg(long, default_value_t = 1_000)]
    machines: usize,
    /// A virtual environment with Ansible and psycopg2, for `databases` to be measured beside
    #[arg(long)]
    ansible: Option<PathBuf>,
    /// Only these parts: large, small, plugin, webhook, network, databases, fleet, growth
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
}

/// Bytes of each file.
const FILE_SIZE: usize = 1 << 10;

/// A stack of a hundred thousand resources is past the limits that a plugin has unasked.
const LIMITS: &str = "\n[limits.default]\noutput = 268435456\nmemory = 1073741824\nrender_ms = 60000\n";

/// Measures and prints.
pub(crate) fn bench(workspace: &Workspace, options: &Options) -> Result<()> {
    packages::ensure(&[packages::BUILD, packages::TESTS])?;
    let binary = match &options.binary {
        Some(binary) => fs::canonicalize(binary).with_context(|| format!("no {}", binary.display()))?,
        None => dist::dist(workspace, dist::Profile::Release)?,
    };
    eprintln!("Each figure is the best of several runs, unless it changes something.");
    let wanted = |part: &str| options.only.is_empty() || options.only.iter().any(|only| only == part);
    let mut table = Table::default();
    if wanted("small") {
        small_stack(&binary, &mut table)?;
    }
    if wanted("plugin") {
        plugin(workspace, &mut table)?;
    }
    if wanted("webhook") {
        webhook::webhook(&Yard::new(&binary, 3)?, &mut table)?;
    }
    if wanted("network") {
        network::network(&Yard::new(&binary, 1)?, &mut table)?;
        network::heals(&Yard::new(&binary, 1)?, &mut table)?;
    }
    if wanted("databases") {
        databases::databases(&binary, options.ansible.as_deref(), &mut table)?;
    }
    if wanted("fleet") {
        fleet::fleet(&Yard::new(&binary, 1)?, options.machines, &mut table)?;
    }
    if wanted("large") {
        large_stack(&binary, options.files, &mut table)?;
    }
    if wanted("growth") {
        growth(&binary, options.largest, &mut table)?;
    }
    table.print();
    Ok(())
}

fn large_stack(binary: &Path, files: usize, table: &mut Table) -> Result<()> {
    let yard = Yard::new(binary, files)?;
    let machine = yard.path("machine/srv");

    let apply = yard.tidelock(&["apply", "--yes"])?;
    let copy =
        yard.shell(&format!("cp -r {0} {0}.copy && find {0}.copy -type f -print0 | xargs -0 sync", machine.display()))?;
    let what = format!("first apply of {files} files of 1 KiB (wall)");
    table.ratio(&what, apply.wall, copy.wall, "cp -r and fsync", None);

    let plan = best_of(5, || yard.tidelock(&["plan", "--detailed-exitcode"]))?;
    let sums = best_of(5, || {
        yard.shell(&format!("find {} -type f -print0 | xargs -0 sha256sum > /dev/null", machine.display()))
    })?;
    table.ratio("no-op plan over them (CPU)", plan.cpu(), sums.cpu(), "sha256sum", Some(3.0));
    table.under("no-op plan over them, peak memory", plan.peak_kib as f64 / 1024.0, "MiB", Some(150.0));

    let mut commits = Vec::new();
    for number in 0..3 {
        yard.repo.write("web/f00007.txt", format!("text {number}\n")).commit("One file");
        commits.push(yard.tidelock(&["apply", "--yes"])?.wall.as_secs_f64());
    }
    let best = commits.into_iter().fold(f64::INFINITY, f64::min);
    table.under("a one-file commit on that stack, fetched, planned and applied (wall)", best, "s", Some(1.0));
    Ok(())
}

fn small_stack(binary: &Path, table: &mut Table) -> Result<()> {
    let yard = Yard::new(binary, 3)?;
    yard.tidelock(&["apply", "--yes"])?;
    let plan = best_of(20, || yard.tidelock(&["plan"]))?;
    table.under("`plan` of a small stack, cold start, warm cache (wall)", millis(plan.wall), "ms", Some(60.0));

    let server = GitHttp::serve(yard.folder.path());
    let url = format!("{}/infra/.git", server.url().trim_end_matches('/'));
    fs::write(yard.path("tidelock.toml"), tidelock_tests::site::config(&url))?;
    yard.tidelock(&["plan"])?;
    let poll = best_of(20, || yard.tidelock(&["plan"]))?;
    let remote = best_of(20, || yard.shell(&format!("git ls-remote {url} > /dev/null")))?;
    table.ratio("`plan` with a no-change poll over HTTP (wall)", poll.wall, remote.wall, "git ls-remote", None);
    let alone = poll.wall.saturating_sub(plan.wall);
    table.ratio("the poll's share of it (wall)", alone, remote.wall, "git ls-remote", None);
    Ok(())
}

/// What the host's own example says, in microseconds.
#[derive(Deserialize)]
struct Figures {
    compile: f64,
    call: f64,
    resource: f64,
}

fn plugin(workspace: &Workspace, table: &mut Table) -> Result<()> {
    let mut cargo = workspace.cargo();
    cargo.args(["build", "--release", "--locked", "--package", "tidelock-host", "--example", "figures"]);
    process::run(workspace.embedding(&mut cargo))?;
    let example = workspace.target().join("release/examples/figures");
    let said = process::read(Command::new(example).arg(workspace.components().join("server.wasm")))?;
    let figures: Figures = serde_json::from_str(&said).context("the example of the host gave no figures")?;
    table.under("a plugin compiled, once per digest", figures.compile / 1e3, "ms", None);
    table.under("a plugin instantiated, called and thrown away", figures.call, "us", None);
    table.under("a resource across the boundary and back (`check`)", figures.resource, "us", None);
    Ok(())
}

/// CPU of a no-op plan for each resource, from a hundred to a hundred thousand.
fn growth(binary: &Path, largest: usize, table: &mut Table) -> Result<()> {
    let mut first: Option<f64> = None;
    for resources in [100, 1_000, 10_000, 100_000].into_iter().filter(|resources| *resources <= largest) {
        let yard = Yard::new(binary, resources)?;
        yard.tidelock(&["apply", "--yes"])?;
        let plan = best_of(3, || yard.tidelock(&["plan"]))?;
        let each = plan.cpu().as_secs_f64() * 1e6 / resources as f64;
        table.under(&format!("no-op plan of {resources} resources, CPU for each"), each, "us", first);
        table.under(
            &format!("no-op plan of {resources} resources, peak memory"),
            plan.peak_kib as f64 / 1024.0,
            "MiB",
            None,
        );
        // From a thousand on the start of the process no longer counts: linear is not dearer
        // for each, with a quarter for noise.
        if resources >= 1_000 {
            first = first.or(Some(each * 1.25));
        }
    }
    Ok(())
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// One folder with a repository, a machine and the config between them.
struct Yard {
    folder: tempfile::TempDir,
    repo: Repo,
    binary: PathBuf,
}

impl Yard {
    fn new(binary: &Path, files: usize) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("tidelock-bench-").tempdir()?;
        let repo = Repo::init(&folder.path().join("infra"));
        let yard = Self { repo, binary: binary.to_path_buf(), folder };
        fs::create_dir_all(yard.path("machine/srv"))?;
        fs::create_dir_all(yard.path("machine/etc"))?;
        fs::write(yard.path("machine/etc/machine-id"), "0123456789abcdef0123456789abcdef\n")?;
        fs::write(yard.path("tidelock.toml"), tidelock_tests::site::config("infra") + LIMITS)?;

        yard.repo.write("web/stack.yaml", "name: web\ntargets: local\non_commit: apply\non_drift: apply\n");
        // A thousand resources to a file, as a generator would write them.
        for (page, numbers) in (0..files).collect::<Vec<_>>().chunks(1_000).enumerate() {
            let resources: Vec<String> = numbers.iter().map(|number| resource(*number)).collect();
            yard.repo.write(&format!("web/r{page:03}.yaml"), resources.join("---\n"));
        }
        for number in 0..files {
            let line = format!("file {number}\n");
            let text: String = line.chars().cycle().take(FILE_SIZE).collect();
            yard.repo.write(&format!("web/f{number:05}.txt"), text);
        }
        yard.repo.commit("Everything");
        yard.tidelock(&["plugin", "accept", "--all"])?;
        Ok(yard)
    }

    fn path(&self, relative: &str) -> PathBuf {
        self.folder.path().join(relative)
    }

    fn tidelock(&self, arguments: &[&str]) -> Result<Measured> {
        self.run(Command::new(&self.binary).args(arguments))
    }

    fn shell(&self, script: &str) -> Result<Measured> {
        self.run(Command::new("sh").args(["-euc", script]))
    }

    fn run(&self, command: &mut Command) -> Result<Measured> {
        hermetic(command, self.folder.path()).current_dir(self.folder.path());
        let measured = measure(command)?;
        ensure!(measured.code == 0, "{command:?} ended with {}:\n{}", measured.code, measured.stderr);
        Ok(measured)
    }
}

fn resource(number: usize) -> String {
    format!(
        "kind: server.file\nname: f{number:05}\nspec:\n  path: /srv/f{number:05}\n  mode: \"0644\"\n  content: {{ $file: f{number:05}.txt }}\n"
    )
}
