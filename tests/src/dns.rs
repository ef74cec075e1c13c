//! A real DNS server for tests, knot or BIND: zones, a key and a port of its own, updates by
//! hand, and a relay that does something in the moment before an update arrives.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::netns::Netns;
use crate::owned::free_port;

/// The zone that it serves.
pub const ZONE: &str = "example.com";
/// What the server calls its key.
pub const KEY: &str = "tidelock";

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Make {
    /// Knot DNS.
    Knot,
    /// BIND 9.
    Bind,
}

impl Make {
    /// Both, for what is to be the same with each.
    pub const BOTH: [Self; 2] = [Self::Knot, Self::Bind];
}

/// A server whose files lie in a folder, ended when dropped.
#[derive(Debug)]
pub struct DnsServer {
    make: Make,
    folder: PathBuf,
    port: u16,
    secret: String,
    transfers: bool,
    /// The network namespace that it runs in, where that is not ours.
    space: Option<String>,
    server: Option<Child>,
}

impl DnsServer {
    /// Starts one in a folder, which is made. Its zone has a few records by hand.
    ///
    /// # Panics
    /// It is not installed, or does not start.
    #[must_use]
    pub fn start(make: Make, folder: &Path) -> Self {
        Self::with(make, folder, true, None)
    }

    /// The same where the key is let have updates alone, and no transfers.
    ///
    /// # Panics
    /// As [`DnsServer::start`].
    #[must_use]
    pub fn without_transfers(make: Make, folder: &Path) -> Self {
        Self::with(make, folder, false, None)
    }

    /// One on a machine of its own: it has port 53 there, on every address that the machine gets.
    ///
    /// # Panics
    /// As [`DnsServer::start`].
    #[must_use]
    pub fn on_machine(make: Make, folder: &Path, space: &Netns) -> Self {
        Self::with(make, folder, true, Some(space.name().to_owned()))
    }

    fn with(make: Make, folder: &Path, transfers: bool, space: Option<String>) -> Self {
        fs::create_dir_all(folder).expect("a folder for the server");
        let folder = folder.canonicalize().expect("a folder for the server");
        let zone = format!(
            "$ORIGIN {ZONE}.\n$TTL 3600\n@ SOA ns1 hostmaster 1 3600 600 86400 60\n@ NS ns1\nns1 A 127.0.0.1\n\
             Hand A 192.0.2.77\nalias CNAME Hand.Example.COM.\n"
        );
        fs::write(folder.join("example.com.zone"), zone).expect("a zone");
        let output = Command::new("openssl").args(["rand", "-base64", "32"]).output().expect("openssl");
        let secret = String::from_utf8(output.stdout).expect("text").trim().to_owned();
        let mut server = Self { make, folder, port: 53, secret, transfers, space, server: None };
        for attempt in 1.. {
            if server.space.is_none() {
                server.port = free_port();
            }
            if server.run() {
                break;
            }
            server.kill();
            // Somebody else may have taken the port.
            assert!(attempt < 5, "{make:?} does not start: {}", server.log());
        }
        server
    }

