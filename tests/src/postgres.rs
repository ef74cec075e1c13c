//! A real PostgreSQL server for tests: a data directory, port, socket and certificates of its
//! own, and a log that says every statement.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::owned::{as_user, free_port, give, run};
use crate::tls::certificates;

/// The password of the superuser `postgres` over TCP.
pub const PASSWORD: &str = "the superuser's own";

/// Who runs it, as the server refuses to run as root.
const USER: &str = "postgres";

/// A server whose files lie in a folder, ended when dropped.
#[derive(Debug)]
pub struct Postgres {
    folder: PathBuf,
    port: u16,
    server: Option<Child>,
}

impl Postgres {
    /// Makes a cluster in a folder, which is made, and starts it. Over TCP it takes TLS and
    /// SCRAM alone; over its socket anybody is whom they say they are.
    ///
    /// # Panics
    /// PostgreSQL is not installed, or does not start.
    #[must_use]
    pub fn start(folder: &Path) -> Self {
        fs::create_dir_all(folder).expect("a folder for the server");
        let folder = folder.canonicalize().expect("a folder for the server");
        certificates("localhost", &folder);
        fs::write(folder.join("password"), PASSWORD).expect("a file for the password");
        give(&folder, USER);
        let data = folder.join("data");
        run(as_user(USER, &program("initdb"))
            .args(["-U", "postgres", "-A", "scram-sha-256", "--no-sync", "-E", "UTF8", "--locale=C.UTF-8", "--pwfile"])
            .arg(folder.join("password"))
            .arg("-D")
            .arg(&data));
        let hba = "local all all trust\nhostssl all all 127.0.0.1/32 scram-sha-256\nlocal replication all trust\n";
        fs::write(data.join("pg_hba.conf"), hba).expect("pg_hba.conf");
        let mut server = Self { folder, port: 0, server: None };
        server.restart();
        server
    }

    /// Makes a copy of another server that only follows it, in a folder of its own.
    ///
    /// # Panics
    /// It cannot be copied, or does not start.
    #[must_use]
    pub fn standby_of(primary: &Self, folder: &Path) -> Self {
        fs::create_dir_all(folder).expect("a folder for the server");
        let folder = folder.canonicalize().expect("a folder for the server");
        certificates("localhost", &folder);
        give(&folder, USER);
        run(as_user(USER, &program("pg_basebackup"))
            .args(["-U", "postgres", "-R", "-X", "stream", "--checkpoint=fast", "-p"])
            .arg(primary.port.to_string())
            .arg("-h")
            .arg(&primary.folder)
            .arg("-D")
            .arg(folder.join("data")));
        let mut server = Self { folder, port: 0, server: None };
        server.restart();
        server
    }

    /// Starts it with what its files say now; on the port that it had, if it had one.
    ///
    /// # Panics
    /// It does not start.
    pub fn restart(&mut self) {
        self.kill();
        drop(fs::remove_file(self.folder.join("data/postmaster.pid")));
        for attempt in 1.. {
            if self.port == 0 || attempt > 1 {
                self.port = free_port();
            }
            self.configure();
            let log = fs::File::options().create(true).append(true).open(self.log_path()).expect("a log");
            let child = as_user(USER, &program("postgres"))
                .arg("-D")
                .arg(self.folder.join("data"))
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(log)
                .spawn()
                .expect("the server");
            self.server = Some(child);
            if self.answers() {
                return;
            }
            self.kill();
            // Somebody else may have taken the port.
            assert!(attempt < 5, "PostgreSQL does not start: {}", self.log());
        }
    }

    fn configure(&self) {
        let folder = self.folder.display();
        let conf = format!(
            "listen_addresses = '127.0.0.1'\nport = {}\nunix_socket_directories = '{folder}'\nssl = on\n\
             ssl_cert_file = '{folder}/server.pem'\nssl_key_file = '{folder}/server.key'\nfsync = off\n\
             max_connections = 60\nshared_buffers = 32MB\nlog_statement = all\nlog_min_messages = info\n\
             autovacuum = off\npassword_encryption = scram-sha-256\n",
            self.port
        );
        fs::write(self.folder.join("data/postgresql.conf"), conf).expect("postgresql.conf");
    }

