//! Trees that Git would not make, and files that are not meant to be read.

use std::time::{Duration, Instant};

use tidelock_model::config::{SourceDecl, SourceLimits};

use crate::fixture::{Fixture, refused, says};

#[test]
fn hostile_names_are_refused_by_name() {
    let cases: &[(&[&[u8]], &str)] = &[
        (&[b".."], "\"..\" is not the name of a file"),
        (&[b"."], "is not the name of a file"),
        (&[b".git"], "Git's own folder"),
        (&[b".GIT"], "Git's own folder"),
        (&[b"a/b"], "holds '/'"),
        (&[b"a\\b"], "holds '\\\\'"),
        (&[b"a\x1b[2J"], "holds '\\u{1b}'"),
        (&[b"a", b"a"], "stands twice"),
        (&[b"b", b"a"], "out of order"),
        (&[b"README", b"readme"], "in case only"),
        (&[b"\xff\xfe"], "not UTF-8"),
        (&[b""], ""),
    ];
    for (names, why) in cases {
        let fixture = Fixture::new();
        let blob = fixture.blob(b"x");
        let entries: Vec<(&str, &[u8], &str)> = names.iter().map(|name| ("100644", *name, blob.as_str())).collect();
        let below = fixture.raw_tree(&entries);
        fixture.commit_raw_tree(&[("40000", b"envs", &below), ("100644", b"fine", &blob)]);
        let tree = fixture.fetch(&fixture.here(), None).unwrap().tree;
        // What is beside it can be read; what is in it cannot.
        assert!(tree.read("fine").unwrap().is_some());
        let error = tree.list("envs").unwrap_err();
        assert!(matches!(error.code.as_str(), "path" | "corrupt"), "{error:?}");
        says(&error.message, why);
        says(&error.message, "envs");
        assert!(!error.message.contains('\x1b'));
        assert!(tree.stacks().is_err());
        assert!(tree.glob("", "**").is_err());
        assert!(tree.entry("envs/x").is_err());
    }
}

#[test]
fn a_file_and_a_directory_of_one_name_are_refused() {
    let fixture = Fixture::new();
    let blob = fixture.blob(b"x");
    let below = fixture.raw_tree(&[("100644", b"f", &blob)]);
    fixture.commit_raw_tree(&[("100644", b"a", &blob), ("100644", b"a.b", &blob), ("40000", b"a", &below)]);
    let tree = fixture.fetch(&fixture.here(), None).unwrap().tree;
    says(&refused(tree.read("a"), "path").message, "stands twice");
}

#[test]
fn broken_objects_are_corrupt() {
    let fixture = Fixture::new();
    let blob = fixture.blob(b"content");
    let missing = "1234567890123456789012345678901234567890";
    fixture.commit_raw_tree(&[
        ("100644", b"blob", &blob),
        ("40000", b"dir", &blob),
        ("100644", b"gone", missing),
        ("40000", b"gone-dir", missing),
    ]);
    let tree = fixture.fetch(&fixture.here(), None).unwrap().tree;
    says(
        &refused(tree.read("gone"), "corrupt").message,
        "gone: object 1234567890123456789012345678901234567890 is missing",
    );
    refused(tree.list("gone-dir"), "corrupt");
    refused(tree.list("dir"), "corrupt");

    // Somebody who can write to the repository puts other bytes under the same name.
    let other = fixture.blob(b"swapped");
    let object = |id: &str| fixture.repo().join(".git/objects").join(&id[..2]).join(&id[2..]);
    std::fs::remove_file(object(&blob)).unwrap();
    std::fs::copy(object(&other), object(&blob)).unwrap();
    let tree = fixture.fetch(&fixture.here(), None).unwrap().tree;
    says(&refused(tree.read("blob"), "corrupt").message, "does not hold what its name says");
}

#[test]
fn replacements_and_hooks_are_not_obeyed() {
    let fixture = Fixture::with(&[("a", "true")]);
    let (good, evil) = (fixture.blob(b"true"), fixture.blob(b"evil"));
    fixture.git(&["replace", &good, &evil]);
    fixture.git(&["config", "gitoxide.objects.allocLimit", "1"]);
    let tree = fixture.fetch(&fixture.here(), None).unwrap().tree;
    assert_eq!(tree.read("a").unwrap().as_deref(), Some(b"true".as_slice()));
}