    fn run(&mut self) -> bool {
        let (folder, port, secret) = (self.folder.display(), self.port, &self.secret);
        let (knots, binds) = if self.space.is_some() { ("0.0.0.0", "any") } else { ("127.0.0.1", "127.0.0.1") };
        let (file, conf, program, arguments) = match self.make {
            Make::Knot => {
                let actions = if self.transfers { "update, transfer" } else { "update" };
                let conf = format!(
                    "server:\n  listen: {knots}@{port}\n  rundir: {folder}\ndatabase:\n  storage: {folder}\n\
                     log:\n  - target: stderr\n    any: info\n\
                     key:\n  - id: {KEY}\n    algorithm: hmac-sha256\n    secret: {secret}\n\
                     acl:\n  - id: {KEY}\n    key: {KEY}\n    action: [{actions}]\n\
                     zone:\n  - domain: {ZONE}\n    storage: {folder}\n    file: {ZONE}.zone\n    acl: {KEY}\n"
                );
                ("knot.conf", conf, "/usr/sbin/knotd", vec!["-c"])
            }
            Make::Bind => {
                let transfers = if self.transfers { format!("key {KEY};") } else { "none;".to_owned() };
                let conf = format!(
                    "options {{ directory \"{folder}\"; listen-on port {port} {{ {binds}; }}; \
                     listen-on-v6 {{ none; }}; pid-file \"{folder}/named.pid\"; session-keyfile \"{folder}/session.key\"; \
                     recursion no; dnssec-validation no; }};\ncontrols {{ }};\n\
                     key \"{KEY}\" {{ algorithm hmac-sha256; secret \"{secret}\"; }};\n\
                     zone \"{ZONE}\" {{ type primary; file \"{folder}/{ZONE}.zone\"; \
                     update-policy {{ grant {KEY} zonesub ANY; }}; allow-transfer {{ {transfers} }}; }};\n"
                );
                ("named.conf", conf, "/usr/sbin/named", vec!["-g", "-n", "2", "-c"])
            }
        };
        fs::write(self.folder.join(file), conf).expect("its config");
        let log = fs::File::options().create(true).append(true).open(self.log_path()).expect("a log");
        let mut command = on(self.space.as_deref(), program);
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/bin").current_dir(&self.folder);
        command.args(arguments).arg(self.folder.join(file));
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a log")).stderr(log);
        self.server = Some(command.spawn().unwrap_or_else(|error| panic!("{program} (Debian: knot, bind9): {error}")));
        let deadline = Instant::now() + Duration::from_secs(30);
        while Instant::now() < deadline {
            if self.server.as_mut().is_none_or(|child| child.try_wait().is_ok_and(|ended| ended.is_some())) {
                return false;
            }
            let listens = self.space.is_some() || TcpStream::connect(("127.0.0.1", self.port)).is_ok();
            if listens && self.dig(ZONE, "SOA").contains("ns1") {
                return true;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        false
    }

    fn kill(&mut self) {
        if let Some(mut child) = self.server.take() {
            drop(child.kill());
            drop(child.wait());
        }
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The secret of its key, in base64.
    #[must_use]
    pub fn secret(&self) -> &str {
        &self.secret
    }

    fn log_path(&self) -> PathBuf {
        self.folder.join("server.log")
    }

    /// All that it logged.
    #[must_use]
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.log_path()).unwrap_or_default()).into_owned()
    }

    fn key(&self) -> String {
        format!("hmac-sha256:{KEY}:{}", self.secret)
    }

    /// Does something by hand, in the words of `nsupdate`: `add www.example.com 300 A 192.0.2.1`.
    ///
    /// # Panics
    /// The server refuses it.
    #[track_caller]
    pub fn by_hand(&self, lines: &str) {
        by_hand(self.space.as_deref(), self.port, &self.key(), lines);
    }

    /// The same, to be done later by somebody who does not have the server.
    pub fn later(&self, lines: &str) -> impl FnOnce() + Send + 'static {
        let (space, port, key, lines) = (self.space.clone(), self.port, self.key(), lines.to_owned());
        move || by_hand(space.as_deref(), port, &key, &lines)
    }

    /// What it answers about one name and type, sorted.
    #[must_use]
    pub fn dig(&self, name: &str, kind: &str) -> String {
        let port = self.port.to_string();
        let key = self.key();
        let output = on(self.space.as_deref(), "dig")
            .args([
                "+tcp",
                "+noall",
                "+answer",
                "+time=2",
                "+tries=1",
                "@127.0.0.1",
                "-p",
                &port,
                "-y",
                &key,
                name,
                kind,
            ])
            .output()
            .expect("dig (Debian: bind9-dnsutils)");
        let text = String::from_utf8_lossy(&output.stdout).to_lowercase();
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        let mut lines: Vec<String> = text.lines().filter(|line| !line.starts_with(';')).map(words).collect();
        lines.sort();
        lines.join("\n")
    }

    /// The whole zone, without its SOA.
    #[must_use]
    pub fn zone(&self) -> String {
        self.dig(ZONE, "AXFR").lines().filter(|line| !line.contains(" soa ")).collect::<Vec<_>>().join("\n")
    }
}

