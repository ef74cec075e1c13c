//! Servers of other people's: programs as a user of their own, since they refuse to run as root,
//! folders that are theirs, and ports.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// A program as a user where the tests run as root, in a group of processes of its own.
pub(crate) fn as_user(user: &str, program: &Path) -> Command {
    let mut command = if is_root() {
        let mut command = Command::new("setpriv");
        command.arg(format!("--reuid={user}")).arg(format!("--regid={user}")).args(["--clear-groups", "--"]);
        command.arg(program);
        command
    } else {
        Command::new(program)
    };
    command.env_clear().env("PATH", "/usr/bin:/bin").env("LC_ALL", "C.UTF-8").process_group(0);
    command.current_dir("/");
    command
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n")
}

/// Gives a folder with `server.key` in it to a user, who can reach it.
pub(crate) fn give(folder: &Path, user: &str) {
    // Temporary folders are for their maker alone.
    for above in folder.ancestors().skip(1) {
        if let Ok(meta) = fs::metadata(above)
            && meta.permissions().mode() & 0o001 == 0
        {
            let mut open = meta.permissions();
            open.set_mode(open.mode() | 0o011);
            fs::set_permissions(above, open).expect("a way to the folder");
        }
    }
    if is_root() {
        run(Command::new("chown").args(["-R", &format!("{user}:{user}")]).arg(folder));
    }
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).expect("a folder to look into");
    fs::set_permissions(folder.join("server.key"), fs::Permissions::from_mode(0o600)).expect("a key for the server");
}

/// Runs a program, which must end well.
pub(crate) fn run(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().expect("a program that starts");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A port that nobody has. Somebody may take it before the server does.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr()).expect("a port").port()
}
