//! The sources of the standard library, of exactly the compiler's version: any
//! other version fails to build with it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::toolchain::Toolchain;
use crate::process;

/// The suites of Debian that may hold `rust-src` of our version, best first:
/// a suite that moves on quickly loses it quickly.
const SUITES: [&str; 3] = ["trixie-backports", "forky", "sid"];
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// The folder that holds `library/`: the toolchain's own, else downloaded into
/// `staging`.
pub(super) fn find(toolchain: &Toolchain, staging: &Path) -> Result<PathBuf> {
    let own = toolchain.sysroot.join("lib/rustlib/src/rust");
    if own.join("library/std/Cargo.toml").is_file() {
        return Ok(own);
    }
    if !process::exists("apt-get") || !process::exists("dpkg") {
        bail!("the toolchain has no rust-src component, and only Debian's is known to serve instead");
    }
    download(&toolchain.release, staging).context("cannot take the sources from Debian's rust-src package")
}

/// Fetches and unpacks the package without touching the machine's own package
/// lists.
fn download(release: &str, staging: &Path) -> Result<PathBuf> {
    let mirror = mirror()?;
    for suite in SUITES {
        let folder = staging.join(suite);
        let apt = Apt::new(&folder, &mirror, suite)?;
        if let Err(error) = process::read(apt.get().arg("update")) {
            println!("  {suite}: {error:#}");
            continue;
        }
        let offered = process::read(apt.cache().args(["madison", "rust-src"]))?;
        let Some(version) = matching(&offered, release) else { continue };
        println!("  fetching rust-src {version} from {mirror} {suite}");
        process::read(apt.get().arg("download").arg(format!("rust-src={version}")))?;
        return unpack(&folder);
    }
    bail!("none of {} holds rust-src {release} at {mirror}", SUITES.join(", "))
}

/// apt with lists, caches and sources of its own, below one folder.
struct Apt {
    folder: PathBuf,
}

impl Apt {
    fn new(folder: &Path, mirror: &str, suite: &str) -> Result<Self> {
        fs::create_dir_all(folder.join("lists/partial"))?;
        fs::create_dir_all(folder.join("cache/archives/partial"))?;
        let line = format!("deb [signed-by={KEYRING}] {mirror} {suite} main\n");
        fs::write(folder.join("sources.list"), line)?;
        Ok(Self { folder: folder.to_path_buf() })
    }

    fn get(&self) -> Command {
        self.command("apt-get")
    }

    fn cache(&self) -> Command {
        self.command("apt-cache")
    }

    fn command(&self, program: &str) -> Command {
        let at = |name: &str| self.folder.join(name).display().to_string();
        let mut command = Command::new(program);
        command.current_dir(&self.folder).arg("-q");
        for (option, value) in [
            ("Dir::Etc::sourcelist", at("sources.list")),
            ("Dir::Etc::sourceparts", "/nonexistent".to_owned()),
            ("Dir::State::Lists", at("lists")),
            ("Dir::Cache", at("cache")),
            // The temporary folder is ours alone; apt's own user cannot enter it.
            ("APT::Sandbox::User", "root".to_owned()),
        ] {
            command.arg(format!("-o{option}={value}"));
        }
        command
    }
}

/// The address of the Debian archive that this machine uses.
fn mirror() -> Result<String> {
    let release = fs::read_to_string("/etc/os-release").context("cannot read /etc/os-release")?;
    let codename = release
        .lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME="))
        .context("/etc/os-release names no VERSION_CODENAME")?;
    let targets = process::read(Command::new("apt-get").args([
        "indextargets",
        "--format",
        "$(REPO_URI) $(CODENAME)",
        "Created-By: Packages",
    ]))?;
    main_archive(&targets, codename.trim_matches('"'))
        .map(str::to_owned)
        .with_context(|| format!("apt is configured with no archive of {codename}"))
}

/// The address on the line of the release itself, not of its updates or of
/// another vendor's archive.
fn main_archive<'t>(targets: &'t str, codename: &str) -> Option<&'t str> {
    targets.lines().find_map(|line| line.split_once(' ').filter(|(_, of)| *of == codename).map(|(address, _)| address))
}

/// The offered version of the package that belongs to a release of the compiler.
fn matching<'t>(madison: &'t str, release: &str) -> Option<&'t str> {
    madison
        .lines()
        .filter_map(|line| line.split('|').nth(1))
        .map(str::trim)
        .find(|version| version.strip_prefix(release).is_some_and(|rest| rest.starts_with(['+', '-', '~'])))
}

/// Unpacks the one package in `folder`, and finds the sources in it.
fn unpack(folder: &Path) -> Result<PathBuf> {
    let package = entries(folder)?
        .find(|path| path.extension().is_some_and(|ending| ending == "deb"))
        .context("apt has left no package")?;
    let root = folder.join("unpacked");
    process::read(Command::new("dpkg").arg("-x").arg(&package).arg(&root))?;
    entries(&root.join("usr/src"))?
        .find(|path| path.join("library/std/Cargo.toml").is_file())
        .context("the package holds no standard library")
}

fn entries(folder: &Path) -> Result<impl Iterator<Item = PathBuf>> {
    let found = fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    Ok(found.filter_map(|entry| entry.ok().map(|entry| entry.path())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_very_version_serves() {
        let offered = " rust-src | 1.95.0+dfsg1-2~bpo13+1 | http://m/ trixie-backports/main amd64 Packages\n \
                       rust-src | 1.85.0+dfsg3-1 | http://m/ trixie/main amd64 Packages\n";
        assert_eq!(matching(offered, "1.95.0"), Some("1.95.0+dfsg1-2~bpo13+1"));
        assert_eq!(matching(offered, "1.85.0"), Some("1.85.0+dfsg3-1"));
        assert_eq!(matching(offered, "1.9"), None, "a prefix of a number is another number");
        assert_eq!(matching("", "1.95.0"), None);
    }

    #[test]
    fn the_release_itself_is_the_main_archive() {
        let targets = "http://vendor/ nodistro\nhttp://m/security bookworm-security\nhttp://m/debian bookworm\n";
        assert_eq!(main_archive(targets, "bookworm"), Some("http://m/debian"));
        assert_eq!(main_archive(targets, "trixie"), None);
    }
}
