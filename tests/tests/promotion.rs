//! Promotion by tag: an environment takes a module as another revision has it, and moves on
//! by one commit that names the next one.

use std::fs;

use tidelock_tests::daemon::ask;
use tidelock_tests::{Daemon, GitHttp, Site, site};

/// A module with one file and a template's value, `dev` that follows it, and `prod` at `rev`.
fn promoted(rev: &str) -> Site {
    let site = Site::new();
    let file = |env: &str| {
        format!("kind: server.file\nname: app\nspec: {{ path: \"/srv/{env}\", content: {{ $file: app.txt }} }}\n")
    };
    site.repo()
        .write("modules/web/app.yaml.j2", file("{{ env }}"))
        .write("modules/web/app.txt", "one\n")
        .write("dev/stack.yaml", stack("dev", "/modules/web"))
        .write("dev/values.yaml", "env: dev\n")
        .commit("The module, and dev");
    site.repo().git(["tag", "-a", "-m", "The first", "v1"]);
    site.repo()
        .write("prod/stack.yaml", stack("prod", &format!("{{ path: /modules/web, rev: {rev} }}")))
        .write("prod/values.yaml", "env: prod\n")
        .commit("prod is at v1");
    site
}

fn stack(name: &str, from: &str) -> String {
    format!(
        "name: {name}\nrenderer: jinja\ntargets: local\nfrom: {from}\nvalues: [values.yaml]\n\
         on_commit: apply\non_drift: apply\n"
    )
}

fn on(site: &Site) -> [Option<String>; 2] {
    ["srv/dev", "srv/prod"].map(|path| site.on_machine(path))
}

fn texts(dev: &str, prod: &str) -> [Option<String>; 2] {
    [Some(dev.to_owned()), Some(prod.to_owned())]
}

#[test]
fn dev_follows_the_branch_and_prod_is_promoted_by_one_commit() {
    let site = promoted("v1");
    site.apply();
    assert_eq!(on(&site), texts("one\n", "one\n"));
    site.repo().write("modules/web/app.txt", "two\n").commit("Two");
    site.repo().git(["tag", "v2"]);
    let plan = site.tidelock(["plan"]).run().ok().says("module of prod: /modules/web at v1");
    assert!(plan.stdout.contains("one change") || plan.stdout.contains("1 to update"), "{}", plan.story());
    site.apply();
    assert_eq!(on(&site), texts("two\n", "one\n"));
    site.converged();

    // What was planned before is not what is planned now: the module counts in the digest.
    let saved = site.tidelock(["plan", "prod", "--save", "p.json"]).run().ok();
    site.repo().edit("prod/stack.yaml", "rev: v1", "rev: v2").commit("Promote v2");
    let _ = site.tidelock(["apply", "prod", "--plan", "p.json", "--yes"]).run().exit(3);
    drop(saved);
    let json = site.tidelock(["plan", "prod", "--output", "json"]).run().ok().json();
    let module = &json["lanes"][0]["module"];
    assert_eq!((&module["path"], &module["rev"]), (&"modules/web".into(), &"v2".into()), "{json:#}");
    site.apply();
    assert_eq!(on(&site), texts("two\n", "two\n"));
    site.converged();
}

#[test]
fn a_commit_is_named_by_all_of_its_digits_and_lies_in_the_history() {
    let site = promoted("v1");
    let first = site.repo().git(["rev-parse", "v1^{commit}"]);
    site.repo().edit("prod/stack.yaml", "rev: v1", &format!("rev: {first:?}")).write("modules/web/app.txt", "two\n");
    site.repo().commit("prod is at the first commit");
    site.apply();
    assert_eq!(on(&site), texts("two\n", "one\n"));

    // A commit that is in the repository and was never agreed to.
    site.repo().git(["checkout", "-q", "-b", "aside"]);
    let aside = site.repo().write("modules/web/app.txt", "aside\n").commit("Aside");
    site.repo().git(["checkout", "-q", "main"]);
    for (rev, words) in [
        (aside.as_str(), "is not in the history of"),
        ("aside", "has no tag aside"),
        ("main", "has no tag main"),
        (&first[..12], "has no tag"),
        ("refs/heads/main", "a branch would move by itself"),
    ] {
        site.repo().write("prod/stack.yaml", stack("prod", &format!("{{ path: /modules/web, rev: {rev:?} }}")));
        site.repo().commit("Try another");
        let _ = site.tidelock(["plan", "prod"]).run().exit(1).says(words).says("prod/stack.yaml");
    }
    site.repo().write("prod/stack.yaml", stack("prod", "{ path: /modules/wep, rev: v1 }")).commit("A slip");
    let _ = site.tidelock(["plan", "prod"]).run().exit(1).says("holds no directory /modules/wep");
    assert_eq!(on(&site), texts("two\n", "one\n"), "nothing was done, and nothing removed");
}

