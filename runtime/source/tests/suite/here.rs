//! Repositories on this machine: read in place, work trees included.

use tidelock_model::config::{SourceDecl, SourceLimits};
use tidelock_model::digest::Digest;
use tidelock_model::port::{Tree, Want};
use tidelock_model::revision::{Signature, SourceNotice};

use crate::fixture::{Fixture, refused, says};

const STACKS: &[(&str, &str)] = &[
    ("README", "read me"),
    ("envs/prod/web/stack.yaml", "name: web"),
    ("envs/prod/web/motd.yaml", "kind: server.file"),
    ("envs/prod/web/files/motd.txt", "hello"),
    ("envs/prod/web/.hidden.yaml", "x"),
    ("envs/prod/web/nested/stack.yaml", "name: nested"),
    ("envs/prod/web/nested/other.yaml", "x"),
    (".github/stack.yaml", "name: no"),
];

fn check_tree(tree: &dyn Tree) {
    assert_eq!(tree.stacks().unwrap(), ["envs/prod/web", "envs/prod/web/nested"]);
    assert_eq!(tree.glob("envs/prod/web", "**/*.yaml").unwrap(), ["motd.yaml", "stack.yaml"]);
    assert_eq!(tree.glob("envs/prod/web", "files/*").unwrap(), ["files/motd.txt"]);
    assert_eq!(tree.glob("envs/prod/web", "*").unwrap(), ["motd.yaml", "stack.yaml"]);
    assert_eq!(tree.glob("nowhere", "**").unwrap(), Vec::<String>::new());
    assert_eq!(tree.glob("", "*").unwrap(), ["README"]);
    refused(tree.glob("", "[").map(drop), "invalid");

    let path = "envs/prod/web/files/motd.txt";
    assert_eq!(tree.read(path).unwrap().as_deref(), Some(b"hello".as_slice()));
    assert_eq!(tree.digest(path).unwrap(), Some((Digest::of(b"hello"), 5)));
    let entry = tree.entry(path).unwrap().unwrap();
    assert_eq!((entry.name.as_str(), entry.size, entry.dir), ("motd.txt", 5, false));
    // The id is Git's own, in a commit and in a work tree alike.
    assert_eq!(entry.id, "b6fc4c620b67d95f953a5c1c1230aaab5db5a1b0");
    assert!(tree.entry("envs/prod").unwrap().unwrap().is_dir());
    assert!(tree.entry("").unwrap().unwrap().is_dir());
    for path in ["nope", "README/x", "envs/nope/x", "../infra/README", "/README", "envs//prod", "envs/prod/", "."] {
        assert_eq!(tree.entry(path).unwrap(), None, "{path}");
        assert_eq!(tree.read(path).unwrap(), None, "{path}");
        assert_eq!(tree.list(path).unwrap(), None, "{path}");
    }
    assert_eq!(tree.read("envs").unwrap(), None);
    let names: Vec<(String, u64, bool)> =
        tree.list("envs/prod/web").unwrap().unwrap().into_iter().map(|e| (e.name, e.size, e.dir)).collect();
    let expected = [
        (".hidden.yaml", 1, false),
        ("files", 0, true),
        ("motd.yaml", 17, false),
        ("nested", 0, true),
        ("stack.yaml", 9, false),
    ];
    assert_eq!(names, expected.map(|(name, size, dir)| (name.to_owned(), size, dir)));
}

#[test]
fn a_commit_is_read_in_place() {
    let fixture = Fixture::with(STACKS);
    let fetched = fixture.fetch(&fixture.here(), None).unwrap();
    assert_eq!(fetched.revision.id, fixture.git(&["rev-parse", "HEAD"]));
    assert_eq!(fetched.revision.wanted, "main");
    assert_eq!(fetched.revision.author, "Ann Author <ann@example.com>");
    assert_eq!(fetched.revision.committer, "Cy Committer <cy@example.com>");
    assert_eq!(fetched.revision.subject, "first");
    assert_eq!(fetched.revision.signature, Signature::NotAsked);
    assert_eq!(fetched.notices, []);
    check_tree(&*fetched.tree);
    // Nothing was copied.
    assert!(!fixture.path("cache").exists());
}

