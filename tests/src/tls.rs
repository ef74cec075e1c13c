//! TLS in front of a server of the loopback, with an authority that nobody knows but who is
//! given its file. The real `socat` speaks it, and `openssl` makes the certificates.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::owned::free_port;

/// A port that speaks TLS for a name, until dropped.
#[derive(Debug)]
pub struct Tls {
    port: u16,
    authority: PathBuf,
    server: Child,
}

impl Tls {
    /// Stands before a port, as a server of this name. Its files lie in a folder, which is made.
    ///
    /// # Panics
    /// `openssl` or `socat` does not do its part.
    #[must_use]
    pub fn before(server: u16, name: &str, folder: &Path) -> Self {
        certificates(name, folder);
        let port = free_port();
        let child = Command::new("socat")
            .arg(format!("OPENSSL-LISTEN:{port},bind=127.0.0.1,reuseaddr,fork,cert=server.pem,key=server.key,verify=0"))
            .arg(format!("TCP:127.0.0.1:{server}"))
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("socat (Debian: socat)");
        let tls = Self { port, authority: folder.join("ca.pem"), server: child };
        let deadline = Instant::now() + Duration::from_secs(30);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "socat does not answer");
            std::thread::sleep(Duration::from_millis(10));
        }
        tls
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The authority's certificate.
    #[must_use]
    pub fn authority(&self) -> &Path {
        &self.authority
    }
}

/// Makes an authority (`ca.pem`) and the certificate of a server of this name (`server.pem`,
/// `server.key`) in a folder, which is made.
///
/// # Panics
/// `openssl` does not do its part.
pub fn certificates(name: &str, folder: &Path) {
    fs::create_dir_all(folder).expect("a folder for certificates");
    let new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"];
    let made = |arguments: &[&str]| {
        let output = Command::new("openssl")
            .args(["req", "-x509"])
            .args(new)
            .args(arguments)
            .current_dir(folder)
            .output()
            .expect("openssl (Debian: openssl)");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    made(&["-subj", "/CN=An authority of the tests", "-keyout", "ca.key", "-out", "ca.pem"]);
    let alternative = format!("subjectAltName=DNS:{name}");
    made(&[
        "-CA",
        "ca.pem",
        "-CAkey",
        "ca.key",
        "-subj",
        "/CN=A server of the tests",
        "-addext",
        &alternative,
        "-addext",
        "basicConstraints=critical,CA:FALSE",
        "-keyout",
        "server.key",
        "-out",
        "server.pem",
    ]);
}

impl Drop for Tls {
    fn drop(&mut self) {
        // One that is gone already cannot be killed.
        drop(self.server.kill());
        drop(self.server.wait());
    }
}