#[test]
fn a_tag_that_was_moved_is_an_error_until_a_person_accepts_it() {
    let site = promoted("v1");
    site.apply();
    site.repo().write("modules/web/app.txt", "two\n").commit("Two");
    site.repo().git(["tag", "-f", "v1"]);
    let refused =
        site.tidelock(["apply", "--yes"]).run().says("tag v1 stands for").says("source accept infra --tag v1");
    assert_ne!(refused.code, 0, "{}", refused.story());
    assert_eq!(on(&site), texts("two\n", "one\n"), "dev goes on, and prod stays");

    let _ = site.tidelock(["source", "accept", "infra", "--tag", "v1"]).run().exit(5).says("was moved");
    site.tidelock(["source", "accept", "infra", "--tag", "v1", "--yes"]).run().ok();
    site.apply();
    assert_eq!(on(&site), texts("two\n", "two\n"));
    let _ = site.tidelock(["source", "accept", "infra", "--tag", "v1"]).run().ok().says("nothing to accept");
    site.tidelock(["events"]).run().ok().says("refs/tags/v1");
}

#[test]
fn a_promoted_module_needs_no_server_after_a_restart() {
    let site = promoted("v1");
    // A tag beside the branch: nothing of the branch leads to it.
    site.repo().git(["checkout", "-q", "-b", "release", "v1"]);
    site.repo().write("modules/web/app.txt", "one, mended\n").commit("A mend");
    site.repo().git(["tag", "v1.1"]);
    site.repo().git(["checkout", "-q", "main"]);
    site.repo().edit("prod/stack.yaml", "rev: v1", "rev: v1.1").commit("prod is at v1.1");
    let server = GitHttp::serve(site.world().root());
    let config = site::config(&format!("{}/infra/.git", server.url()));
    let quick = "poll = \"200ms\"\n\n[[sources";
    let config = config.replacen("\n[[sources", quick, 1);
    let config = config.replacen("root = \"machine\"\n", "root = \"machine\"\ndrift_every = \"200ms\"\n", 1);
    site.world().write("tidelock.toml", config);
    site.apply();
    assert_eq!(on(&site), texts("one\n", "one, mended\n"));

    drop(server);
    let daemon = Daemon::start(&site);
    fs::write(site.machine("srv/prod"), "by hand\n").unwrap();
    daemon.eventually("the drift is undone", || on(&site) == texts("one\n", "one, mended\n"));
    daemon.stop();
}

#[test]
fn a_daemon_sees_that_a_tag_was_moved() {
    let site = promoted("v1");
    site.apply();
    let daemon = Daemon::start(&site);
    site.repo().write("modules/web/app.txt", "two\n").commit("Two");
    site.repo().git(["tag", "-f", "v1"]);
    let _ = ask(&site, r#"{"verb":"poll","source":"infra"}"#);
    daemon.eventually("dev goes on", || site.on_machine("srv/dev").as_deref() == Some("two\n"));
    let failed = || site.tidelock(["status", "prod", "--status", "failed"]).run().stdout.contains("tag v1 stands for");
    daemon.eventually("prod says why it stays", failed);
    site.tidelock(["source", "accept", "infra", "--tag", "v1", "--yes"]).run().ok();
    daemon.eventually("prod goes on", || site.on_machine("srv/prod").as_deref() == Some("two\n"));
}

#[test]
fn a_module_is_verified_like_a_revision() {
    let site = promoted("v1");
    let key = site.world().key("ada");
    site.world().write("allowed_signers", key.allowed_signer("ada@example.com"));
    let config =
        site::config("infra").replacen("\n[[sources", "verify = { signers = \"allowed_signers\" }\n\n[[sources", 1);
    site.world().write("tidelock.toml", config);
    site.repo().commit_signed("From now on it is signed", &key);
    let _ = site.tidelock(["plan", "prod"]).run().exit(1).says("is not trusted");
    site.repo().git(["tag", "v2"]);
    site.repo().edit("prod/stack.yaml", "rev: v1", "rev: v2").commit_signed("prod is at a signed one", &key);
    site.apply();
    assert_eq!(on(&site), texts("one\n", "one\n"));
}
