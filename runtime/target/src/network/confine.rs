//! A thread that can do no more than a program needs that speaks with the kernel about its
//! network and nothing else, so that a mistake in the program, or a text that is out for one,
//! meets an empty house: it has no files but programs and their libraries, the names of
//! protocols and services, and its input; it is nobody; and it may administer the network of
//! the namespace that it is in.
//!
//! Not a user namespace, which would leave it no root at all: there the kernel takes no batch of
//! nftables that is larger than any user's may be, and a set of 20,000 elements is.

use std::fs::{self, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use rustix::process::{Gid, Uid, chdir, chroot, geteuid};
use rustix::thread::{
    CapabilitiesSecureBits, CapabilitySet, CapabilitySets, capabilities, configure_capability_in_ambient_set,
    set_capabilities, set_capabilities_secure_bits, set_no_new_privs, set_thread_groups, set_thread_res_gid,
    set_thread_res_uid,
};
use tidelock_model::error::Fault;

use super::fault;
use super::namespace::on_a_thread;

/// Where what is confined finds its input.
pub(super) const INPUT: &str = "/input";

/// Where its root is put together: a folder that every system has. What is there is covered for
/// the thread alone.
const ROOT: &str = "/tmp";
/// Folders of programs and their libraries.
const PROGRAMS: [&str; 7] = ["usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32"];
/// Files of `/etc` that it sees, copied: names of protocols and services, without which `tcp dport
/// ssh` means nothing, and where libraries are. None of hosts, users or marks.
const NAMES: [&str; 3] = ["protocols", "services", "ld.so.cache"];
/// The most that is copied of one of those.
const NAMES_MAX: u64 = 1 << 20;
/// The user and group that own nothing.
const NOBODY: u32 = 65_534;

/// Does something on such a thread, in the network namespace of this one. What it starts is
/// confined too. Blocking.
///
/// # Errors
/// This process may not confine, or the work's own.
pub(super) fn confined<T: Send>(input: &[u8], work: impl FnOnce() -> Result<T, Fault> + Send) -> Result<T, Fault> {
    on_a_thread(move || {
        confine(input)?;
        work()
    })
}

/// For the rest of this thread's life.
fn confine(input: &[u8]) -> Result<(), Fault> {
    let failed = |what: &'static str| {
        move |error: io::Error| {
            fault("permission", format!("cannot run a program where it can do no harm: {what}: {error}")).hint(
                "this needs CAP_SYS_ADMIN, CAP_SYS_CHROOT, CAP_SETUID, CAP_SETGID, CAP_SETPCAP and CAP_NET_ADMIN, \
                 which root has",
            )
        }
    };
    unshare(CloneFlags::CLONE_NEWNS).map_err(|errno| failed("its own mounts")(errno.into()))?;
    house(input).map_err(failed("a root of its own"))?;
    lower().map_err(failed("fewer privileges"))
}

/// Moves into a root in which next to nothing is.
fn house(input: &[u8]) -> io::Result<()> {
    let none = None::<&str>;
    // Nothing that is mounted from here on is seen by others.
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
    let bare = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    let size = Some("mode=0755,size=256m,nr_inodes=64");
    mount(Some("tidelock"), ROOT, Some("tmpfs"), bare | MsFlags::MS_NOEXEC, size)?;
    let root = Path::new(ROOT);
    for name in PROGRAMS {
        let (from, to) = (Path::new("/").join(name), root.join(name));
        match fs::symlink_metadata(&from) {
            Ok(found) if found.is_symlink() => symlink(fs::read_link(&from)?, to)?,
            Ok(found) if found.is_dir() => {
                fs::create_dir(&to)?;
                mount(Some(&from), &to, none, MsFlags::MS_BIND, none)?;
                let still = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
                mount(none, &to, none, still | bare, none)?;
            }
            Ok(_) | Err(_) => {}
        }
    }
    let folder = root.join("etc");
    fs::create_dir(&folder)?;
    // Whatever the umask says.
    fs::set_permissions(&folder, Permissions::from_mode(0o755))?;
    for name in NAMES {
        let mut bytes = Vec::new();
        // A system may have none of them.
        let Ok(file) = fs::File::open(Path::new("/etc").join(name)) else { continue };
        file.take(NAMES_MAX).read_to_end(&mut bytes)?;
        put(&folder.join(name), &bytes)?;
    }
    put(&root.join(INPUT.trim_start_matches('/')), input)?;
    chroot(ROOT)?;
    Ok(chdir("/")?)
}