#[test]
fn file_urls_and_bare_repositories_are_the_same() {
    let fixture = Fixture::with(STACKS);
    let bare = fixture.path("bare.git");
    fixture.git(&["clone", "-q", "--bare", ".", bare.to_str().unwrap()]);
    let decl = SourceDecl { url: format!("file://{}", bare.display()), ..SourceDecl::default() };
    check_tree(&*fixture.fetch(&decl, None).unwrap().tree);
    let decl = SourceDecl { url: "bare.git".to_owned(), ..SourceDecl::default() };
    check_tree(&*fixture.fetch(&decl, None).unwrap().tree);
    says(&refused(fixture.take(&decl, &Want::Worktree, None), "not-found").message, "has no work tree");
}

#[test]
fn branches_tags_and_commits() {
    let fixture = Fixture::with(&[("a", "1")]);
    let first = fixture.git(&["rev-parse", "HEAD"]);
    fixture.git(&["tag", "-a", "v1", "-m", "annotated"]);
    let second = fixture.commit(&[("a", "2")], "second");
    fixture.git(&["branch", "other/side"]);
    let here = fixture.here();
    let id = |decl: &SourceDecl| fixture.fetch(decl, None).unwrap().revision.id;
    assert_eq!(id(&SourceDecl { tag: Some("v1".into()), ..here.clone() }), first);
    assert_eq!(id(&SourceDecl { commit: Some(first.clone()), ..here.clone() }), first);
    assert_eq!(id(&SourceDecl { branch: Some("other/side".into()), ..here.clone() }), second);
    for (rev, expected) in [
        ("v1", &first),
        ("main~1", &first),
        ("main^", &first),
        ("HEAD", &second),
        ("refs/heads/main", &second),
        (&second[..7], &second),
        (first.as_str(), &first),
    ] {
        assert_eq!(&fixture.take(&here, &Want::Rev(rev.to_owned()), None).unwrap().revision.id, expected, "{rev}");
    }
    refused(fixture.take(&here, &Want::Rev("main~7".into()), None), "ref-gone");
    refused(fixture.take(&here, &Want::Rev("main:a".into()), None), "invalid");
}

#[test]
fn a_name_that_is_not_there_is_told_with_those_that_are() {
    let fixture = Fixture::with(&[("a", "1")]);
    let decl = SourceDecl { branch: Some("prod".into()), ..fixture.here() };
    let error = refused(fixture.fetch(&decl, None), "ref-gone");
    says(&error.message, "source infra: ");
    says(error.hint.as_deref().unwrap(), "main");
    let gone = SourceDecl { url: "elsewhere".into(), ..SourceDecl::default() };
    refused(fixture.fetch(&gone, None), "unreachable");
    std::fs::create_dir(fixture.path("plain")).unwrap();
    refused(fixture.fetch(&SourceDecl { url: "plain".into(), ..SourceDecl::default() }, None), "not-found");
    refused(fixture.source(&SourceDecl { url: "ssh://git@host/infra".into(), ..SourceDecl::default() }), "invalid");
}

#[test]
fn uncommitted_files_are_counted() {
    let fixture = Fixture::with(&[("a", "1"), ("b", "2"), ("c", "3"), (".gitignore", "*.log\n/build/\n")]);
    let here = fixture.here();
    let count = || match fixture.fetch(&here, None).unwrap().notices.as_slice() {
        [] => 0,
        [SourceNotice::Uncommitted { files }] => *files,
        other => panic!("{other:?}"),
    };
    assert_eq!(count(), 0);
    fixture.write("x.log", b"ignored");
    fixture.write("build/out", b"ignored");
    assert_eq!(count(), 0);
    fixture.write("a", b"9"); // Same size: only the content tells.
    assert_eq!(count(), 1);
    fixture.git(&["add", "a"]); // Staged is not committed.
    assert_eq!(count(), 1);
    std::fs::remove_file(fixture.repo().join("b")).unwrap();
    fixture.write("new/file", b"1");
    assert_eq!(count(), 3);
    // Another commit than the one checked out: the work tree says nothing about it.
    fixture.commit(&[], "second");
    fixture.write("a", b"10");
    assert_eq!(fixture.take(&here, &Want::Rev("main~1".into()), None).unwrap().notices, []);
}

