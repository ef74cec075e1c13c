//! Fetches over `git://`, from the real `git daemon` and from one that breaks off.

use std::net::TcpListener;

use tidelock_model::config::{SourceDecl, VerifyDecl};
use tidelock_model::port::Want;
use tidelock_model::revision::SourceNotice;

use crate::fixture::{Fixture, refused, says};
use crate::git_daemon::GitDaemon;
use crate::relay::{Passes, Relay};

fn over(port: u16) -> SourceDecl {
    SourceDecl {
        url: format!("git://127.0.0.1:{port}/infra/.git"),
        insecure: true,
        timeout: Some(60),
        ..SourceDecl::default()
    }
}

#[test]
fn a_daemon_is_fetched_from_where_the_operator_says_so() {
    let fixture = Fixture::with(&[("a", "1")]);
    let daemon = GitDaemon::serve(fixture.dir.path());
    let decl = over(daemon.port());
    let first = fixture.fetch(&decl, None).unwrap();
    assert_eq!(first.tree.read("a").unwrap().as_deref(), Some(b"1".as_slice()));
    let second = fixture.commit(&[("a", "2")], "second");
    assert_eq!(fixture.fetch(&decl, Some(&first.revision)).unwrap().revision.id, second);
    fixture.git(&["tag", "v1", "main~1"]);
    assert_eq!(fixture.take(&decl, &Want::Rev("v1".into()), None).unwrap().revision.id, first.revision.id);

    let missing = SourceDecl { url: format!("{}/nope", daemon.url()), ..decl.clone() };
    refused(fixture.fetch(&missing, None), "not-found");
    drop(daemon);
    let kept = fixture.fetch(&decl, Some(&first.revision)).unwrap();
    assert!(matches!(kept.notices.as_slice(), [SourceNotice::Unreachable { .. }]), "{:?}", kept.notices);
    refused(fixture.fetch(&decl, None), "unreachable");
}

#[test]
fn without_a_word_or_signatures_git_protocol_is_refused() {
    let fixture = Fixture::new();
    let ann = fixture.key("ann", &["-t", "ed25519"]);
    fixture.write("a", b"1");
    fixture.git(&["add", "-A"]);
    let signed = fixture.signed("ann", "signed", None);
    let daemon = GitDaemon::serve(fixture.dir.path());
    let bare = SourceDecl { insecure: false, ..over(daemon.port()) };
    let error = refused(fixture.fetch(&bare, None), "invalid");
    says(&error.message, "anyone on the way can put in commits of their own");
    says(error.hint.as_deref().unwrap(), "insecure = true");

    std::fs::write(fixture.path("signers"), format!("ann@example.com namespaces=\"git\" {ann}\n")).unwrap();
    let verified = SourceDecl { verify: Some(VerifyDecl { signers: "signers".into() }), ..bare };
    let last = fixture.fetch(&verified, None).unwrap().revision;
    assert_eq!(last.id, signed);
    fixture.commit(&[("a", "put in on the way")], "unsigned");
    let kept = fixture.fetch(&verified, Some(&last)).unwrap();
    assert_eq!(kept.revision, last);
    assert!(matches!(kept.notices.as_slice(), [SourceNotice::Unverified { .. }]), "{:?}", kept.notices);
}

#[test]
fn a_daemon_that_stalls_or_breaks_off_is_told() {
    let text: String = (0..20_000).map(|at| format!("line {}\n", at * 7919 % 10_007)).collect();
    let fixture = Fixture::with(&[("a", &text)]);
    let silent = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let decl = SourceDecl { timeout: Some(2), ..over(silent.local_addr().unwrap().port()) };
    assert!(refused(fixture.fetch(&decl, None), "timeout").retryable);

    let daemon = GitDaemon::serve(fixture.dir.path());
    let relay = Relay::before(daemon.port());
    relay.passes(Passes::StallsAfter(5_000));
    refused(fixture.fetch(&SourceDecl { timeout: Some(3), ..over(relay.port()) }, None), "timeout");
    relay.passes(Passes::Until(5_000));
    let error = fixture.fetch(&over(relay.port()), None).map(|fetched| fetched.revision).unwrap_err();
    assert!(matches!(error.code.as_str(), "corrupt" | "unreachable"), "{error:?}");
    assert!(error.retryable);
    relay.passes(Passes::All);
    assert!(fixture.fetch(&over(relay.port()), None).is_ok());
}
