//! The real `git daemon` on a free port of the loopback.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::owned::free_port;

/// Every repository below a folder over `git://`, served until dropped.
#[derive(Debug)]
pub struct GitDaemon {
    port: u16,
    server: Child,
}

impl GitDaemon {
    /// Serves the repositories below `root`.
    ///
    /// # Panics
    /// It does not start.
    #[must_use]
    pub fn serve(root: &Path) -> Self {
        let port = free_port();
        // Without `git` before it, which would leave it running when killed.
        let server = Command::new(exec_path().join("git-daemon"))
            .args(["--listen=127.0.0.1", "--reuseaddr", "--export-all", "--informative-errors"])
            .arg(format!("--port={port}"))
            .arg(format!("--base-path={}", root.display()))
            .arg(root)
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("git daemon (Debian: git)");
        let deadline = Instant::now() + Duration::from_secs(30);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "git daemon does not answer");
            std::thread::sleep(Duration::from_millis(10));
        }
        Self { port, server }
    }

    /// The address of the folder; a repository's path follows.
    #[must_use]
    pub fn url(&self) -> String {
        format!("git://127.0.0.1:{}", self.port)
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for GitDaemon {
    fn drop(&mut self) {
        // One that is gone already cannot be killed.
        drop(self.server.kill());
        drop(self.server.wait());
    }
}

fn exec_path() -> PathBuf {
    let output = Command::new("git").arg("--exec-path").output().expect("git runs");
    PathBuf::from(String::from_utf8_lossy(&output.stdout).trim())
}
