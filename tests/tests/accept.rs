//! What stops every plan until a person says yes: a rewritten history, another system
//! under a target's name.

use std::fs;

use tidelock_tests::Site;

fn applied() -> Site {
    let site = Site::with_files([("a", "one\n")]);
    site.apply();
    site
}

#[test]
fn a_rewritten_history_waits_for_a_yes_and_then_is_in_force() {
    let site = applied();
    site.repo().write("web/a.txt", "two\n");
    let before = site.repo().commit("Two");
    site.apply();
    site.repo().git(["reset", "-q", "--hard", "HEAD~1"]);
    site.repo().write("web/a.txt", "other\n");
    let tip = site.repo().commit("Another history");

    site.converged();
    assert_eq!(site.on_machine("srv/a").as_deref(), Some("two\n"), "the old revision stays in force");
    let asked = site.tidelock(["source", "accept", "infra"]).run().exit(5);
    let _ = asked.says(&before[..12]).says(&tip[..12]).says("tidelock source accept infra --yes");
    site.converged();

    site.tidelock(["source", "accept", "infra", "--yes"]).run().ok();
    let _ = site.tidelock(["plan", "--detailed-exitcode"]).run().exit(2);
    site.apply();
    assert_eq!(site.on_machine("srv/a").as_deref(), Some("other\n"));
    let _ = site.tidelock(["events"]).run().ok().says("accepted source infra");
    let _ = site.tidelock(["source", "accept", "infra", "--yes"]).run().ok().says("nothing to accept");
}

#[test]
fn amending_a_broken_commit_is_told_of_wherever_somebody_asks() {
    let site = applied();
    site.repo().write("web/b.yaml", "kind: server.fle\nname: b\nspec: {}\n").commit("Broken");
    let _ = site.tidelock(["plan"]).run().exit(1);
    site.repo().edit("web/b.yaml", "server.fle", "server.directory").edit("web/b.yaml", "{}", "{ path: /srv/b }");
    site.repo().git(["commit", "-q", "--all", "--amend", "-m", "Mended"]);

    let (accept, words) = ("tidelock source accept infra", "history was rewritten");
    for command in [&["plan"][..], &["apply", "--yes"]] {
        let _ = site.tidelock(command).run().exit(1).says(words).says("tidelock source accept");
    }
    let _ = site.tidelock(["status", "--detailed-exitcode"]).run().exit(1).says(words).says(accept);
    let _ = site.tidelock(["why"]).run().ok().says(words).says(accept);
    let _ = site.tidelock(["doctor"]).run().exit(1).says(words).says(accept);

    site.tidelock(["source", "accept", "infra", "--yes"]).run().ok();
    let _ = site.tidelock(["why"]).run().ok().never_says(words);
    site.apply();
    let _ = site.tidelock(["status", "--detailed-exitcode"]).run().exit(0);
    let _ = site.tidelock(["doctor"]).run().never_says(words);
}

#[test]
fn an_unsigned_tip_is_not_put_in_force_by_a_yes() {
    let site = Site::new();
    let key = site.world().key("ada");
    site.world().write("allowed_signers", key.allowed_signer("ada@example.com"));
    let config = site.world().read("tidelock.toml");
    site.world().write(
        "tidelock.toml",
        config.replace("url = \"infra\"", "url = \"infra\"\nverify = { signers = \"allowed_signers\" }"),
    );
    site.stack("web");
    site.file("web", "a", "one\n");
    site.repo().commit_signed("One", &key);
    site.repo().write("web/a.txt", "two\n");
    site.repo().commit_signed("Two", &key);
    site.apply();
    site.repo().git(["reset", "-q", "--hard", "HEAD~1"]);
    site.repo().write("web/a.txt", "stolen\n");
    site.repo().commit("Not signed");

    site.tidelock(["source", "accept", "infra", "--yes"]).run();
    site.tidelock(["apply", "--yes"]).run();
    assert_eq!(site.on_machine("srv/a").as_deref(), Some("two\n"));

    // What lies in the work tree has no signature at all.
    let shown = site.tidelock(["plan", "--worktree"]).run().ok();
    assert!(shown.stdout.contains("stolen"), "{}", shown.story());
    let refused = site.tidelock(["apply", "--worktree", "--yes"]).run().exit(64);
    let _ = refused.says("files that are not committed cannot be applied");
    assert_eq!(site.on_machine("srv/a").as_deref(), Some("two\n"));
}

#[test]
fn another_system_under_a_targets_name_waits_for_a_yes() {
    let site = applied();
    fs::write(site.machine("etc/machine-id"), "fedcba9876543210fedcba9876543210\n").unwrap();
    fs::remove_file(site.machine("srv/a")).unwrap();
    let stopped = site.tidelock(["apply", "--yes"]).run().exit(1);
    assert!(stopped.stderr.contains("tidelock target accept local"), "{}", stopped.stderr);
    assert_eq!(site.on_machine("srv/a"), None);

    let _ = site.tidelock(["target", "accept", "local"]).run().exit(5).says("1 resource known there");
    let _ = site.tidelock(["apply", "--yes"]).run().exit(1);
    site.tidelock(["target", "accept", "local", "--yes"]).run().ok();
    site.apply();
    assert_eq!(site.on_machine("srv/a").as_deref(), Some("one\n"));
    let _ = site.tidelock(["target", "accept", "local"]).run().ok().says("nothing to accept");
}

#[test]
fn a_mistyped_name_is_answered_with_the_nearest() {
    let site = applied();
    for what in [["source", "accept", "infar"], ["target", "accept", "locla"]] {
        let ran = site.tidelock(what).run().exit(64);
        assert!(ran.stderr.contains("did you mean"), "{}", ran.stderr);
    }
}