impl Drop for DnsServer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A program where a server is, to be started.
fn on(space: Option<&str>, program: &str) -> Command {
    let Some(space) = space else { return Command::new(program) };
    let mut command = Command::new("ip");
    command.args(["netns", "exec", space, program]);
    command
}

#[track_caller]
fn by_hand(space: Option<&str>, port: u16, key: &str, lines: &str) {
    let lines: String = lines.lines().map(|line| format!("update {}\n", line.trim())).collect();
    let script = format!("server 127.0.0.1 {port}\nzone {ZONE}\n{lines}send\n");
    let mut child = on(space, "nsupdate")
        .args(["-v", "-y", key])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("nsupdate (Debian: bind9-dnsutils)");
    child.stdin.take().expect("its input").write_all(script.as_bytes()).expect("its input");
    let output = child.wait_with_output().expect("its end");
    assert!(output.status.success(), "{lines}{}", String::from_utf8_lossy(&output.stderr));
}

/// Whether a message is an update (RFC 2136, 2.2) with records in its third section.
fn is_update(message: &[u8]) -> bool {
    message.len() > 12 && (message[2] >> 3) & 0xf == 5 && message[8..10] != [0, 0]
}

/// Whether a message is a question for addresses.
fn is_question(message: &[u8]) -> bool {
    let end = message.iter().skip(12).position(|byte| *byte == 0).map_or(0, |at| 12 + at);
    message.len() > 12 && (message[2] >> 3) & 0xf == 0 && message.get(end + 1..end + 3) == Some(&[0, 1])
}

/// Stands before a server; does something once, in the moment before the first update that
/// changes something is handed on.
///
/// # Panics
/// No port is free.
#[must_use]
pub fn before_an_update(server: u16, act: impl FnOnce() + Send + 'static) -> u16 {
    before(server, is_update, act)
}

/// The same in the moment before the first question for addresses.
///
/// # Panics
/// As [`before_an_update`].
#[must_use]
pub fn before_a_question(server: u16, act: impl FnOnce() + Send + 'static) -> u16 {
    before(server, is_question, act)
}

fn before(server: u16, which: fn(&[u8]) -> bool, act: impl FnOnce() + Send + 'static) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let port = listener.local_addr().expect("a port").port();
    std::thread::spawn(move || {
        let act = Arc::new(Mutex::new(Some(act)));
        for client in listener.incoming() {
            let Ok(client) = client else { return };
            let Ok(upstream) = TcpStream::connect(("127.0.0.1", server)) else { return };
            let (mut answers, mut back) =
                (upstream.try_clone().expect("a socket"), client.try_clone().expect("a socket"));
            std::thread::spawn(move || {
                drop(std::io::copy(&mut answers, &mut back));
                drop(back.shutdown(std::net::Shutdown::Write));
            });
            let act = Arc::clone(&act);
            std::thread::spawn(move || hand_on(client, upstream, which, &act));
        }
    });
    port
}

/// Message by message, each with its length before it.
fn hand_on(
    mut client: TcpStream,
    mut upstream: TcpStream,
    which: fn(&[u8]) -> bool,
    act: &Mutex<Option<impl FnOnce()>>,
) {
    let mut length = [0; 2];
    while client.read_exact(&mut length).is_ok() {
        let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
        if client.read_exact(&mut message).is_err() {
            return;
        }
        let once = if which(&message) { act.lock().unwrap_or_else(PoisonError::into_inner).take() } else { None };
        if let Some(act) = once {
            act();
        }
        if upstream.write_all(&length).and_then(|()| upstream.write_all(&message)).is_err() {
            return;
        }
    }
}
