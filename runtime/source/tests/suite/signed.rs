//! Signed commits, made by git and ssh-keygen, verified here.

use tidelock_model::port::Want;
use tidelock_model::revision::{Signature, SourceNotice};

use crate::fixture::{Fixture, refused, says};

#[test]
fn a_listed_key_is_trusted() {
    for kind in [&["-t", "ed25519"][..], &["-t", "ecdsa", "-b", "256"], &["-t", "rsa", "-b", "3072"]] {
        let fixture = Fixture::with(&[("a", "1")]);
        let key = fixture.key("ann", kind);
        let tip = fixture.signed("ann", "signed", None);
        let decl = fixture.verified(&format!("ann@example.com namespaces=\"git\" {key}\n"));
        let fetched = fixture.fetch(&decl, None).unwrap();
        assert_eq!(fetched.revision.id, tip);
        let Signature::Verified { signer, key } = fetched.revision.signature else { panic!("{kind:?}") };
        assert_eq!(signer, "ann@example.com");
        assert!(key.starts_with("SHA256:"), "{key}");
    }
}

/// What is wrong with a commit that `sign` makes, given signers that `list` writes of Ann's key.
#[track_caller]
fn distrusted(list: impl Fn(&str) -> String, sign: impl Fn(&Fixture), why: &str) {
    let fixture = Fixture::with(&[("a", "1")]);
    let key = fixture.key("ann", &["-t", "ed25519"]);
    fixture.key("eve", &["-t", "ed25519"]);
    sign(&fixture);
    let decl = fixture.verified(&list(&key));
    let error = refused(fixture.fetch(&decl, None), "unverified");
    says(&error.message, why);
    assert!(error.hint.is_some());
}

#[test]
fn every_other_commit_is_not() {
    let plain = |key: &str| format!("ann {key}\n");
    let by_ann = |fixture: &Fixture| drop(fixture.signed("ann", "signed", None));
    distrusted(plain, |_| (), "it is not signed");
    distrusted(plain, |fixture| drop(fixture.signed("eve", "signed", None)), "is not listed in");
    distrusted(|_| String::new(), by_ann, "is not listed in");
    distrusted(
        |key| format!("# note\nann valid-before=\"20200101Z\" {key}\n"),
        by_ann,
        "signers:2: the key of ann was valid until",
    );
    distrusted(|key| format!("ann valid-after=\"20990101Z\" {key}\n"), by_ann, "is valid from");
    distrusted(|key| format!("ann namespaces=\"file\" {key}\n"), by_ann, "may sign in \"file\" only");
    // The signer chooses the date: one from before the key's end does not help a new commit.
    let backdated = |fixture: &Fixture| drop(fixture.signed("ann", "signed", Some("2019-01-01T00:00:00Z")));
    distrusted(|key| format!("ann valid-before=\"20200101Z\" {key}\n"), backdated, "was valid until");
}

/// Rewrites the tip's bytes without signing anew.
fn tamper(fixture: &Fixture, from: &str, to: &str) -> String {
    let raw = fixture.git(&["cat-file", "commit", "HEAD"]).replace(from, to);
    let commit =
        fixture.git_with(&["hash-object", "-t", "commit", "-w", "--stdin"], format!("{raw}\n").as_bytes(), &[]);
    fixture.git(&["update-ref", "refs/heads/main", &commit]);
    commit
}

#[test]
fn a_commit_that_was_changed_after_signing_is_not_trusted() {
    let plain = |key: &str| format!("ann {key}\n");
    let signed_and = |from: &'static str, to: &'static str| {
        move |fixture: &Fixture| {
            fixture.signed("ann", "signed", None);
            tamper(fixture, from, to);
        }
    };
    distrusted(plain, signed_and("\nsigned", "\nsIgned"), "changed after signing");
    distrusted(plain, signed_and("Ann Author", "Eve Author"), "changed after signing");
    distrusted(plain, signed_and("gpgsig ", "gpgsig x\ngpgsig "), "more than one signature");
    distrusted(plain, signed_and("-----BEGIN SSH", "-----BEGIN PGP"), "OpenPGP");
}

