//! `cargo xtask bench`: figures of the release binary, as ratios within one run.
//!
//! A time in milliseconds says more about the machine than about the program.
//! Where something ordinary does comparable work (`sha256sum`, `cp`, `git
//! ls-remote`), both are measured in the same run and the ratio is what counts.

mod measure;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tidelock_tests::environment::hermetic;
use tidelock_tests::{GitHttp, Repo};

use self::measure::{Measured, best_of, measure};
use crate::dist;
use crate::workspace::Workspace;

/// What to measure.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// A binary that is there; default builds one with `dist`
    #[arg(long)]
    binary: Option<PathBuf>,
    /// Files of the large stack
    #[arg(long, default_value_t = 10_000)]
    files: usize,
}

/// Bytes of each file.
const FILE_SIZE: usize = 1 << 10;

/// Measures and prints.
pub(crate) fn bench(workspace: &Workspace, options: &Options) -> Result<()> {
    let binary = match &options.binary {
        Some(binary) => fs::canonicalize(binary).with_context(|| format!("no {}", binary.display()))?,
        None => dist::dist(workspace)?,
    };
    println!(
        "{} files of {FILE_SIZE} bytes; each figure is the best of several runs unless it changes something.\n",
        options.files
    );
    large_stack(&binary, options.files)?;
    small_stack(&binary)?;
    growth(&binary)
}

fn large_stack(binary: &Path, files: usize) -> Result<()> {
    let yard = Yard::new(binary, files)?;
    let machine = yard.path("machine/srv");

    let apply = yard.tidelock(&["apply", "--yes"])?;
    let copy =
        yard.shell(&format!("cp -r {0} {0}.copy && find {0}.copy -type f -print0 | xargs -0 sync", machine.display()))?;
    ratio("first apply, against cp -r and fsync of the same (wall)", &apply, &copy, Measured::wall, None);

    let plan = best_of(3, || yard.tidelock(&["plan", "--detailed-exitcode"]))?;
    let sums = best_of(3, || {
        yard.shell(&format!("find {} -type f -print0 | xargs -0 sha256sum > /dev/null", machine.display()))
    })?;
    ratio("no-op plan, against sha256sum of the same (CPU)", &plan, &sums, Measured::cpu, Some(3.0));
    figure("no-op plan, peak memory", &format!("{} MiB", plan.peak_kib / 1024), "aim under 150 MiB");

    yard.repo.write("web/f00007.txt", "another text\n").commit("One file");
    let commit = yard.tidelock(&["apply", "--yes"])?;
    figure("a one-file commit, end to end", &format!("{:.2} s", commit.wall.as_secs_f64()), "aim under 1 s");
    Ok(())
}

fn small_stack(binary: &Path) -> Result<()> {
    let yard = Yard::new(binary, 3)?;
    yard.tidelock(&["apply", "--yes"])?;
    let plan = best_of(20, || yard.tidelock(&["plan"]))?;
    figure("cold start of plan, small stack, warm cache", &format!("{} ms", plan.wall.as_millis()), "aim under 60 ms");

    let server = GitHttp::serve(yard.folder.path());
    let url = format!("{}/infra/.git", server.url().trim_end_matches('/'));
    fs::write(yard.path("tidelock.toml"), tidelock_tests::site::config(&url))?;
    yard.tidelock(&["plan"])?;
    let poll = best_of(10, || yard.tidelock(&["plan"]))?;
    let remote = best_of(10, || yard.shell(&format!("git ls-remote {url} > /dev/null")))?;
    ratio("no-change poll and plan over HTTP, against git ls-remote (wall)", &poll, &remote, Measured::wall, None);
    Ok(())
}

fn growth(binary: &Path) -> Result<()> {
    println!("\nno-op plan as the stack grows (aim: linear)");
    let mut last: Option<(usize, Duration)> = None;
    for resources in [100, 1_000, 10_000, 100_000] {
        let yard = Yard::new(binary, resources)?;
        if let Err(error) = yard.tidelock(&["apply", "--yes"]) {
            println!(
                "  {resources:>7} resources: not measured: {}",
                error.to_string().lines().next().unwrap_or_default()
            );
            break;
        }
        let plan = best_of(2, || yard.tidelock(&["plan"]))?;
        let cpu = plan.cpu();
        let each = cpu.as_secs_f64() * 1e6 / resources as f64;
        let slope = last.map_or(String::new(), |(before, then)| {
            let (size, time) = ((resources / before) as f64, cpu.as_secs_f64() / then.as_secs_f64());
            format!(", {time:.1} times the CPU for {size:.0} times the resources")
        });
        println!(
            "  {resources:>7} resources: {:.2} s CPU, {each:.0} us each, {} MiB{slope}",
            cpu.as_secs_f64(),
            plan.peak_kib / 1024
        );
        last = Some((resources, cpu));
    }
    Ok(())
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
        fs::write(yard.path("tidelock.toml"), tidelock_tests::site::config("infra"))?;

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

fn ratio(what: &str, ours: &Measured, theirs: &Measured, of: fn(&Measured) -> Duration, aim: Option<f64>) {
    let (ours, theirs) = (of(ours).as_secs_f64(), of(theirs).as_secs_f64());
    let aim = aim.map_or(String::new(), |aim| format!("aim within {aim:.0}x"));
    figure(what, &format!("{:.1}x ({ours:.2} s to {theirs:.2} s)", ours / theirs), &aim);
}

fn figure(what: &str, value: &str, aim: &str) {
    println!("{what:<66} {value:<28} {aim}");
}
