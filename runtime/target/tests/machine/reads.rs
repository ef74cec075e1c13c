//! Looking: at files, directories, links, users and groups.

use std::os::unix::fs::{PermissionsExt as _, symlink};

use tidelock_model::digest::Digest;
use tidelock_model::effect::PathState;
use tidelock_model::port::Target as _;
use tidelock_target::{Machine, MachineOptions};

use crate::support::{Room, decl, grant, name, skip};

fn paths(list: &[&str]) -> Vec<String> {
    list.iter().map(ToString::to_string).collect()
}

#[test]
fn what_is_there_is_told_and_links_are_not_followed() {
    let room = Room::new();
    room.write("/etc/motd", "hello");
    std::fs::set_permissions(room.real("/etc/motd"), std::fs::Permissions::from_mode(0o4750)).unwrap();
    symlink("/etc/shadow", room.real("/etc/out")).unwrap();
    symlink("/etc", room.real("/away")).unwrap();
    nix::unistd::mkfifo(&room.real("/etc/fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();

    let asked = paths(&[
        "/etc/out",
        "/etc/motd",
        "/etc",
        "/etc/none",
        "/etc/fifo",
        "/none/x",
        "/etc/motd/x",
        "/",
        "/away/shadow",
    ]);
    let stats = room.machine.stat(&asked, true);
    let state = |i: usize| stats[i].as_ref().unwrap().state.clone();
    assert_eq!(state(0), PathState::Symlink { to: "/etc/shadow".into() });
    let PathState::File { digest, mode, size, .. } = state(1) else { panic!("{:?}", state(1)) };
    assert_eq!((digest, mode, size), (Some(Digest::of(b"hello")), 0o4750, 5));
    assert!(matches!(state(2), PathState::Directory { .. }));
    assert_eq!((state(3), state(4)), (PathState::Absent, PathState::Other));
    assert_eq!((state(5), state(6)), (PathState::Absent, PathState::Absent));
    assert!(matches!(state(7), PathState::Directory { .. }));
    let fault = stats[8].as_ref().unwrap_err();
    assert_eq!(fault.code, "symlink");
    assert!(fault.message.contains("/away is a symbolic link (to /etc)"), "{}", fault.message);
}

#[test]
fn paths_that_climb_are_refused() {
    let room = Room::new();
    for bad in ["/../etc/passwd", "/a/../../etc/passwd", "etc/passwd", "", "/a//b", "/a/.", "/a/", "/a\0b"] {
        assert_eq!(room.machine.stat(&paths(&[bad]), true)[0].as_ref().unwrap_err().code, "invalid", "{bad:?}");
        assert_eq!(room.machine.content(bad, 10).unwrap_err().code, "invalid", "{bad:?}");
        assert_eq!(room.machine.list(bad).unwrap_err().code, "invalid", "{bad:?}");
    }
}

#[test]
fn long_lists_are_answered_in_order() {
    let room = Room::new();
    let mut asked = vec![];
    for i in 0..1500 {
        let path = format!("/d{}/f{i}", i % 7);
        room.write(&path, &i.to_string());
        asked.push(path);
    }
    asked.reverse();
    for (path, stat) in asked.iter().zip(room.machine.stat(&asked, true)) {
        let PathState::File { digest, .. } = stat.unwrap().state else { panic!("{path}") };
        let number = path.rsplit('f').next().unwrap();
        assert_eq!(digest, Some(Digest::of(number.as_bytes())), "{path}");
    }
}

#[test]
fn contents_end_at_the_limit_and_only_files_have_one() {
    let room = Room::new();
    room.write("/f", "12345");
    symlink("f", room.real("/l")).unwrap();
    assert_eq!(room.machine.content("/f", 5).unwrap().unwrap(), b"12345");
    assert_eq!(room.machine.content("/f", 4).unwrap_err().code, "limit");
    assert_eq!(room.machine.content("/none", 4).unwrap(), None);
    assert_eq!(room.machine.content("/none/x", 4).unwrap(), None);
    assert_eq!(room.machine.content("/l", 9).unwrap_err().code, "symlink");
    std::fs::create_dir(room.real("/d")).unwrap();
    assert_eq!(room.machine.content("/d", 9).unwrap_err().code, "invalid");
    assert_eq!(room.machine.list("/").unwrap().unwrap(), ["d", "f", "l"]);
    assert_eq!(room.machine.list("/none").unwrap(), None);
    assert_eq!(room.machine.list("/f").unwrap(), None);
    assert_eq!(room.machine.list("/l").unwrap_err().code, "symlink");
}

#[test]
fn names_that_are_not_text_are_an_error_and_not_left_out() {
    use std::os::unix::ffi::OsStrExt as _;
    let room = Room::new();
    std::fs::write(room.dir.path().join(std::ffi::OsStr::from_bytes(b"a\xff")), "").unwrap();
    assert_eq!(room.machine.list("/").unwrap_err().code, "invalid");
}

#[test]
fn generated_files_have_their_real_content() {
    let machine = Machine::open(&name("t"), &decl("/"), vec![], MachineOptions::default()).unwrap();
    let path = "/proc/version";
    let Ok(real) = std::fs::read(path) else { return skip("/proc is not mounted") };
    let stat = machine.stat(&paths(&[path]), true).remove(0).unwrap();
    assert_eq!(stat.size, real.len() as u64);
    let magic = machine.stat(&paths(&["/proc/self/root/etc/passwd"]), false).remove(0);
    assert_eq!(magic.unwrap_err().code, "symlink");
}

#[test]
fn a_root_with_accounts_of_its_own_is_read_by_them() {
    let room = Room::new();
    assert_eq!(room.machine.user("0").unwrap().as_deref(), Some("root"));
    assert_eq!(room.machine.user("no-such-user").unwrap(), None);
    assert_eq!(room.machine.user("3999999999").unwrap().as_deref(), Some("3999999999"));
    assert_eq!(room.machine.user("4294967295").unwrap(), None);
    room.write("/etc/passwd", "captain:x:0:0::/:/bin/sh\nwww:x:4711:4711::/:/bin/sh\n");
    room.write("/etc/group", "crew:x:0:\n");
    assert_eq!(room.machine.user("0").unwrap().as_deref(), Some("captain"));
    assert_eq!(room.machine.user("www").unwrap().as_deref(), Some("www"));
    assert_eq!(room.machine.user("root").unwrap(), None);
    assert_eq!(room.machine.group("0").unwrap().as_deref(), Some("crew"));
    if crate::support::root() {
        let PathState::File { owner, group, .. } = room.state("/etc/passwd") else { panic!() };
        assert_eq!((owner.as_str(), group.as_str()), ("captain", "crew"));
    }
}

#[test]
fn a_missing_root_is_named() {
    let fault = Machine::open(&name("web-1"), &decl("/no/such/root"), vec![], MachineOptions::default()).err().unwrap();
    assert_eq!(fault.code, "root");
    assert!(fault.message.contains("web-1") && fault.message.contains("/no/such/root"), "{}", fault.message);
}

#[tokio::test]
async fn two_roots_with_one_machine_id_are_one_system() {
    let (a, b) = (Room::new(), Room::new());
    assert_ne!(a.machine.fingerprint().await.unwrap(), b.machine.fingerprint().await.unwrap());
    assert!(a.machine.fingerprint().await.unwrap().ends_with(a.dir.path().to_str().unwrap()));
    for room in [&a, &b] {
        room.write("/etc/machine-id", "0123456789abcdef0123456789abcdef\n");
        let fingerprint = room.machine.fingerprint().await.unwrap();
        assert_eq!(fingerprint, "machine-id:0123456789abcdef0123456789abcdef");
    }
    a.write("/etc/machine-id", "not an id\n");
    assert_eq!(a.machine.fingerprint().await.unwrap_err().code, "invalid");
}

#[test]
fn a_grant_is_found_by_its_plugin() {
    let room = Room::with(grant(&["/etc/**"], &[], &[]), MachineOptions::default());
    assert!(room.machine.grant("server").is_some());
    assert!(room.machine.grant("other").is_none());
}
