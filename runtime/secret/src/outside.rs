//! What the operator's config names: a variable, a file, or a command.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tidelock_model::config::SecretDecl;
use tidelock_model::error::{Fault, tame};
use tidelock_model::secret::{SecretName, SecretValue};
use tokio::io::AsyncReadExt as _;
use tokio::process::Command;
use zeroize::Zeroizing;

use crate::{MAX_VALUE, private, refused, unreadable, value};

/// A password store that asks a person, or the network, is given this long.
const COMMAND_TIME: Duration = Duration::from_secs(20);
/// What the reader asks for beyond what there can be, in bytes.
const SPARE: usize = 64;
/// What is shown of a command's complaint.
const COMPLAINT: usize = 300;
/// Variables that every command is given.
const ENVIRONMENT: [&str; 3] = ["PATH", "HOME", "LANG"];

/// Reads a value as its declaration says.
pub(crate) async fn read(name: &SecretName, decl: &SecretDecl) -> Result<SecretValue, Fault> {
    let bytes = match (&decl.env, &decl.file, &decl.command) {
        (Some(variable), None, None) => environment(name, variable)?,
        (None, Some(path), None) => file(name, Path::new(path))?,
        (None, None, Some(argv)) => command(name, argv, &decl.command_env).await?,
        _ => return Err(unreadable(name, "the config must give it one of `env`, `file` and `command`")),
    };
    value(name, if decl.exact { bytes } else { trimmed(bytes) })
}

/// Without the one line end that editors and programs add.
fn trimmed(mut bytes: Vec<u8>) -> Vec<u8> {
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
    }
    bytes
}

fn environment(name: &SecretName, variable: &str) -> Result<Vec<u8>, Fault> {
    use std::os::unix::ffi::OsStringExt as _;
    let found = std::env::var_os(variable).ok_or_else(|| {
        unreadable(name, format_args!("the environment variable {variable} is not set"))
            .hint(format!("export {variable} before tidelock starts"))
    })?;
    Ok(found.into_vec())
}

fn file(name: &SecretName, path: &Path) -> Result<Vec<u8>, Fault> {
    // The value takes the bytes over, and wipes them.
    private::read(path, MAX_VALUE).map(|mut bytes| std::mem::take(&mut *bytes)).map_err(|why| refused(name, &why))
}