fn put(path: &Path, bytes: &[u8]) -> io::Result<()> {
    fs::write(path, bytes)?;
    fs::set_permissions(path, Permissions::from_mode(0o444))
}

/// Becomes nobody, who may administer a network.
fn lower() -> io::Result<()> {
    let needed = CapabilitySet::SETUID | CapabilitySet::SETGID | CapabilitySet::SETPCAP;
    if capabilities(None)?.effective.contains(needed) {
        // What root would get by being root, and lose by being another.
        set_capabilities_secure_bits(
            CapabilitiesSecureBits::NO_ROOT
                | CapabilitiesSecureBits::NO_ROOT_LOCKED
                | CapabilitiesSecureBits::NO_SETUID_FIXUP
                | CapabilitiesSecureBits::NO_SETUID_FIXUP_LOCKED,
        )?;
        let (user, group) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
        set_thread_groups(&[])?;
        set_thread_res_gid(group, group, group)?;
        set_thread_res_uid(user, user, user)?;
    } else if geteuid().is_root() {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    let only = CapabilitySet::NET_ADMIN;
    set_capabilities(None, CapabilitySets { effective: only, permitted: only, inheritable: only })?;
    // It stays through the start of the program, which nothing is added to.
    configure_capability_in_ambient_set(only, true)?;
    Ok(set_no_new_privs(true)?)
}

#[cfg(test)]
mod tests {
    use super::super::program::{Bounds, Ended, Program};
    use super::*;

    const SHELL: Program = Program { name: "sh", paths: &["/bin/sh"], package: "dash" };

    /// How a script ends that is confined.
    fn ran(script: &str) -> Ended {
        confined(b"the input", || SHELL.run(&["-c", script], b"")).unwrap()
    }

    fn said(script: &str) -> String {
        let ended = ran(script);
        assert!(ended.success, "{script}: {}", ended.stderr);
        ended.text().trim().to_owned()
    }

    #[test]
    fn there_are_programs_and_nothing_else() {
        let here = said("for each in /* /etc/*; do echo $each; done");
        for path in here.lines() {
            let name = path.trim_start_matches('/');
            let known = PROGRAMS.contains(&name) || NAMES.iter().any(|file| name == format!("etc/{file}"));
            assert!(known || matches!(name, "etc" | "input"), "{path}");
        }
        assert_eq!(said("cat /input"), "the input");
        for file in ["/etc/shadow", "/etc/hosts", "/etc/passwd", "/proc/1/environ", "/root", "/tmp", "/dev/null"] {
            assert!(!ran(&format!("[ -e {file} ]")).success, "{file}");
        }
        for file in ["/new", "/input", "/etc/new", "/usr/new", "/usr/bin/new"] {
            assert!(!ran(&format!(": > {file}")).success, "{file} could be written");
        }
        assert!(Path::new("/etc/passwd").exists() && Path::new("/proc/self").exists(), "and all is there for others");
    }

    #[test]
    fn it_is_nobody_and_may_administer_a_network_and_nothing_else() {
        assert_eq!(said("id -u; id -g; id -G").split_whitespace().collect::<Vec<_>>(), ["65534"; 3]);
        let before = capabilities(None).unwrap();
        let held = confined(b"", || Ok(capabilities(None))).unwrap().unwrap();
        assert_eq!((held.effective, held.permitted), (CapabilitySet::NET_ADMIN, CapabilitySet::NET_ADMIN));
        // What it starts is no more, though it starts as another program.
        for forbidden in ["chroot / true", "mount -t tmpfs x /usr", "kill -0 1", "unshare -n true", "su -c true"] {
            assert!(!ran(forbidden).success, "{forbidden}");
        }
        assert!(ran("nft list tables").success, "but may look at rules");
        assert_eq!(capabilities(None).unwrap(), before, "the thread that asked is as it was");
    }

    #[test]
    fn what_is_bounded_starts_no_other_program() {
        let bounds = Bounds { memory: Some(1 << 30), ..Bounds::default() };
        // The limits come a moment after it has begun.
        let script = "n=0; while [ $n -lt 20000 ]; do n=$((n+1)); done; x=$(id -u) && echo $x";
        let ended = confined(b"", || SHELL.run_within(&bounds, &["-c", script], b"")).unwrap();
        assert!(!ended.success && ended.text().is_empty());
    }
}