#[test]
fn links_are_refused_or_followed_within() {
    let fixture = Fixture::with(&[("dir/file", "x")]);
    for (name, target) in [
        ("passwd", "/etc/passwd"),
        ("up", "../../../../etc/passwd"),
        ("ok", "dir/file"),
        ("okdir", "./dir"),
        ("dir/back", "../ok"),
        ("loop", "loop"),
        ("ping", "pong"),
        ("pong", "ping"),
        ("nowhere", "dir/none"),
    ] {
        std::os::unix::fs::symlink(target, fixture.repo().join(name)).unwrap();
    }
    fixture.commit(&[], "links");
    let tree = fixture.fetch(&fixture.here(), None).unwrap().tree;
    for path in ["passwd", "up", "ok", "okdir/file", "dir/back", "loop"] {
        let error = refused(tree.read(path), "symlink");
        says(&error.message, "is a symbolic link");
        says(error.hint.as_deref().unwrap(), "symlinks = true");
    }
    refused(tree.list(""), "symlink");
    refused(tree.glob("", "**/*"), "symlink");
    assert_eq!(tree.read("dir/file").unwrap().as_deref(), Some(b"x".as_slice()));
    assert!(tree.stacks().unwrap().is_empty());

    let tree = fixture.fetch(&SourceDecl { symlinks: true, ..fixture.here() }, None).unwrap().tree;
    for path in ["ok", "okdir/file", "dir/back", "okdir/back"] {
        assert_eq!(tree.read(path).unwrap().as_deref(), Some(b"x".as_slice()), "{path}");
    }
    assert!(tree.entry("okdir").unwrap().unwrap().dir);
    assert_eq!(tree.read("nowhere").unwrap(), None);
    says(&refused(tree.read("passwd"), "symlink").message, "is absolute");
    says(&refused(tree.read("up"), "symlink").message, "leads out of the source");
    says(&refused(tree.read("loop"), "symlink").message, "in a circle");
    says(&refused(tree.read("ping"), "symlink").message, "in a circle");
}

#[test]
fn submodules_and_lfs_pointers_are_refused() {
    let fixture = Fixture::new();
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n";
    let blob = fixture.blob(pointer.as_bytes());
    let commit = "1234567890123456789012345678901234567890";
    fixture.commit_raw_tree(&[("100644", b"large.bin", &blob), ("160000", b"vendor", commit)]);
    let tree = fixture.fetch(&fixture.here(), None).unwrap().tree;
    says(&refused(tree.read("large.bin"), "lfs").message, "large.bin is a Git LFS pointer");
    refused(tree.digest("large.bin"), "lfs");
    says(&refused(tree.read("vendor/x"), "submodule").message, "vendor is a submodule");
    refused(tree.list(""), "submodule");
    refused(tree.glob("", "**"), "submodule");
    assert!(tree.stacks().unwrap().is_empty());
    let tree = fixture.fetch(&SourceDecl { submodules: true, ..fixture.here() }, None).unwrap().tree;
    assert_eq!(tree.read("vendor/x").unwrap(), None);
    assert_eq!(tree.list("").unwrap().unwrap().len(), 1);
}

#[test]
fn sizes_have_limits() {
    let fixture = Fixture::with(&[("a/b/c/d", "12345"), ("e", "123"), ("f", "123")]);
    let with = |limits: SourceLimits| fixture.fetch(&SourceDecl { limits, ..fixture.here() }, None).unwrap().tree;
    let all = SourceLimits::default();
    let tree = with(SourceLimits { blob: 4, ..all.clone() });
    let error = refused(tree.read("a/b/c/d"), "too-large");
    says(&error.message, "a/b/c/d has 5 bytes; the limit is 4");
    says(error.hint.as_deref().unwrap(), "`blob`");
    refused(tree.entry("a/b/c/d"), "too-large");
    assert!(tree.read("e").unwrap().is_some());
    let tree = with(SourceLimits { depth: 2, ..all.clone() });
    refused(tree.read("a/b/c/d"), "limit");
    refused(tree.stacks(), "limit");
    let tree = with(SourceLimits { files: 3, ..all.clone() });
    assert!(tree.read("e").unwrap().is_some());
    refused(tree.stacks(), "limit");
    let tree = with(SourceLimits { total: 5, ..all });
    assert!(tree.read("e").unwrap().is_some());
    assert!(tree.read("e").unwrap().is_some(), "counted once");
    says(&refused(tree.read("f"), "too-large").message, "add up to more");
}

#[test]
fn a_tree_that_unfolds_without_end_ends() {
    let fixture = Fixture::new();
    let mut tree = fixture.raw_tree(&[("100644", b"stack.yaml", &fixture.blob(b"x"))]);
    for _ in 0..12 {
        let names: Vec<String> = (0..10).map(|at| format!("d{at}")).collect();
        let entries: Vec<(&str, &[u8], &str)> =
            names.iter().map(|name| ("40000", name.as_bytes(), tree.as_str())).collect();
        tree = fixture.raw_tree(&entries);
    }
    fixture.commit_tree(&tree);
    let began = Instant::now();
    let limits = SourceLimits { files: 20_000, ..SourceLimits::default() };
    let tree = fixture.fetch(&SourceDecl { limits, ..fixture.here() }, None).unwrap().tree;
    refused(tree.stacks(), "limit");
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
}

#[test]
fn many_lookups_are_cheap() {
    let fixture = Fixture::new();
    let blob = fixture.blob(b"x");
    let names: Vec<String> = (0..10_000).map(|at| format!("f{at:05}")).collect();
    let entries: Vec<(&str, &[u8], &str)> =
        names.iter().map(|name| ("100644", name.as_bytes(), blob.as_str())).collect();
    let files = fixture.raw_tree(&entries);
    fixture.commit_raw_tree(&[("40000", b"files", &files)]);
    let tree = fixture.fetch(&fixture.here(), None).unwrap().tree;
    let began = Instant::now();
    for name in &names {
        assert!(tree.digest(&format!("files/{name}")).unwrap().is_some());
    }
    // Generous for a busy machine; one decode of the directory per lookup takes minutes.
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}