    fn answers(&mut self) -> bool {
        let deadline = Instant::now() + Duration::from_secs(60);
        while Instant::now() < deadline {
            if self.psql_command("postgres", "SELECT 1").output().is_ok_and(|output| output.status.success()) {
                return true;
            }
            if self.server.as_mut().is_none_or(|child| child.try_wait().is_ok_and(|ended| ended.is_some())) {
                return false;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        false
    }

    /// Ends it as a loss of power would: all of its processes at once.
    pub fn kill(&mut self) {
        let Some(mut child) = self.server.take() else { return };
        let all = processes(child.id()).into_iter().map(|process| process.id.to_string());
        drop(Command::new("kill").arg("-KILL").args(all).output());
        drop(child.kill());
        drop(child.wait());
    }

    /// Time of processors that it took so far, with all of its processes.
    ///
    /// # Panics
    /// It does not run.
    #[must_use]
    pub fn cpu(&self) -> Duration {
        let own = self.server.as_ref().map(Child::id).expect("a server that runs");
        let ticks = processes(own).into_iter().map(|process| {
            let ended = if process.id == own { process.of_ended } else { 0 };
            process.ticks + ended
        });
        // Linux counts a hundred in a second.
        Duration::from_millis(ticks.sum::<u64>() * 10)
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The folder of its socket.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.folder
    }

    /// The certificate of the authority that vouches for `localhost`.
    #[must_use]
    pub fn authority(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    fn log_path(&self) -> PathBuf {
        self.folder.join("server.log")
    }

    /// All that the server logged: every statement among it.
    #[must_use]
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.log_path()).unwrap_or_default()).into_owned()
    }

    /// What a statement answers in a database, as the superuser: rows in lines, columns apart by `|`.
    ///
    /// # Panics
    /// The server refuses it.
    #[track_caller]
    pub fn psql(&self, database: &str, sql: &str) -> String {
        let output = self.psql_command(database, sql).output().expect("psql (Debian: postgresql-client)");
        assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text").trim_end().to_owned()
    }

    fn psql_command(&self, database: &str, sql: &str) -> Command {
        let mut command = Command::new("psql");
        command.env_clear().env("PATH", "/usr/bin:/bin").env("PGCONNECT_TIMEOUT", "5");
        command.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-d", database, "-c", sql]);
        command.arg("-p").arg(self.port.to_string()).arg("-h").arg(&self.folder);
        command
    }

    /// All roles, databases, schemas and grants, as PostgreSQL's own tools write them: to be
    /// compared with what they were.
    ///
    /// # Panics
    /// It cannot be dumped.
    #[must_use]
    pub fn dump(&self) -> String {
        let mut command = Command::new(program("pg_dumpall"));
        command.env_clear().env("PATH", "/usr/bin:/bin");
        command.args(["-U", "postgres", "-s", "-p"]).arg(self.port.to_string()).arg("-h").arg(&self.folder);
        let output = command.output().expect("pg_dumpall");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        // A key of newer dumps that is different each time.
        let text = String::from_utf8(output.stdout).expect("text");
        text.lines().filter(|line| !line.starts_with("\\restrict") && !line.starts_with("\\unrestrict")).fold(
            String::new(),
            |mut all, line| {
                all.push_str(line);
                all.push('\n');
                all
            },
        )
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A process, as `/proc` has it.
struct Process {
    id: u32,
    /// Ticks of processors that it took.
    ticks: u64,
    /// And those of its children that have ended.
    of_ended: u64,
}

/// A server's first process and its children: each of them leads a group of its own.
fn processes(first: u32) -> Vec<Process> {
    let read = |entry: fs::DirEntry| {
        let id = entry.file_name().to_str()?.parse().ok()?;
        let text = fs::read_to_string(entry.path().join("stat")).ok()?;
        // The name, which may hold anything, ends with the last parenthesis; state and parent follow.
        let fields: Vec<&str> = text.rsplit(')').next()?.split_whitespace().collect();
        let number = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok());
        let ours = id == first || number(1)? == u64::from(first);
        ours.then_some(Process { id, ticks: number(11)? + number(12)?, of_ended: number(13)? + number(14)? })
    };
    fs::read_dir("/proc").expect("/proc").flatten().filter_map(read).collect()
}

/// A program of the newest PostgreSQL that is installed.
fn program(name: &str) -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> =
        versions.map(|version| version.path().join("bin").join(name)).filter(|path| path.exists()).collect();
    found.sort();
    found.pop().unwrap_or_else(|| panic!("{name} (Debian: postgresql)"))
}