async fn command(name: &SecretName, argv: &[String], allowed: &[String]) -> Result<Vec<u8>, Fault> {
    let Some((program, words)) = argv.split_first().filter(|(program, _)| program.starts_with('/')) else {
        return Err(unreadable(name, "its command does not begin with the absolute path of a program"));
    };
    let given = ENVIRONMENT.into_iter().chain(allowed.iter().map(String::as_str));
    let given = given.filter_map(|variable| Some((variable, std::env::var_os(variable)?)));
    let mut child = Command::new(program)
        .args(words)
        .env_clear()
        .envs(given)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| unreadable(name, format_args!("{program}: {error}")))?;
    let (Some(out), Some(complaint)) = (child.stdout.take(), child.stderr.take()) else {
        return Err(unreadable(name, format_args!("{program} has no output")));
    };
    let ended = tokio::time::timeout(COMMAND_TIME, async {
        // Room for all of it: what moves leaves a copy behind.
        let (mut bytes, mut said) = (Zeroizing::new(Vec::with_capacity(MAX_VALUE + SPARE)), Vec::new());
        let (mut out, mut complaint) = (out.take(MAX_VALUE as u64 + 1), complaint.take(64 << 10));
        // Each is closed once enough of it is read: a full pipe that nobody reads would keep it from ending,
        // and the other from being read to its end.
        let printed = async {
            let read = out.read_to_end(&mut bytes).await;
            drop(out);
            read
        };
        let complained = async {
            let read = complaint.read_to_end(&mut said).await;
            drop(complaint);
            read
        };
        let (read, _) = tokio::join!(printed, complained);
        read?;
        child.wait().await.map(|status| (status, bytes, said))
    });
    let (status, bytes, said) = match ended.await {
        Err(_) => {
            return Err(
                unreadable(name, format_args!("{program} did not end in {} s", COMMAND_TIME.as_secs())).retryable()
            );
        }
        Ok(Err(error)) => return Err(unreadable(name, format_args!("{program}: {error}"))),
        Ok(Ok(ended)) => ended,
    };
    if bytes.len() > MAX_VALUE {
        return Err(unreadable(name, format_args!("{program} prints more than {MAX_VALUE} bytes")));
    }
    if !status.success() {
        // Its output may hold the value; what it complains about should not.
        let said = tame(String::from_utf8_lossy(&said).trim(), COMPLAINT);
        let said = if said.is_empty() { String::new() } else { format!(": {said}") };
        return Err(unreadable(name, format_args!("{program} ended with {status}{said}")));
    }
    Ok(bytes.to_vec())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn decl(command: &[&str]) -> SecretDecl {
        let command = Some(command.iter().map(ToString::to_string).collect());
        SecretDecl { command, ..SecretDecl::default() }
    }

    async fn reads(decl: &SecretDecl) -> Result<Vec<u8>, Fault> {
        read(&"db".parse().unwrap(), decl).await.map(|value| value.reveal().to_vec())
    }

    #[tokio::test]
    async fn a_command_prints_the_value_and_knows_little() {
        assert_eq!(reads(&decl(&["/bin/echo", "hunter2"])).await.unwrap(), b"hunter2");
        let exact = SecretDecl { exact: true, ..decl(&["/bin/echo", "hunter2"]) };
        assert_eq!(reads(&exact).await.unwrap(), b"hunter2\n");
        let environment = String::from_utf8(reads(&decl(&["/usr/bin/env"])).await.unwrap()).unwrap();
        for line in environment.lines() {
            let name = line.split('=').next().unwrap();
            assert!(ENVIRONMENT.contains(&name), "{name} was given to the command");
        }
    }

    #[tokio::test]
    async fn a_command_that_fails_says_so_without_its_output() {
        let failing = decl(&["/bin/sh", "-c", "echo hunter2; echo locked >&2; exit 3"]);
        let fault = reads(&failing).await.unwrap_err();
        assert!(fault.message.contains("exit status: 3: locked"), "{fault}");
        assert!(!fault.message.contains("hunter2"), "{fault}");
        for (command, why) in
            [(&["/no/such"][..], "No such file"), (&["echo"], "absolute path"), (&["/bin/true"], "empty")]
        {
            let fault = reads(&decl(command)).await.unwrap_err();
            assert!(fault.message.contains(why), "{fault}");
        }
    }

    #[tokio::test]
    async fn a_flood_is_cut_off() {
        let began = std::time::Instant::now();
        let fault = reads(&decl(&["/bin/cat", "/dev/zero"])).await.unwrap_err();
        assert!(fault.message.contains("prints more than"), "{fault}");
        assert!(began.elapsed() < COMMAND_TIME, "it was waited for");
    }

    #[tokio::test]
    async fn a_file_is_one_that_others_cannot_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db");
        std::fs::write(&path, "hunter2\r\n").unwrap();
        let decl = SecretDecl { file: Some(path.display().to_string()), ..SecretDecl::default() };
        for (mode, good) in [(0o600, true), (0o644, false)] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            match reads(&decl).await {
                Ok(value) => assert!(good && value == b"hunter2", "{mode:o}"),
                Err(fault) => assert!(!good && fault.message.contains("open to others"), "{mode:o}: {fault}"),
            }
        }
        let missing = SecretDecl { file: Some("/no/such".into()), ..SecretDecl::default() };
        assert!(reads(&missing).await.unwrap_err().message.contains("/no/such"));
        let variable = SecretDecl { env: Some("TIDELOCK_TEST_NEVER_SET".into()), ..SecretDecl::default() };
        assert!(reads(&variable).await.unwrap_err().message.contains("not set"));
        assert!(reads(&SecretDecl::default()).await.unwrap_err().message.contains("one of"));
    }
}