#[test]
fn a_signature_for_another_purpose_does_not_count() {
    // Ann signed these very bytes, but as a file and not as a commit.
    let plain = |key: &str| format!("ann {key}\n");
    let as_file = |fixture: &Fixture| {
        let payload = fixture.path("payload");
        std::fs::write(&payload, format!("{}\n", fixture.git(&["cat-file", "commit", "HEAD"]))).unwrap();
        let out = std::process::Command::new("ssh-keygen")
            .args(["-q", "-Y", "sign", "-n", "file", "-f"])
            .arg(fixture.path("ann"))
            .arg(&payload)
            .output()
            .unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        let pem = std::fs::read_to_string(fixture.path("payload.sig")).unwrap();
        tamper(fixture, "\n\n", &format!("\ngpgsig {}\n\n", pem.trim_end().replace('\n', "\n ")));
    };
    distrusted(plain, as_file, "its signature is for \"file\"");
}

#[test]
fn an_unverified_tip_leaves_the_last_revision_in_force() {
    let fixture = Fixture::with(&[("a", "1")]);
    let key = fixture.key("ann", &["-t", "ed25519"]);
    fixture.signed("ann", "good", None);
    let decl = fixture.verified(&format!("ann {key}\n"));
    let good = fixture.fetch(&decl, None).unwrap().revision;
    let bad = fixture.commit(&[("a", "evil")], "not signed");

    let kept = fixture.fetch(&decl, Some(&good)).unwrap();
    assert_eq!(kept.revision, good);
    assert_eq!(kept.tree.read("a").unwrap().as_deref(), Some(b"1".as_slice()));
    assert_eq!(kept.notices, [SourceNotice::Unverified { tip: bad.clone(), why: "it is not signed".into() }]);
    refused(fixture.take(&decl, &Want::Rev(bad), Some(&good)), "unverified");

    // The last revision's own signer is struck off: nothing is in force.
    let key = fixture.key("new", &["-t", "ed25519"]);
    let decl = fixture.verified(&format!("new {key}\n"));
    refused(fixture.fetch(&decl, Some(&good)), "unverified");
    // A revision from before `verify` was set does not slip in as verified either.
    let unsigned = fixture.fetch(&fixture.here(), None).unwrap().revision;
    fixture.commit(&[], "not signed either");
    refused(fixture.fetch(&decl, Some(&unsigned)), "unverified");
}

#[test]
fn a_key_that_ends_does_not_end_what_is_in_force() {
    let fixture = Fixture::with(&[("a", "1")]);
    let key = fixture.key("ann", &["-t", "ed25519"]);
    let tip = fixture.signed("ann", "signed", Some("2019-01-01T00:00:00Z"));
    let last = fixture.fetch(&fixture.here(), None).unwrap().revision;
    let decl = fixture.verified(&format!("ann valid-before=\"20200101Z\" {key}\n"));
    refused(fixture.fetch(&decl, None), "unverified");
    assert_eq!(fixture.fetch(&decl, Some(&last)).unwrap().revision.id, tip);
}

#[test]
fn a_signers_file_that_cannot_be_read_trusts_nobody() {
    let fixture = Fixture::with(&[("a", "1")]);
    let key = fixture.key("ann", &["-t", "ed25519"]);
    fixture.signed("ann", "signed", None);
    let decl = fixture.verified(&format!("ann {key}\nann cert-authority {key}\n"));
    says(
        &refused(fixture.fetch(&decl, None), "invalid").message,
        "signers:2: certificate authorities are not supported",
    );
    std::fs::remove_file(fixture.path("signers")).unwrap();
    refused(fixture.fetch(&decl, None), "io");
}
