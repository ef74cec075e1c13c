//! A real MariaDB server for tests: a data directory, port, socket and certificates of its
//! own, and a log that says every statement.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::owned::{as_user, free_port, give, run};
use crate::tls::certificates;

/// The user who may do anything over TCP, and the password.
pub const USER: &str = "admin";
/// See [`USER`].
pub const PASSWORD: &str = "the admins own";

/// A server whose files lie in a folder, ended when dropped.
#[derive(Debug)]
pub struct MariaDb {
    folder: PathBuf,
    port: u16,
    server: Option<Child>,
}

impl MariaDb {
    /// Makes a server in a folder, which is made, and starts it. Over TCP [`USER`] signs in with
    /// TLS alone; over its socket `root` needs no password.
    ///
    /// # Panics
    /// MariaDB is not installed, or does not start.
    #[must_use]
    pub fn start(folder: &Path) -> Self {
        fs::create_dir_all(folder).expect("a folder for the server");
        let folder = folder.canonicalize().expect("a folder for the server");
        certificates("localhost", &folder);
        let data = folder.join("data");
        // A server that starts removes what looks like its own temporary files, others' among them.
        let own = folder.join("tmp");
        fs::create_dir(&own).expect("a folder for temporary files");
        give(&folder, "mysql");
        run(as_user("mysql", Path::new("/usr/bin/mariadb-install-db"))
            .env("TMPDIR", own)
            .args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"])
            .arg(format!("--datadir={}", data.display())));
        let mut server = Self { folder, port: 0, server: None };
        server.restart();
        server.sql(&format!(
            "CREATE USER {USER}@'127.0.0.1' IDENTIFIED BY '{PASSWORD}' REQUIRE SSL; \
             GRANT ALL PRIVILEGES ON *.* TO {USER}@'127.0.0.1' WITH GRANT OPTION"
        ));
        server
    }

    /// Starts it with what its files say now; on the port that it had, if it had one.
    ///
    /// # Panics
    /// It does not start.
    pub fn restart(&mut self) {
        self.kill();
        for attempt in 1.. {
            if self.port == 0 || attempt > 1 {
                self.port = free_port();
            }
            let at = |name: &str| self.folder.join(name).display().to_string();
            let log = fs::File::options().create(true).append(true).open(self.folder.join("error.log")).expect("a log");
            let child = as_user("mysql", Path::new("/usr/sbin/mariadbd"))
                .env("TMPDIR", self.folder.join("tmp"))
                .args(["--no-defaults", "--bind-address=127.0.0.1", "--skip-name-resolve", "--general-log"])
                .args(["--innodb-buffer-pool-size=16M", "--innodb-flush-log-at-trx-commit=0", "--max-connections=60"])
                .arg(format!("--port={}", self.port))
                .arg(format!("--datadir={}", at("data")))
                .arg(format!("--socket={}", at("socket")))
                .arg(format!("--pid-file={}", at("pid")))
                .arg(format!("--general-log-file={}", at("server.log")))
                .arg(format!("--ssl-cert={}", at("server.pem")))
                .arg(format!("--ssl-key={}", at("server.key")))
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
            let said = fs::read_to_string(self.folder.join("error.log")).unwrap_or_default();
            assert!(attempt < 5, "MariaDB does not start: {said}");
        }
    }

    fn answers(&mut self) -> bool {
        let deadline = Instant::now() + Duration::from_secs(60);
        while Instant::now() < deadline {
            if self.client("SELECT 1").output().is_ok_and(|output| output.status.success()) {
                return true;
            }
            if self.server.as_mut().is_none_or(|child| child.try_wait().is_ok_and(|ended| ended.is_some())) {
                return false;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        false
    }

    /// Ends it as a loss of power would.
    pub fn kill(&mut self) {
        let Some(mut child) = self.server.take() else { return };
        drop(child.kill());
        drop(child.wait());
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The certificate of the authority that vouches for `localhost`.
    #[must_use]
    pub fn authority(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// All that the server logged: every statement among it.
    #[must_use]
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.folder.join("server.log")).unwrap_or_default()).into_owned()
    }

    /// What statements answer, as `root`: rows in lines, columns apart by tabs.
    ///
    /// # Panics
    /// The server refuses one.
    #[track_caller]
    pub fn sql(&self, sql: &str) -> String {
        let output = self.client(sql).output().expect("mariadb (Debian: mariadb-client)");
        assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text").trim_end().to_owned()
    }

    /// Whether somebody signs in over TCP, with TLS, with a password.
    #[must_use]
    pub fn signs_in(&self, user: &str, password: &str) -> bool {
        let mut command = Command::new("mariadb");
        command.env_clear().env("PATH", "/usr/bin:/bin").env("MYSQL_PWD", password);
        command.args(["--no-defaults", "--protocol=tcp", "-h", "127.0.0.1", "--ssl", "-u", user, "-e", "SELECT 1"]);
        command.arg(format!("--port={}", self.port)).arg(format!("--ssl-ca={}", self.authority().display()));
        command.stdin(Stdio::null()).output().expect("mariadb (Debian: mariadb-client)").status.success()
    }

    fn client(&self, sql: &str) -> Command {
        let mut command = Command::new("mariadb");
        command.env_clear().env("PATH", "/usr/bin:/bin");
        command.args(["--no-defaults", "--default-character-set=utf8mb4", "-u", "root", "-N", "-B", "-r", "-e", sql]);
        command.arg(format!("--socket={}", self.folder.join("socket").display()));
        command
    }

    /// All databases, accounts and grants, to be compared with what they were.
    #[must_use]
    pub fn state(&self) -> String {
        let mut out = self.sql(
            "SELECT table_schema, table_name FROM information_schema.tables ORDER BY 1, 2; \
             SELECT * FROM mysql.global_priv ORDER BY 1, 2; SELECT * FROM mysql.db ORDER BY 1, 2, 3; \
             SELECT * FROM mysql.tables_priv ORDER BY 1, 2, 3, 4; SELECT * FROM mysql.roles_mapping ORDER BY 1, 2, 3",
        );
        out.push_str(&self.sql("SHOW GLOBAL VARIABLES LIKE 'general_log%'"));
        out
    }
}

impl Drop for MariaDb {
    fn drop(&mut self) {
        self.kill();
    }
}
