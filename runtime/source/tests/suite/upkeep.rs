//! Caches in the long run: packs that pile up, readers in the middle of a swap, histories
//! that were taken back.

use std::path::PathBuf;

use tidelock_model::config::SourceDecl;
use tidelock_model::port::{Source as _, Want};
use tidelock_model::revision::SourceNotice;

use crate::fixture::{Fixture, run};
use crate::git_daemon::GitDaemon;

/// A repository behind `git daemon`, the quickest of the servers.
fn served() -> (Fixture, GitDaemon, SourceDecl) {
    let fixture = Fixture::with(&[("a", "0"), ("envs/prod/stack.yaml", "name: x")]);
    let daemon = GitDaemon::serve(fixture.dir.path());
    let decl = SourceDecl {
        url: format!("{}/infra/.git", daemon.url()),
        insecure: true,
        timeout: Some(60),
        ..SourceDecl::default()
    };
    (fixture, daemon, decl)
}

/// The generations that there are, by number.
fn generations(fixture: &Fixture) -> Vec<(u64, PathBuf)> {
    let caches = std::fs::read_dir(fixture.path("cache/git")).unwrap().flatten();
    let cache = caches.map(|entry| entry.path()).find(|path| path.is_dir()).unwrap();
    let entries = std::fs::read_dir(cache).unwrap().flatten();
    let mut found: Vec<(u64, PathBuf)> =
        entries.filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path()))).collect();
    found.sort();
    found
}

/// Number and bytes of the packs of all generations.
fn packs(fixture: &Fixture) -> (usize, u64) {
    let packs = generations(fixture)
        .into_iter()
        .flat_map(|(_, path)| std::fs::read_dir(path.join("objects/pack")).unwrap().flatten());
    let packs: Vec<u64> = packs
        .filter(|entry| entry.path().extension().is_some_and(|end| end == "pack"))
        .map(|entry| entry.metadata().unwrap().len())
        .collect();
    (packs.len(), packs.iter().sum())
}

#[test]
fn two_hundred_commits_one_by_one_leave_few_packs_and_every_revision() {
    let (fixture, daemon, decl) = served();
    let source = fixture.source(&decl).unwrap();
    let mut last = run(source.fetch(&Want::Configured, None)).unwrap().revision;
    let mut all = vec![last.id.clone()];
    let mut most = (0, 0);
    for n in 1..=200 {
        all.push(fixture.commit(&[("a", &n.to_string()), (&format!("envs/{}/b", n % 10), &n.to_string())], "one more"));
        last = run(source.fetch(&Want::Configured, Some(&last))).unwrap().revision;
        assert_eq!(&last.id, all.last().unwrap());
        let now = packs(&fixture);
        most = (most.0.max(now.0), most.1.max(now.1));
    }
    // Twenty may pile up, and one makes the next fetch rebuild; a swap has both for a moment.
    assert!(most.0 <= 22 + 1, "{most:?}");
    assert!(generations(&fixture).last().unwrap().0 >= 8, "{:?}", generations(&fixture));

    // As Git itself would pack it, with room for what came since the last rebuild.
    fixture.git(&["gc", "-q"]);
    let objects = std::fs::read_dir(fixture.repo().join(".git/objects/pack")).unwrap().flatten();
    let ideal: u64 = objects
        .filter(|entry| entry.path().extension().is_some_and(|end| end == "pack"))
        .map(|entry| entry.metadata().unwrap().len())
        .sum();
    assert!(most.1 < ideal * 4, "{most:?} where Git needs {ideal}");

    drop(daemon);
    for (n, id) in all.iter().enumerate() {
        let fetched = run(source.fetch(&Want::Rev(id.clone()), None)).unwrap();
        assert_eq!(fetched.tree.read("a").unwrap().unwrap(), n.to_string().as_bytes());
        assert!(run(source.descends(&last.id, id)).unwrap());
    }
    let newest = generations(&fixture).pop().unwrap().1;
    let checked = std::process::Command::new("git")
        .args(["-c", "safe.directory=*", "--git-dir"])
        .arg(&newest)
        .args(["fsck", "--full", "--strict", "--connectivity-only"])
        .output()
        .unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}

