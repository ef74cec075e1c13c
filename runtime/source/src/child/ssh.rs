//! Fetching over SSH: OpenSSH's client with options that we choose, all of them, and what
//! its words mean when it fails.
//!
//! The client is started without a shell, an agent, a config or an environment. The fetch
//! child starts it through itself ([`become_client`]), so that the kernel ends the client
//! with the child: a client that waits for a silent server would outlive a killed child.

use std::ffi::OsString;
use std::io::Read as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use gix_transport::Protocol;
use gix_transport::client::git::ConnectMode;
use gix_transport::client::git::blocking_io::Connection;
use tidelock_model::error::tame;
use tidelock_model::port::SourceError;

use super::limits;
use crate::wire::{Request, Ssh};

/// The longest that a connection may take to come about, in seconds; less where the fetch
/// has less.
const CONNECT: u64 = 30;

/// How much is kept of what the client says, in bytes.
const MAX_SAID: u64 = 64 << 10;

/// How long a client that broke off may take to end by itself, and so to say why.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// The client's end of a fetch; killed when dropped.
pub(super) struct Client {
    process: Child,
    said: Option<JoinHandle<String>>,
}

/// Starts the client, and gives what speaks to the server's `git-upload-pack` through it.
pub(super) fn connect(
    request: &Request,
    ssh: &Ssh,
) -> Result<(Connection<ChildStdout, ChildStdin>, Client), SourceError> {
    let cannot = |error: std::io::Error| {
        SourceError::new("io", format!("cannot start {}: {error}", ssh.client.display()))
            .hint("apt-get install openssh-client")
    };
    let mut process = Command::new(&ssh.helper.file)
        .args(&ssh.helper.args)
        .arg(std::process::id().to_string())
        .arg(&ssh.client)
        .args(arguments(ssh, request.timeout))
        .env_clear()
        // Asks for version 2 of the protocol; a server that does not take it speaks another.
        .env("GIT_PROTOCOL", "version=2")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(cannot)?;
    let missing = || cannot(std::io::Error::other("no pipes"));
    let (stdin, stdout) = (process.stdin.take().ok_or_else(missing)?, process.stdout.take().ok_or_else(missing)?);
    let stderr = process.stderr.take().ok_or_else(missing)?;
    let said = std::thread::spawn(move || {
        let mut said = Vec::new();
        let mut stderr = stderr;
        let _ = stderr.by_ref().take(MAX_SAID).read_to_end(&mut said);
        // A pipe that nobody empties would stall a server that talks too much.
        let _ = std::io::copy(&mut stderr, &mut std::io::sink());
        String::from_utf8_lossy(&said).into_owned()
    });
    let transport = Connection::new(
        stdout,
        stdin,
        Protocol::V2,
        ssh.address.path.as_str(),
        None::<(String, Option<u16>)>,
        ConnectMode::Process,
        false,
    );
    Ok((transport, Client { process, said: Some(said) }))
}

/// What the started program does: sees to it that it dies with the fetch child, and
/// becomes the client. `args` are the child's process id, the client, and its arguments.
pub(super) fn become_client(args: &[OsString]) -> ExitCode {
    let [parent, client, rest @ ..] = args else { return ExitCode::from(64) };
    let parent = parent.to_str().and_then(|id| id.parse::<i32>().ok());
    // The child may have died before the kernel was told.
    if limits::die_with_parent().is_err() || parent != Some(nix::unistd::getppid().as_raw()) {
        return ExitCode::FAILURE;
    }
    let error = Command::new(client).args(rest).exec();
    // The child reads it, and tells it as the client's own words.
    let _ = std::io::Write::write_all(&mut std::io::stderr(), format!("{error}\n").as_bytes());
    ExitCode::FAILURE
}