#[test]
fn a_work_tree_is_read_as_it_is() {
    let fixture = Fixture::with(&[(".gitignore", "*.log\n"), ("kept.log", "tracked all the same")]);
    fixture.git(&["add", "-f", "kept.log"]);
    fixture.commit(STACKS, "stacks");
    fixture.git(&["config", "core.worktree", "/"]); // Not ours to obey.
    let fetched = fixture.take(&fixture.here(), &Want::Worktree, None).unwrap();
    assert_eq!((fetched.revision.id.as_str(), fetched.revision.signature), ("worktree", Signature::Worktree));
    fixture.write("secret.log", b"ignored");
    fixture.write("envs/prod/web/files/new.txt", b"not committed");
    let tree = fetched.tree;
    assert_eq!(tree.read("secret.log").unwrap(), None);
    assert!(tree.read("kept.log").unwrap().is_some());
    assert_eq!(tree.read("envs/prod/web/files/new.txt").unwrap().as_deref(), Some(b"not committed".as_slice()));
    assert_eq!(tree.entry(".git").unwrap(), None);
    assert_eq!(tree.read(".git/config").unwrap(), None);
    std::fs::remove_file(fixture.repo().join("envs/prod/web/files/new.txt")).unwrap();
    std::fs::remove_file(fixture.repo().join(".gitignore")).unwrap();
    std::fs::remove_file(fixture.repo().join("kept.log")).unwrap();
    std::fs::remove_file(fixture.repo().join("secret.log")).unwrap();
    check_tree(&*fixture.take(&fixture.here(), &Want::Worktree, None).unwrap().tree);
}

#[test]
fn a_work_tree_keeps_the_rules() {
    let fixture = Fixture::with(&[("a", "1"), ("dir/b", "2")]);
    std::os::unix::fs::symlink("/etc/passwd", fixture.repo().join("out")).unwrap();
    std::os::unix::fs::symlink("dir", fixture.repo().join("in")).unwrap();
    let tree = fixture.take(&fixture.here(), &Want::Worktree, None).unwrap().tree;
    says(&refused(tree.read("out"), "symlink").message, "out is a symbolic link");
    refused(tree.read("in/b"), "symlink");
    assert_eq!(tree.read("a").unwrap().as_deref(), Some(b"1".as_slice()));
    // What was read once is what is read again, or an error.
    tree.entry("a").unwrap();
    fixture.write("a", b"2");
    assert!(refused(tree.read("a"), "io").retryable);

    let follow = SourceDecl { symlinks: true, ..fixture.here() };
    let tree = fixture.take(&follow, &Want::Worktree, None).unwrap().tree;
    assert_eq!(tree.read("in/b").unwrap().as_deref(), Some(b"2".as_slice()));
    says(&refused(tree.read("out"), "symlink").message, "is absolute");

    let small = SourceDecl { limits: SourceLimits { blob: 4, ..SourceLimits::default() }, ..fixture.here() };
    fixture.write("large", b"12345");
    let tree = fixture.take(&small, &Want::Worktree, None).unwrap().tree;
    says(&refused(tree.read("large"), "too-large").message, "large has 5 bytes");
    fixture.write("CASE", b"1");
    fixture.write("case", b"1");
    let tree = fixture.take(&fixture.here(), &Want::Worktree, None).unwrap().tree;
    refused(tree.list(""), "path");
}

#[test]
fn a_rewritten_history_waits() {
    let fixture = Fixture::with(&[("a", "1")]);
    let here = fixture.here();
    let first = fixture.fetch(&here, None).unwrap().revision;
    fixture.commit(&[("a", "2")], "second");
    let second = fixture.fetch(&here, Some(&first)).unwrap();
    assert_eq!((second.notices, second.revision.subject.as_str()), (vec![], "second"));
    fixture.git(&["commit", "-q", "--amend", "-m", "rewritten"]);
    let tip = fixture.git(&["rev-parse", "HEAD"]);
    let kept = fixture.fetch(&here, Some(&second.revision)).unwrap();
    assert_eq!(kept.revision, second.revision);
    assert_eq!(kept.tree.read("a").unwrap().as_deref(), Some(b"2".as_slice()));
    assert_eq!(kept.notices, [SourceNotice::Rewritten { from: second.revision.id.clone(), to: tip.clone() }]);
    // Somebody who asks for it by name means it.
    assert_eq!(fixture.take(&here, &Want::Rev("main".into()), Some(&second.revision)).unwrap().revision.id, tip);
    // The commit in force is gone altogether: there is nothing to stay with.
    fixture.git(&["reflog", "expire", "--expire=now", "--all"]);
    fixture.git(&["gc", "-q", "--prune=now"]);
    says(&refused(fixture.fetch(&here, Some(&second.revision)), "rewritten").message, &second.revision.id);
}
