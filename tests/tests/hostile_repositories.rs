//! Repositories that mean harm end in named errors, in bounded time and memory,
//! and never reach the machine.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tidelock_tests::git_http::Answer;
use tidelock_tests::{GitHttp, Ran, Site, site};

/// A converged site, so that there is something to lose.
fn site() -> Site {
    let site = Site::with_files([("a", "one\n"), ("b", "two\n")]);
    site.apply();
    site
}

/// `apply --yes` must fail, say one of the texts, and touch nothing.
#[track_caller]
fn refused(site: &Site, texts: &[&str]) -> Ran {
    let before = site.world().fingerprint("machine");
    let start = Instant::now();
    let ran = site.tidelock(["apply", "--yes"]).run();
    assert_ne!(ran.code, 0, "not refused\n{}", ran.story());
    assert!(
        texts.iter().any(|text| ran.stderr.contains(text) || ran.stdout.contains(text)),
        "none of {texts:?}\n{}",
        ran.story()
    );
    assert!(!ran.stderr.contains("panicked"), "a panic is no error\n{}", ran.story());
    assert!(start.elapsed() < Duration::from_secs(60), "it took {:?}", start.elapsed());
    assert_eq!(before, site.world().fingerprint("machine"), "something was touched\n{}", ran.story());
    ran
}

/// Commits a tree whose root has one more entry, with a name that `git add`
/// would not take.
fn commit_with_entry(site: &Site, mode: &str, kind: &str, object: &str, name: &str) {
    let repo = site.repo();
    // `git mktree` checks names too, so the tree is written as bytes.
    let listed = repo.git(["ls-tree", "HEAD"]);
    let mut entries: Vec<(String, String, String)> = listed
        .lines()
        .map(|line| {
            let (about, name) = line.split_once('\t').expect("a name");
            let words: Vec<&str> = about.split(' ').collect();
            (words[0].to_owned(), words[2].to_owned(), name.to_owned())
        })
        .collect();
    let _ = kind;
    entries.push((mode.to_owned(), object.to_owned(), name.to_owned()));
    entries.sort_by(|a, b| a.2.cmp(&b.2));
    let mut bytes = Vec::new();
    for (mode, object, name) in entries {
        bytes.extend_from_slice(format!("{} {name}\0", mode.trim_start_matches('0')).as_bytes());
        bytes.extend((0..20).map(|at| u8::from_str_radix(&object[2 * at..2 * at + 2], 16).expect("hex")));
    }
    let tree = hash_object(repo.path(), "tree", &bytes);
    let commit = repo.git(["commit-tree", "-p", "HEAD", "-m", "Nothing to see here", &tree]);
    repo.git(["update-ref", "refs/heads/main", &commit]);
}

fn hash_object(repo: &Path, kind: &str, bytes: &[u8]) -> String {
    let mut git = Command::new("git")
        .current_dir(repo)
        .args(["hash-object", "-w", "--literally", "--stdin", "-t", kind])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("git");
    git.stdin.take().expect("input").write_all(bytes).expect("the object is written");
    let output = git.wait_with_output().expect("git");
    String::from_utf8(output.stdout).expect("an id").trim().to_owned()
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    for name in ["..", ".", ".git", ".GIT", "a\u{200c}/../b"] {
        let site = site();
        let blob = hash_object(site.repo().path(), "blob", b"evil");
        commit_with_entry(&site, "100644", "blob", &blob, name);
        refused(&site, &["name", "path"]);
    }
}

#[test]
fn names_that_fall_together_are_refused() {
    let site = site();
    site.file("web", "CASE", "one\n");
    site.file("web", "case", "two\n");
    site.repo().commit("Two names for one on some systems");
    refused(&site, &["CASE", "case"]);
}

#[test]
fn symbolic_links_out_of_the_repository_are_refused() {
    let site = site();
    std::os::unix::fs::symlink("/etc/passwd", site.repo().path().join("web/secret.txt")).unwrap();
    site.repo().write(
        "web/secret.yaml",
        "kind: server.file\nname: secret\nspec: { path: /srv/secret, content: { $file: secret.txt } }\n",
    );
    site.repo().commit("A link out");
    refused(&site, &["symbolic link", "symlink", "link"]);
}

#[test]
fn an_alias_bomb_is_refused() {
    let site = site();
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let aliases = vec![format!("*a{}", level - 1); 9].join(", ");
        bomb.push_str(&format!("a{level}: &a{level} [{aliases}]\n"));
    }
    site.repo().write("web/bomb.yaml", bomb).commit("A laugh");
    refused(&site, &["bomb.yaml"]);
}

/// Puts the site's source behind HTTP, with a cache that has nothing yet of the
/// newest commit.
fn over_http(site: &Site) -> GitHttp {
    let server = GitHttp::serve(site.world().root());
    let url = format!("{}/infra/.git", server.url().trim_end_matches('/'));
    site.world().write("tidelock.toml", site::config(&url));
    site.tidelock(["plan"]).run().ok();
    // Enough that can be broken.
    site.repo().write("web/large.txt", (0..20_000).map(|n| format!("{n} {}\n", n * 7919 % 10_007)).collect::<String>());
    site.repo().write("web/b.txt", "not two\n").commit("A commit to fetch");
    server
}

#[test]
fn a_truncated_pack_is_a_named_error() {
    let site = site();
    let server = over_http(&site);
    server.answer(Answer::Cut(2_000));
    truncated_or_corrupt(&site);
}

#[test]
fn a_pack_with_a_flipped_bit_is_a_named_error() {
    let site = site();
    let server = over_http(&site);
    server.answer(Answer::Flip(3_000));
    truncated_or_corrupt(&site);
}

/// A broken fetch leaves the last verified revision in force and says so.
#[track_caller]
fn truncated_or_corrupt(site: &Site) {
    let before = site.world().fingerprint("machine");
    let ran = site.tidelock(["apply", "--yes"]).run();
    let said = format!("{}{}", ran.stdout, ran.stderr);
    let named = ["corrupt", "truncated", "broken", "damaged", "stale", "ended early", "not whole"]
        .iter()
        .any(|word| said.contains(word));
    assert!(named, "the error is not named\n{}", ran.story());
    assert!(!said.contains("panicked"), "{}", ran.story());
    assert_eq!(before, site.world().fingerprint("machine"), "{}", ran.story());
}

#[test]
fn a_huge_blob_in_a_small_pack_is_a_named_error() {
    let site = site();
    let server = GitHttp::serve(site.world().root());
    let url = format!("{}/infra/.git", server.url().trim_end_matches('/'));
    site.world().write("tidelock.toml", site::config(&url));
    let mut git = Command::new("git")
        .current_dir(site.repo().path())
        .args(["hash-object", "-w", "--stdin"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("git");
    let mut input = git.stdin.take().expect("input");
    let zeros = vec![0_u8; 1 << 20];
    for _ in 0..1_536 {
        input.write_all(&zeros).expect("zeros");
    }
    drop(input);
    let output = git.wait_with_output().expect("git");
    let blob = String::from_utf8(output.stdout).expect("an id").trim().to_owned();
    commit_with_entry(&site, "100644", "blob", &blob, "zeros");
    let before = site.world().fingerprint("machine");
    let ran = site.tidelock(["apply", "--yes"]).run();
    assert!(!ran.stderr.contains("panicked"), "{}", ran.story());
    assert_eq!(before, site.world().fingerprint("machine"), "{}", ran.story());
    let said = format!("{}{}", ran.stdout, ran.stderr);
    assert!(["limit", "MiB", "large", "bytes"].iter().any(|word| said.contains(word)), "not named\n{}", ran.story());
}