/// Every option that has a say in whom we believe, what we show and what is opened.
/// Nothing is left to a config or a default of the system.
fn arguments(ssh: &Ssh, timeout: u64) -> Vec<OsString> {
    let file = |name: &str, path: &std::path::Path| format!("{name}=\"{}\"", path.display());
    let options = [
        "BatchMode=yes".to_owned(),
        "StrictHostKeyChecking=yes".to_owned(),
        file("UserKnownHostsFile", &ssh.known_hosts),
        "GlobalKnownHostsFile=none".to_owned(),
        "KnownHostsCommand=none".to_owned(),
        "VerifyHostKeyDNS=no".to_owned(),
        "UpdateHostKeys=no".to_owned(),
        "CanonicalizeHostname=no".to_owned(),
        "IdentitiesOnly=yes".to_owned(),
        file("IdentityFile", &ssh.key),
        "IdentityAgent=none".to_owned(),
        "CertificateFile=none".to_owned(),
        "PKCS11Provider=none".to_owned(),
        "AddKeysToAgent=no".to_owned(),
        "PreferredAuthentications=publickey".to_owned(),
        "PubkeyAuthentication=yes".to_owned(),
        "PasswordAuthentication=no".to_owned(),
        "KbdInteractiveAuthentication=no".to_owned(),
        "HostbasedAuthentication=no".to_owned(),
        "GSSAPIAuthentication=no".to_owned(),
        "ForwardAgent=no".to_owned(),
        "ForwardX11=no".to_owned(),
        "ClearAllForwardings=yes".to_owned(),
        "Tunnel=no".to_owned(),
        "PermitLocalCommand=no".to_owned(),
        "ControlMaster=no".to_owned(),
        "ControlPath=none".to_owned(),
        "ProxyCommand=none".to_owned(),
        "ProxyJump=none".to_owned(),
        "RequestTTY=no".to_owned(),
        "EscapeChar=none".to_owned(),
        "SendEnv=GIT_PROTOCOL".to_owned(),
        "ConnectionAttempts=1".to_owned(),
        format!("ConnectTimeout={}", timeout.saturating_sub(1).clamp(1, CONNECT)),
        // Errors alone: at any lower level the server's banner stands among them.
        "LogLevel=ERROR".to_owned(),
    ];
    let address = &ssh.address;
    let mut arguments: Vec<OsString> = ["-F", "none", "-T", "-a", "-x"].map(OsString::from).to_vec();
    for option in options {
        arguments.extend(["-o".into(), option.into()]);
    }
    arguments.extend(["-p".into(), address.port.unwrap_or(22).to_string().into()]);
    arguments.extend(["-l".into(), address.user.clone().into(), "--".into(), address.host.clone().into()]);
    arguments.push(format!("git-upload-pack {}", quoted(&address.path)).into());
    arguments
}

/// One word for the shell that the server gives the command to.
fn quoted(path: &str) -> String {
    format!("'{}'", path.replace('\'', r"'\''"))
}

impl Client {
    /// What the client said on its way out; empty where it is still at work.
    fn last_words(&mut self) -> String {
        let deadline = Instant::now() + LAST_WORDS;
        while Instant::now() < deadline {
            match self.process.try_wait() {
                Ok(None) => std::thread::sleep(Duration::from_millis(10)),
                Ok(Some(_)) | Err(_) => break,
            }
        }
        self.end();
        self.said.take().and_then(|said| said.join().ok()).unwrap_or_default()
    }

