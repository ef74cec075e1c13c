//! Fetches over SSH, from a real OpenSSH server and from what only looks like one.

use std::fs::Permissions;
use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use tidelock_model::config::{SourceDecl, SourceLimits, SshDecl};
use tidelock_model::port::Want;
use tidelock_model::revision::SourceNotice;

use crate::fixture::{Fixture, refused, says};
use crate::ssh_server::{SshServer, client_key};

fn over(url: String) -> SourceDecl {
    let ssh = SshDecl { key: "deploy_key".into(), known_hosts: "known_hosts".into() };
    SourceDecl { url, ssh: Some(ssh), timeout: Some(60), ..SourceDecl::default() }
}

/// A repository, a server that lets our key in, and the source between them.
fn served() -> (Fixture, SshServer, SourceDecl) {
    let fixture = Fixture::with(&[("a", "1"), ("envs/stack.yaml", "name: x")]);
    let server = SshServer::start(&fixture.path("sshd"));
    server.allow(&client_key(&fixture.path("deploy_key")));
    known(&fixture, &server);
    let decl = over(server.url(&fixture.repo()));
    (fixture, server, decl)
}

fn known(fixture: &Fixture, server: &SshServer) {
    std::fs::write(fixture.path("known_hosts"), server.known_host()).unwrap();
    std::fs::set_permissions(fixture.path("known_hosts"), Permissions::from_mode(0o644)).unwrap();
}

#[test]
fn a_server_is_asked_once_and_a_commit_comes_once() {
    let (fixture, server, decl) = served();
    let first = fixture.fetch(&decl, None).unwrap();
    assert_eq!(first.tree.read("a").unwrap().as_deref(), Some(b"1".as_slice()));
    assert_eq!(first.tree.stacks().unwrap(), ["envs"]);
    assert_eq!(server.accepted(), 1);

    let again = fixture.fetch(&decl, Some(&first.revision)).unwrap();
    assert_eq!((again.revision, server.accepted()), (first.revision.clone(), 2));

    let second = fixture.commit(&[("a", "2")], "second");
    let fetched = fixture.fetch(&decl, Some(&first.revision)).unwrap();
    assert_eq!((fetched.revision.id, server.accepted()), (second.clone(), 3));
    assert_eq!(fetched.tree.read("a").unwrap().as_deref(), Some(b"2".as_slice()));

    // A commit that is there is not asked for again.
    fixture.take(&decl, &Want::Rev(second), None).unwrap();
    assert_eq!(server.accepted(), 3);
    fixture.git(&["tag", "v1"]);
    fixture.take(&decl, &Want::Rev("v1".into()), None).unwrap();
}

#[test]
fn a_path_is_one_word_to_the_server_whatever_is_in_it() {
    let (fixture, server, _) = served();
    let odd = fixture.path("it's $(touch gone)`touch gone`; touch gone");
    std::os::unix::fs::symlink(fixture.repo(), &odd).unwrap();
    let fetched = fixture.fetch(&over(server.url(&odd)), None).unwrap();
    assert!(fetched.tree.read("a").unwrap().is_some());
    let error = refused(fixture.fetch(&over(server.url(Path::new("/nowhere/infra"))), None), "not-found");
    says(&error.message, "there is no repository");
}

#[test]
fn who_is_not_let_in_is_told_so() {
    let (fixture, server, decl) = served();
    let other = client_key(&fixture.path("other_key"));
    server.allow(&other);
    let error = refused(fixture.fetch(&decl, None), "auth");
    says(&error.message, "does not let");
    says(&error.message, "deploy_key");

    // A key that asks for a passphrase, which nobody is there to give.
    std::fs::remove_file(fixture.path("other_key")).unwrap();
    fixture.key("other_key", &["-t", "ed25519"]);
    let locked = fixture.path("other_key");
    let done = std::process::Command::new("ssh-keygen")
        .args(["-q", "-p", "-P", "", "-N", "passphrase", "-f"])
        .arg(&locked)
        .status()
        .unwrap();
    assert!(done.success());
    server.allow(&std::fs::read_to_string(fixture.path("other_key.pub")).unwrap());
    let ssh = SshDecl { key: "other_key".into(), known_hosts: "known_hosts".into() };
    let error = refused(fixture.fetch(&SourceDecl { ssh: Some(ssh), ..decl.clone() }, None), "auth");
    says(error.hint.as_deref().unwrap(), "passphrase");

    // What was mended counts at the next look.
    server.allow(&std::fs::read_to_string(fixture.path("deploy_key.pub")).unwrap());
    fixture.fetch(&decl, None).unwrap();
}

