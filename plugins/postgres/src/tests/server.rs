//! A PostgreSQL server for the tests of this crate: one for all, on a socket in a folder of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Words that reach the server with `psql`.
pub(crate) fn server() -> Vec<String> {
    static SOCKET: OnceLock<PathBuf> = OnceLock::new();
    let socket = SOCKET.get_or_init(start).display().to_string();
    ["psql", "-h", &socket, "-U", "postgres", "-d", "postgres"].map(str::to_owned).into()
}

/// Does something by hand, and gives what came of it.
#[track_caller]
pub(crate) fn psql(database: &str, sql: &str) -> String {
    let words = server();
    let quoted = database.replace('\\', "\\\\").replace('\'', "\\'");
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).args(["-d", &format!("dbname='{quoted}'")]);
    // Each by itself: some cannot be part of a transaction.
    command.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"]).args(sql.split("; ").flat_map(|one| ["-c", one]));
    let ended = command.output().expect("psql");
    assert!(ended.status.success(), "{sql}: {}", String::from_utf8_lossy(&ended.stderr));
    String::from_utf8(ended.stdout).expect("text").trim_end().to_owned()
}

/// Starts it under a shell that ends it and removes its folder once this process is gone.
fn start() -> PathBuf {
    let folder = std::env::temp_dir().join(format!("tidelock-postgres-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    let root = Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n");
    if root {
        run(Command::new("chown").arg("postgres").arg(&folder));
    }
    let as_owner = |program: &Path| {
        if !root {
            return Command::new(program);
        }
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]).arg(program);
        command
    };
    let data = folder.join("data");
    run(as_owner(&program("initdb"))
        .args(["-U", "postgres", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C.UTF-8", "-D"])
        .arg(&data));
    let script = "\"$1\" -D \"$2/data\" -k \"$2\" -c listen_addresses= -c fsync=off >\"$2/log\" 2>&1 & server=$!\n\
        while [ -d /proc/$3 ]; do sleep 0.2; done\nkill -INT $server; wait $server; cd /; rm -rf \"$2\"";
    let mut guard = as_owner(Path::new("/bin/sh"));
    guard.args(["-c", script, "sh"]).arg(program("postgres")).arg(&folder).arg(std::process::id().to_string());
    // It outlives this process by a moment, and ends the server.
    drop(guard.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("a server"));
    let deadline = Instant::now() + Duration::from_secs(60);
    while !folder.join(".s.PGSQL.5432").exists() {
        assert!(Instant::now() < deadline, "{}", fs::read_to_string(folder.join("log")).unwrap_or_default());
        std::thread::sleep(Duration::from_millis(20));
    }
    std::thread::sleep(Duration::from_millis(300));
    folder
}

fn program(name: &str) -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> =
        versions.map(|version| version.path().join("bin").join(name)).filter(|path| path.exists()).collect();
    found.sort();
    found.pop().unwrap_or_else(|| panic!("{name} (Debian: postgresql)"))
}

fn run(command: &mut Command) {
    let ended = command.current_dir("/").output().expect("a program");
    assert!(ended.status.success(), "{command:?}: {}", String::from_utf8_lossy(&ended.stderr));
}
