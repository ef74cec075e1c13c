//! A real OpenSSH server for tests, on a free port of the loopback, with a config, host
//! key and list of users' keys of its own.
//!
//! It lets in the user who runs the tests, by key alone, and gives commands an environment
//! that is the same on every machine.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::owned::free_port;

/// A server with its files in a folder, ended when dropped.
#[derive(Debug)]
pub struct SshServer {
    folder: PathBuf,
    port: u16,
    user: String,
    server: Child,
}

impl SshServer {
    /// Starts a server whose files lie in a folder, which is made. Keys are let in once
    /// they were [`SshServer::allow`]ed.
    ///
    /// # Panics
    /// There is no server on this system, or it does not start.
    #[must_use]
    pub fn start(folder: &Path) -> Self {
        fs::create_dir_all(folder).expect("a folder for the server");
        let user = said(Command::new("id").arg("-un"));
        let mut server = Self { folder: folder.to_owned(), port: free_port(), user, server: nothing() };
        server.new_host_key();
        fs::write(folder.join("authorized_keys"), "").expect("a list of keys");
        server.restart();
        server
    }

    /// A URL of a path on this machine, as the server sees it.
    #[must_use]
    pub fn url(&self, path: &Path) -> String {
        format!("ssh://{}@127.0.0.1:{}{}", self.user, self.port, path.display())
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Lets in whoever holds the private half of a key.
    pub fn allow(&self, public: &str) {
        fs::write(self.folder.join("authorized_keys"), format!("{public}\n")).expect("a list of keys");
    }

    /// The server's line of `known_hosts`.
    #[must_use]
    pub fn known_host(&self) -> String {
        let public = fs::read_to_string(self.folder.join("host_key.pub")).expect("a host key");
        let key: Vec<&str> = public.split(' ').take(2).collect();
        format!("[127.0.0.1]:{} {}\n", self.port, key.join(" "))
    }

    /// Makes another host key; a running server shows it after a [`SshServer::restart`].
    pub fn new_host_key(&self) {
        drop(fs::remove_file(self.folder.join("host_key")));
        keygen(&self.folder.join("host_key"));
    }

    /// Ends the server, so that nobody answers on its port.
    pub fn stop(&mut self) {
        // One that is gone already cannot be killed. What it serves ends with it.
        drop(self.server.kill());
        drop(self.server.wait());
    }

    /// Starts it on the same port, with what its files say now.
    pub fn restart(&mut self) {
        self.stop();
        let folder = self.folder.display();
        let path = std::env::var("PATH").unwrap_or_else(|_| "/usr/local/bin:/usr/bin:/bin".to_owned());
        let config = format!(
            "Port {}\nListenAddress 127.0.0.1\nHostKey {folder}/host_key\nAuthorizedKeysFile {folder}/authorized_keys\n\
             PidFile none\nUsePAM no\nStrictModes no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n\
             PermitRootLogin prohibit-password\nLogLevel VERBOSE\nAcceptEnv GIT_PROTOCOL\n\
             SetEnv PATH={path} GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null\n",
            self.port
        );
        fs::write(self.folder.join("sshd_config"), config).expect("a config");
        // Where it runs as root it puts the part that talks to strangers into this folder.
        drop(fs::create_dir_all("/run/sshd"));
        let mut command = Command::new(program());
        command.args(["-D", "-e", "-f"]).arg(self.folder.join("sshd_config"));
        let log = fs::File::options().create(true).append(true).open(self.folder.join("log")).expect("a log");
        self.server =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().expect("a server that starts");
        let deadline = Instant::now() + Duration::from_secs(30);
        while !answers(self.port) {
            if let Some(ended) = self.server.try_wait().expect("its state") {
                panic!("the server ended at once ({ended}):\n{}", self.log());
            }
            assert!(Instant::now() < deadline, "the server does not answer:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// What it logged.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// How many times somebody came.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.log().matches("Connection from ").count()
    }

    /// How many times somebody was let in.
    #[must_use]
    pub fn accepted(&self) -> usize {
        self.log().matches("Accepted publickey").count()
    }
}

impl Drop for SshServer {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Makes a key pair without a passphrase, and gives the line of its public half.
///
/// # Panics
/// `ssh-keygen` does not run.
#[must_use]
pub fn client_key(private: &Path) -> String {
    keygen(private);
    let public = fs::read_to_string(private.with_extension("pub")).expect("a public key");
    public.trim().to_owned()
}

fn keygen(private: &Path) {
    said(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", "", "-f"]).arg(private));
    fs::set_permissions(private, fs::Permissions::from_mode(0o600)).expect("a private key");
}

/// The server's program, which insists on being called by its full path.
fn program() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/usr/local/sbin".into()])
        .map(|folder| folder.join("sshd"))
        .find(|file| file.is_file())
        .expect("sshd (Debian: openssh-server)")
}

/// Whether a server shows itself there. One that we have asked to leave may still hold the
/// port for a moment, but it says nothing.
fn answers(port: u16) -> bool {
    let Ok(stream) = TcpStream::connect(("127.0.0.1", port)) else { return false };
    drop(stream.set_read_timeout(Some(Duration::from_secs(5))));
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).is_ok() && line.starts_with("SSH-")
}

/// A child that has ended, for the time before the first server.
fn nothing() -> Child {
    Command::new("true").spawn().expect("true runs")
}

fn said(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().expect("a program that runs");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