    fn end(&mut self) {
        // An error means that it is gone already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// Names what went wrong, by what the client says; `None` where it says nothing.
    pub(super) fn explain(mut self, request: &Request, ssh: &Ssh) -> Option<SourceError> {
        let said = self.last_words();
        (!said.trim().is_empty()).then(|| name(&said, request, ssh))
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.end();
    }
}

/// OpenSSH gives one exit code for all that goes wrong, so its words decide. They are
/// English everywhere; the default is the mildest: not reached.
fn name(said: &str, request: &Request, ssh: &Ssh) -> SourceError {
    let text = tame(said.trim(), 1000).replace('\n', "; ");
    let low = text.to_ascii_lowercase();
    let has = |parts: &[&str]| parts.iter().any(|part| low.contains(part));
    let (url, known, hosts) = (&request.url, ssh.address.known_as(), ssh.known_hosts.display());
    if has(&["host identification has changed", "revoked"]) {
        return SourceError::new(
            "host-key",
            format!("{url}: the host key of {known} is not the one in {hosts}: the server was set up anew, or somebody stands in its place"),
        )
        .hint(format!(
            "ask who runs the server before anything else; if its new key is right: ssh-keygen -R '{known}' -f {hosts}, and add the new one"
        ));
    }
    if has(&["host key is known", "host key verification failed"]) {
        let port = ssh.address.port.map(|port| format!("-p {port} ")).unwrap_or_default();
        return SourceError::new("host-key", format!("{url}: {hosts} holds no host key of {known}")).hint(format!(
            "ssh-keyscan {port}{} prints what the server shows; compare it with what its owner says, and add it to {hosts}",
            ssh.address.host
        ));
    }
    if has(&["load key", "unprotected private key", "bad permissions"]) {
        return SourceError::new("auth", format!("{url}: ssh.key {} cannot be used: {text}", ssh.key.display())).hint(
            "a private key as ssh-keygen makes it is expected, without a passphrase and for nobody else to read",
        );
    }
    if has(&["permission denied", "too many authentication failures"]) {
        let user = &ssh.address.user;
        let key = ssh.key.display();
        return SourceError::new("auth", format!("{url}: the server does not let {user} in with the key {key}"))
            .hint("check that its public half may read this repository there, and that it has no passphrase");
    }
    if has(&["does not appear to be a git repository", "repository not found", "no such repository"]) {
        return SourceError::new("not-found", format!("there is no repository at {url}: {text}"))
            .hint("check the path; user@host:path starts at the user's home, ssh://user@host/path at the root");
    }
    if has(&["timed out"]) {
        return SourceError::new("timeout", format!("{url} did not answer in time: {text}"))
            .hint("look at the server and at what lies between")
            .retryable();
    }
    SourceError::new("unreachable", format!("{url} cannot be reached: {text}"))
        .hint("check the address, the network, and that an SSH server with Git answers there")
        .retryable()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::location::Address;
    use crate::wire::Program;

    fn ssh() -> Ssh {
        Ssh {
            client: "/usr/bin/ssh".into(),
            helper: Program { file: "/bin/tidelock".into(), args: vec!["fetch-child".into()] },
            address: Address {
                user: "git".into(),
                host: "host".into(),
                port: Some(2222),
                path: "/it's; $(here)".into(),
            },
            key: "/etc/tide lock/key".into(),
            known_hosts: "/etc/tide lock/hosts".into(),
        }
    }

    #[test]
    fn the_command_line_leaves_nothing_to_others() {
        let arguments: Vec<String> =
            arguments(&ssh(), 120).into_iter().map(|word| word.into_string().unwrap()).collect();
        assert_eq!(arguments[..2], ["-F", "none"]);
        for option in
            ["StrictHostKeyChecking=yes", "IdentityFile=\"/etc/tide lock/key\"", "ConnectTimeout=30", "ForwardAgent=no"]
        {
            assert!(arguments.iter().any(|word| word == option), "{option}");
        }
        let end = &arguments[arguments.len() - 7..];
        assert_eq!(end, ["-p", "2222", "-l", "git", "--", "host", r"git-upload-pack '/it'\''s; $(here)'"]);
        assert!(self::arguments(&ssh(), 3).contains(&"ConnectTimeout=2".into()));
    }

    #[test]
    fn what_the_client_says_has_a_name() {
        let request = Request { url: "ssh://git@host:2222/x".into(), ..Request::default() };
        for (said, code) in [
            ("@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nHost key verification failed.", "host-key"),
            ("No ED25519 host key is known for [host]:2222 and you have requested strict checking.", "host-key"),
            ("git@host: Permission denied (publickey).", "auth"),
            ("Load key \"/etc/key\": error in libcrypto\ngit@host: Permission denied (publickey).", "auth"),
            ("ssh: connect to host host port 22: Connection refused", "unreachable"),
            ("Connection timed out during banner exchange", "timeout"),
            ("ssh: Could not resolve hostname host: Name or service not known", "unreachable"),
            ("fatal: '/x' does not appear to be a git repository", "not-found"),
            ("bash: line 1: git-upload-pack: command not found", "unreachable"),
        ] {
            let error = name(said, &request, &ssh());
            assert_eq!(error.code, code, "{said}");
            assert!(error.hint.is_some());
        }
        let changed = name("REMOTE HOST IDENTIFICATION HAS CHANGED", &request, &ssh());
        assert!(changed.hint.unwrap().contains("ssh-keygen -R '[host]:2222'"));
    }
}