#[test]
fn a_server_that_is_not_the_one_we_know_gets_nothing() {
    let (fixture, mut server, decl) = served();
    let last = fixture.fetch(&decl, None).unwrap().revision;
    let accepted = server.accepted();

    server.new_host_key();
    server.restart();
    let error = refused(fixture.fetch(&decl, Some(&last)), "host-key");
    says(&error.message, "is not the one in");
    says(error.hint.as_deref().unwrap(), &format!("ssh-keygen -R '[127.0.0.1]:{}'", server.port()));

    std::fs::write(fixture.path("known_hosts"), "").unwrap();
    let error = refused(fixture.fetch(&decl, Some(&last)), "host-key");
    says(&error.message, "holds no host key of");
    says(error.hint.as_deref().unwrap(), &format!("ssh-keyscan -p {}", server.port()));

    std::fs::remove_file(fixture.path("known_hosts")).unwrap();
    refused(fixture.fetch(&decl, Some(&last)), "host-key");
    assert_eq!(server.accepted(), accepted, "nobody signed in");
    known(&fixture, &server);
    fixture.fetch(&decl, Some(&last)).unwrap();
}

#[test]
fn files_that_are_open_to_others_are_not_used() {
    let (fixture, server, decl) = served();
    std::fs::set_permissions(fixture.path("deploy_key"), Permissions::from_mode(0o644)).unwrap();
    let before = server.connections();
    let error = refused(fixture.fetch(&decl, None), "auth");
    says(&error.message, "can be read by others (mode 0644)");
    says(error.hint.as_deref().unwrap(), "chmod 600");
    std::fs::set_permissions(fixture.path("deploy_key"), Permissions::from_mode(0o600)).unwrap();
    std::fs::set_permissions(fixture.path("known_hosts"), Permissions::from_mode(0o666)).unwrap();
    says(&refused(fixture.fetch(&decl, None), "host-key").message, "can be written by others");
    assert_eq!(server.connections(), before, "the server was not asked");
    std::fs::remove_file(fixture.path("deploy_key")).unwrap();
    refused(fixture.fetch(&decl, None), "auth");
}

#[test]
fn out_of_reach_the_last_revision_stays_over_ssh_too() {
    let (fixture, mut server, decl) = served();
    let last = fixture.fetch(&decl, None).unwrap().revision;
    server.stop();
    let kept = fixture.fetch(&decl, Some(&last)).unwrap();
    assert_eq!(kept.revision, last);
    assert!(matches!(kept.notices.as_slice(), [SourceNotice::Unreachable { .. }]), "{:?}", kept.notices);
    assert!(refused(fixture.fetch(&decl, None), "unreachable").retryable);
    server.restart();
    assert!(fixture.fetch(&decl, Some(&last)).unwrap().notices.is_empty());
}

#[test]
fn limits_hold_over_ssh_and_keep_their_names() {
    let (fixture, _server, decl) = served();
    let mut seed = 1u64;
    let noise: Vec<u8> = (0..600_000)
        .map(|_| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 56) as u8
        })
        .collect();
    fixture.write("noise", &noise);
    fixture.commit(&[], "noise");
    let limits = SourceLimits { pack: 100_000, ..SourceLimits::default() };
    refused(fixture.fetch(&SourceDecl { limits, ..decl.clone() }, None), "too-large");
    fixture.fetch(&decl, None).unwrap();
}

#[test]
fn a_server_that_stalls_meets_the_clock_and_no_client_is_left() {
    let (fixture, _server, _) = served();
    // One says nothing at all, the other shows itself and then says nothing.
    for banner in ["", "SSH-2.0-Tide\r\n"] {
        let silent = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = silent.local_addr().unwrap().port();
        std::thread::spawn(move || {
            let mut taken = Vec::new();
            for stream in silent.incoming() {
                let Ok(mut stream) = stream else { break };
                let _ = stream.write_all(banner.as_bytes());
                taken.push(stream);
            }
        });
        let decl = SourceDecl { timeout: Some(3), ..over(format!("ssh://git@127.0.0.1:{port}/infra")) };
        let began = Instant::now();
        let error = refused(fixture.fetch(&decl, None), "timeout");
        assert!(error.retryable);
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
        let deadline = Instant::now() + Duration::from_secs(5);
        while client_of(port) {
            assert!(Instant::now() < deadline, "the client outlives its fetch");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Whether a client that speaks to this port is alive.
fn client_of(port: u16) -> bool {
    let port = format!("\0-p\0{port}\0");
    std::fs::read_dir("/proc").unwrap().flatten().any(|entry| {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        line.starts_with(b"/") && line.windows(port.len()).any(|part| part == port.as_bytes())
    })
}
