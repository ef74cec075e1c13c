//! A machine with a start and an end: Debian with its own systemd, in a container of
//! systemd-nspawn that has a network of its own. It is made from Debian's packages, once for all
//! tests; each machine is a layer above that, and goes with the test.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::tidelock::binary;

/// What the machine has beside the least that Debian needs.
const PACKAGES: &str = "systemd,systemd-sysv,dbus,iproute2,nftables,procps,ifupdown,wireguard-tools,wireguard-go";
/// How long a start may take on a busy system.
const PATIENCE: Duration = Duration::from_secs(120);
/// Where programs are, in the machine.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A machine.
pub struct Booted {
    name: String,
    /// What the machine wrote, above the root of all.
    layers: TempDir,
    /// The groups of processes that are its own.
    groups: Vec<PathBuf>,
    container: Option<Child>,
}

/// Starts a machine in groups of its own: two in one would take each other's units for theirs.
const IN_GROUPS: &str =
    "while [ \"$1\" != -- ]; do echo $$ > \"$1/cgroup.procs\" || exit 1; shift; done; shift; exec \"$@\"";

impl Booted {
    /// A machine that is switched off, with the binary as `/usr/local/bin/tidelock`.
    ///
    /// # Panics
    /// It cannot be made: root, the packages of `cargo xtask test` and a mirror of Debian are needed.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "it changes the system, which nobody expects of a default")]
    pub fn new() -> Self {
        let base = base();
        // Beside the root of all: one layer above another has to be of a file system that can.
        let layers = tempfile::Builder::new().prefix("machine-").tempdir_in(folder()).expect("a folder");
        for name in ["upper", "work", "root"] {
            fs::create_dir(layers.path().join(name)).expect("a folder");
        }
        let at = |name: &str| layers.path().join(name).display().to_string();
        let options = format!("lowerdir={},upperdir={},workdir={}", base.display(), at("upper"), at("work"));
        done(Command::new("mount").args(["-t", "overlay", "tidelock-test", "-o", &options, &at("root")]));
        let name = format!("tl{}x{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let machine = Self { groups: groups(&name), name, layers, container: None };
        machine.write("etc/machine-id", "0123456789abcdef0123456789abcdef\n");
        machine.write("etc/hostname", "machine\n");
        machine.write("usr/local/bin/tidelock", "");
        machine
    }

    /// A path below the machine's root, as the test sees it.
    #[must_use]
    pub fn path(&self, relative: &str) -> PathBuf {
        self.layers.path().join("root").join(relative)
    }

    /// Writes a file of the machine, with the folders above it.
    pub fn write(&self, relative: &str, contents: &str) {
        crate::environment::write(&self.path(relative), contents.as_bytes());
    }

    /// What a file of the machine holds, if it is there.
    #[must_use]
    pub fn read(&self, relative: &str) -> Option<String> {
        fs::read_to_string(self.path(relative)).ok()
    }

    /// Switches it on, and waits until its start has ended.
    ///
    /// # Panics
    /// It does not start.
    pub fn start(&mut self) {
        assert!(self.container.is_none(), "it runs");
        let log = File::options().create(true).append(true).open(self.layers.path().join("log")).expect("a log");
        for group in &self.groups {
            fs::create_dir_all(group).expect("a group of processes");
        }
        let container = Command::new("sh")
            .args(["-c", IN_GROUPS, "sh"])
            .args(&self.groups)
            .args(["--", "systemd-nspawn", "--quiet", "--boot", "--register=no", "--keep-unit", "--private-network"])
            .arg("--console=pipe")
            .arg(format!("--machine={}", self.name))
            .arg(format!("--directory={}", self.path("").display()))
            .arg(format!("--bind-ro={}:/usr/local/bin/tidelock", binary().display()))
            // For tunnels of its own, where the kernel makes none.
            .arg("--bind=/dev/net/tun")
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .spawn()
            .expect("systemd-nspawn (Debian: systemd-container)");
        self.container = Some(container);
        self.started();
    }

    /// Switches it off as a person would, and on again.
    pub fn restart(&mut self) {
        // The answer may go with the machine.
        drop(self.ended(&["systemctl", "poweroff"]));
        let mut container = self.container.take().expect("it runs");
        let since = Instant::now();
        while container.try_wait().expect("its state").is_none() {
            assert!(since.elapsed() < PATIENCE, "it does not end\n{}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
        self.start();
    }

    /// Cuts its power.
    pub fn cut(&mut self) {
        if let Some(leader) = self.leader() {
            done(Command::new("kill").args(["-9", &leader.to_string()]));
        }
        if let Some(mut container) = self.container.take() {
            container.wait().expect("its end");
        }
    }

    fn started(&self) {
        let since = Instant::now();
        loop {
            let state = self.leader().map(|_| self.ended(&["systemctl", "is-system-running"]));
            let said = state.map(|out| String::from_utf8_lossy(&out.stdout).trim().to_owned()).unwrap_or_default();
            if matches!(said.as_str(), "running" | "degraded") {
                return;
            }
            assert!(since.elapsed() < PATIENCE, "it does not start: {said:?}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// The first process of the machine, as the test's system counts.
    fn leader(&self) -> Option<u32> {
        let container = self.container.as_ref()?.id();
        let children = fs::read_to_string(format!("/proc/{container}/task/{container}/children")).ok()?;
        children.split_whitespace().find_map(|child| {
            let child = child.parse().ok()?;
            // Not before it is an init, in namespaces of its own.
            let name = fs::read_to_string(format!("/proc/{child}/comm")).ok()?;
            (name.trim() == "systemd").then_some(child)
        })
    }

    /// A program in the machine, to be started.
    #[must_use]
    pub fn command(&self, words: &[&str]) -> Command {
        let leader = self.leader().map_or_else(|| "0".to_owned(), |leader| leader.to_string());
        let mut command = Command::new("nsenter");
        command.args(["--target", &leader, "--all", "--root", "--wd", "--", "/usr/bin/env", "-i"]);
        command.arg(format!("PATH={PATH}")).args(["LANG=C.UTF-8", "HOME=/root", "NO_COLOR=1"]).args(words);
        command.stdin(Stdio::null());
        command
    }

    /// A program of the test's own system, with the machine's network.
    #[must_use]
    pub fn on_its_network(&self, words: &[&str]) -> Command {
        let leader = self.leader().map_or_else(|| "0".to_owned(), |leader| leader.to_string());
        let mut command = Command::new("nsenter");
        command.args(["--target", &leader, "--net", "--"]).args(words).stdin(Stdio::null());
        command
    }

    /// How a program in it ends.
    #[must_use]
    pub fn ended(&self, words: &[&str]) -> Output {
        self.command(words).output().expect("nsenter runs")
    }

    /// A program in it, which must end well. Gives what it prints.
    #[track_caller]
    pub fn run(&self, words: &[&str]) -> String {
        let out = self.ended(words);
        let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(
            out.status.success(),
            "{words:?}: {}\n{}{}\n--- the log\n{}",
            out.status,
            said(&out.stdout),
            said(&out.stderr),
            self.log()
        );
        said(&out.stdout)
    }

    /// Waits until something holds.
    #[track_caller]
    pub fn wait(&self, what: &str, within: Duration, mut holds: impl FnMut(&Self) -> bool) -> Duration {
        let since = Instant::now();
        while !holds(self) {
            assert!(since.elapsed() < within, "{what}: not within {within:?}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
        since.elapsed()
    }

    /// The last lines of its journal, or of what it wrote to its console.
    #[must_use]
    pub fn log(&self) -> String {
        let journal = self.leader().map(|_| self.ended(&["journalctl", "--no-pager", "-n", "120"]));
        let journal = journal.map(|out| String::from_utf8_lossy(&out.stdout).into_owned()).unwrap_or_default();
        if journal.is_empty() {
            fs::read_to_string(self.layers.path().join("log")).unwrap_or_default()
        } else {
            journal
        }
    }
}

impl Drop for Booted {
    fn drop(&mut self) {
        if let Some(leader) = self.leader() {
            let _ = Command::new("kill").args(["-9", &leader.to_string()]).status();
        }
        if let Some(mut container) = self.container.take() {
            let _ = container.kill();
            let _ = container.wait();
        }
        let _ = Command::new("umount").arg("--lazy").arg(self.path("")).status();
        let since = Instant::now();
        while self.groups.iter().any(|group| group.exists()) && since.elapsed() < Duration::from_secs(5) {
            self.groups.iter().for_each(|group| remove_group(group));
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Where the processes of a machine are put, in each tree of groups that systemd uses.
fn groups(name: &str) -> Vec<PathBuf> {
    let own = fs::read_to_string("/proc/self/cgroup").expect("its groups");
    let root = Path::new("/sys/fs/cgroup");
    let tree = |line: &str| {
        let (tree, place) = line.split_once(':')?.1.split_once(':')?;
        let tree = match tree {
            "" if root.join("cgroup.procs").exists() => root.to_owned(),
            "" => root.join("unified"),
            "name=systemd" => root.join("systemd"),
            _ => return None,
        };
        Some(tree.join(place.trim_start_matches('/')).join(format!("tidelock-{name}"))).filter(|_| tree.is_dir())
    };
    own.lines().filter_map(tree).collect()
}

/// Removes a group with those below it, as far as their processes are gone.
fn remove_group(group: &Path) {
    for below in fs::read_dir(group).into_iter().flatten().flatten() {
        if below.path().is_dir() {
            remove_group(&below.path());
        }
    }
    let _ = fs::remove_dir(group);
}

/// Where machines are kept: beside what is built, so that it goes with that.
fn folder() -> PathBuf {
    let built = binary();
    let folder = built.parent().and_then(Path::parent).expect("the folder of what is built").join("machines");
    fs::create_dir_all(&folder).expect("a folder for machines");
    folder
}

/// The root that all machines share. Made once, by whoever needs it first.
fn base() -> PathBuf {
    let folder = folder();
    let lock = File::create(folder.join("lock")).expect("a lock");
    lock.lock().expect("a lock");
    let base = folder.join(format!("debian-{}", PACKAGES.replace(',', "-")));
    if base.is_dir() {
        return base;
    }
    let (mirror, suite) = mirror();
    let partly = folder.join("partly");
    // What a killed one left.
    if partly.exists() {
        fs::remove_dir_all(&partly).expect("an old root goes");
    }
    done(
        Command::new("debootstrap")
            .args(["--variant=minbase", &format!("--include={PACKAGES}"), &suite])
            .arg(&partly)
            .arg(mirror),
    );
    fs::rename(&partly, &base).expect("a root");
    base
}

/// Debian's mirror that this system installs from, and the name of its release.
fn mirror() -> (String, String) {
    let release = fs::read_to_string("/etc/os-release").expect("/etc/os-release");
    let suite = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME=")).expect("a release of Debian");
    let format = "$(REPO_URI) $(CODENAME)";
    let listed = done(Command::new("apt-get").args(["indextargets", "--format", format, "Created-By: Packages"]));
    let of_release = |line: &str| line.strip_suffix(suite)?.strip_suffix(' ').map(ToOwned::to_owned);
    let mirror = listed.lines().find_map(of_release).expect("apt knows where this release is from");
    (mirror, suite.to_owned())
}

#[track_caller]
fn done(command: &mut Command) -> String {
    let out = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(out.status.success(), "{command:?}: {}\n{}{}", out.status, said(&out.stdout), said(&out.stderr));
    said(&out.stdout)
}