#[test]
fn what_is_being_read_stays_and_goes_when_nobody_reads_it() {
    let (fixture, _daemon, decl) = served();
    let source = fixture.source(&decl).unwrap();
    let first = run(source.fetch(&Want::Configured, None)).unwrap();
    let mut last = first.revision.clone();
    for n in 1..=25 {
        fixture.commit(&[("a", &n.to_string())], "one more");
        last = run(source.fetch(&Want::Configured, Some(&last))).unwrap().revision;
    }
    let there: Vec<u64> = generations(&fixture).into_iter().map(|(number, _)| number).collect();
    assert_eq!(there, [1, 2], "the old one is being read");
    // Not a byte of it was read before.
    assert_eq!(first.tree.read("a").unwrap().unwrap(), b"0");
    assert_eq!(first.tree.stacks().unwrap(), ["envs/prod"]);
    drop(first);
    run(source.fetch(&Want::Configured, Some(&last))).unwrap();
    let there: Vec<u64> = generations(&fixture).into_iter().map(|(number, _)| number).collect();
    assert_eq!(there, [2]);
}

#[test]
fn what_was_in_force_outlives_a_history_that_was_taken_back() {
    let (fixture, daemon, decl) = served();
    let source = fixture.source(&decl).unwrap();
    fixture.commit(&[("a", "applied")], "applied");
    let applied = run(source.fetch(&Want::Configured, None)).unwrap().revision;
    fixture.git(&["tag", "side"]);
    fixture.git(&["reset", "-q", "--hard", "main~1"]);
    fixture.commit(&[("a", "rewritten")], "rewritten");
    let kept = run(source.fetch(&Want::Configured, Some(&applied))).unwrap();
    assert!(matches!(kept.notices.as_slice(), [SourceNotice::Rewritten { .. }]), "{:?}", kept.notices);
    drop(kept);

    // A person accepts it: from now on another history is in force. Branches that were
    // looked at once, and lead nowhere that is needed, stay behind.
    fixture.git(&["checkout", "-q", "-b", "looked-at"]);
    let looked_at = fixture.commit(&[("big", &"x".repeat(10_000))], "looked at");
    fixture.git(&["checkout", "-q", "main"]);
    run(source.fetch(&Want::Rev("looked-at".into()), None)).unwrap();
    let mut last = run(source.fetch(&Want::Configured, None)).unwrap().revision;
    for n in 1..=25 {
        fixture.commit(&[("a", &n.to_string())], "one more");
        last = run(source.fetch(&Want::Configured, Some(&last))).unwrap().revision;
    }
    assert!(generations(&fixture).last().unwrap().0 >= 2);
    drop(daemon);
    let back = run(source.fetch(&Want::Rev(applied.id.clone()), Some(&last))).unwrap();
    assert_eq!(back.tree.read("a").unwrap().unwrap(), b"applied");
    run(source.fetch(&Want::Rev(looked_at), Some(&last))).map(drop).unwrap_err();
}

#[test]
fn a_rebuild_that_fails_costs_nothing_but_itself() {
    let (fixture, _daemon, decl) = served();
    let source = fixture.source(&decl).unwrap();
    let mut last = run(source.fetch(&Want::Configured, None)).unwrap().revision;
    let cache = generations(&fixture).pop().unwrap().1.parent().unwrap().to_owned();
    for n in 1..=20 {
        fixture.commit(&[("a", &n.to_string())], "one more");
        last = run(source.fetch(&Want::Configured, Some(&last))).unwrap().revision;
    }
    let pack = std::fs::read_dir(cache.join("1/objects/pack")).unwrap().flatten();
    let pack = pack.map(|entry| entry.path()).find(|path| path.extension().is_some_and(|end| end == "pack")).unwrap();
    // A byte of the old one is not what it was.
    let whole = std::fs::read(&pack).unwrap();
    let mut flipped = whole.clone();
    let middle = flipped.len() - 30;
    flipped[middle] ^= 0x55;
    std::fs::set_permissions(&pack, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    std::fs::write(&pack, flipped).unwrap();
    let kept = run(source.fetch(&Want::Configured, Some(&last)));
    std::fs::write(&pack, whole).unwrap();
    assert!(cache.join("rebuild-failed").exists());
    assert_eq!(generations(&fixture).len(), 1);
    drop(kept);
    fixture.commit(&[("a", "after")], "after");
    let after = run(source.fetch(&Want::Configured, Some(&last))).unwrap();
    assert_eq!(after.tree.read("a").unwrap().unwrap(), b"after");
    assert_eq!(generations(&fixture).len(), 1, "it is not tried at every poll");
}
