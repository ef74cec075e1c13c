//! `status` for a monitor, and `values --explain` for whoever wonders where a value is from.

use std::time::{Duration, Instant};

use serde_json::json;
use tidelock_tests::daemon::ask;
use tidelock_tests::{Ran, Site};

fn asked(site: &Site, more: &[&str]) -> Ran {
    site.tidelock([&["status", "--detailed-exitcode"], more].concat()).run()
}

#[test]
fn a_monitor_reads_the_exit_code() {
    let site = Site::with_files([("a", "one\n")]);
    let _ = asked(&site, &[]).exit(1).says("source infra was never fetched");
    site.tidelock(["plan"]).run().ok();
    let _ = asked(&site, &[]).exit(2).says("is waiting").says("was never applied from this store");
    let _ = site.tidelock(["apply"]).run().exit(5);
    let _ = asked(&site, &[]).exit(2).says("is waiting");
    site.apply();
    let _ = asked(&site, &[]).exit(0).says("converged: all of it is as Git says");

    site.world().write("machine/srv/a", "by hand\n");
    site.tidelock(["plan"]).run().ok();
    let _ = asked(&site, &[]).exit(2).says("drifted");
    let health = asked(&site, &["--output", "json"]).exit(2).json();
    assert_eq!(health["health"], "unsettled", "{health:#}");
    site.tidelock(["status"]).run().ok();

    // A directory in the file's place is nothing that it may take away.
    std::fs::remove_file(site.machine("srv/a")).unwrap();
    site.world().write("machine/srv/a/x", "");
    assert_ne!(site.tidelock(["apply", "--yes"]).run().code, 0);
    let _ = asked(&site, &[]).exit(1);
    std::fs::remove_dir_all(site.machine("srv/a")).unwrap();
    site.apply();
    let _ = asked(&site, &[]).exit(0);

    // The source goes away: what is in force is applied still, and nobody knows what is new.
    std::fs::rename(site.repo().path(), site.world().path("away")).unwrap();
    let daemon = tidelock_tests::Daemon::start(&site);
    daemon.eventually("the source is stale", || asked(&site, &[]).code == 1);
    let _ = asked(&site, &[]).exit(1).says("source infra is stale since");
}

#[test]
fn a_dead_daemon_is_noticed_by_the_age_of_its_looks() {
    let site = Site::with_files([("a", "one\n")]);
    site.apply();
    let _ = asked(&site, &["--max-age", "1h"]).exit(0);
    let began = Instant::now();
    while asked(&site, &["--max-age", "1s"]).code == 0 {
        assert!(began.elapsed() < Duration::from_secs(60), "it never grows old");
        std::thread::sleep(Duration::from_millis(100));
    }
    let _ = asked(&site, &["--max-age", "1s"]).exit(1).says("was looked at not since");
    let _ = site.tidelock(["status", "--max-age", "1s"]).run().exit(64);
}

#[test]
fn filters_choose_what_counts_and_a_mistyped_one_is_an_error() {
    let site = Site::with_files([("a", "one\n")]);
    site.stack("db");
    site.file("db", "b", "two\n");
    site.repo().commit("Another stack");
    site.apply();
    site.world().write("machine/srv/b", "by hand\n");
    site.tidelock(["plan"]).run().ok();
    let _ = asked(&site, &[]).exit(2);
    let _ = asked(&site, &["w*", "--target", "loc*"]).exit(0).never_says("drifted");
    let _ = asked(&site, &["--status", "drifted"]).exit(2).never_says("converged");
    let _ = asked(&site, &["--status", "failed,degraded"]).exit(0).says("No lane is so.");
    for (words, hint) in [(&["wep"][..], "did you mean web?"), (&["--target", "x*"], "known: local")] {
        let _ = asked(&site, words).exit(64).says(hint);
    }
    let _ = asked(&site, &["--status", "bad"]).exit(64).says("it is none of converged");
}

#[test]
fn a_stack_that_cannot_be_read_any_more_has_failed() {
    let site = Site::with_files([("a", "one\n")]);
    site.stack("db");
    site.file("db", "b", "two\n");
    site.repo().commit("Another stack");
    site.apply();
    let daemon = tidelock_tests::Daemon::start(&site);
    site.repo().edit("db/stack.yaml", "targets:", "targts:").commit("A slip of the finger");
    let _ = ask(&site, r#"{"verb":"poll","source":"infra"}"#);
    daemon.eventually("it says so", || asked(&site, &["db"]).code == 1);
    let _ = asked(&site, &["db"]).exit(1).says("db/stack.yaml");
    let _ = asked(&site, &["web"]).exit(0);
    site.repo().edit("db/stack.yaml", "targts:", "targets:").commit("Mended");
    let _ = ask(&site, r#"{"verb":"poll","source":"infra"}"#);
    daemon.eventually("it is well again", || asked(&site, &[]).code == 0);
}

#[test]
fn what_left_git_and_stays_on_the_target_is_not_as_git_says() {
    let site = Site::with_files([("a", "one\n"), ("b", "one\n")]);
    site.repo().edit("web/b.yaml", "kind:", "protect: true\nkind:").commit("A guarded one");
    site.apply();
    let _ = asked(&site, &[]).exit(0);
    site.repo().remove("web/b.yaml").remove("web/b.txt").commit("Gone");
    for (verb, code) in [("plan", 0), ("apply", 5)] {
        site.tidelock([verb, "web"]).run().exit(code).says("is protected and is not deleted");
        let _ = asked(&site, &[]).exit(2).says("server.file/b is protected and is not deleted");
        site.tidelock(["why"]).run().ok().says("protected").says("bring it back with `protect: false`");
    }
    site.tidelock(["forget", "server.file/b", "--yes"]).run().ok();
    site.tidelock(["plan"]).run().ok();
    let _ = asked(&site, &[]).exit(0);
}

#[test]
fn what_nobody_looked_at_since_another_revision_counts_is_not_as_git_says() {
    let site = Site::with_files([("a", "one\n")]);
    site.stack("db");
    site.file("db", "d", "one\n");
    let first = site.repo().commit("Another stack");
    site.apply();
    site.repo().write("web/a.txt", "two\n").commit("Two");
    site.apply();
    site.tidelock(["rollback", "web", "--to", &first, "--yes"]).run().ok();
    let _ = asked(&site, &[]).exit(0);
    site.tidelock(["rollback", "web", "--end"]).run().ok();
    let short = site.repo().head()[..12].to_owned();
    let _ = asked(&site, &[]).exit(2).says("web").says(&format!("revision {short} is in force and was not looked at"));
    let _ = asked(&site, &["db"]).exit(0);
    site.apply();
    let _ = asked(&site, &[]).exit(0);

    // An apply of one stack puts the revision in force for all.
    site.repo().write("web/a.txt", "three\n").write("db/d.txt", "three\n").commit("Three");
    site.tidelock(["apply", "web", "--yes"]).run().ok();
    let _ = asked(&site, &["web"]).exit(0);
    let lanes = asked(&site, &["--output", "json"]).exit(2).json();
    assert_eq!(lanes["lanes"][0]["status"], "pending", "{lanes:#}");
    site.apply();
    let _ = asked(&site, &[]).exit(0);
}

#[test]
fn what_people_let_go_hold_or_declare_otherwise_is_told_before_anybody_looks() {
    let site = Site::with_files([("a", "one\n")]);
    site.apply();
    site.repo().write("web/a.txt", "two\n").commit("Two");
    site.apply();
    // Undone, and then to follow Git again.
    site.tidelock(["undo", "file/a", "--yes"]).run().ok();
    let _ = asked(&site, &[]).exit(0).says("undone:");
    site.tidelock(["undo", "file/a", "--end"]).run().ok();
    let _ = asked(&site, &[]).exit(2).says("follows Git again");
    site.apply();
    let _ = asked(&site, &[]).exit(0);
    // Let be, and then to follow Git again; and forgotten.
    site.tidelock(["release", "file/a", "--yes"]).run().ok();
    let _ = asked(&site, &[]).exit(0).says("let be:");
    site.tidelock(["release", "file/a", "--end"]).run().ok();
    let _ = asked(&site, &[]).exit(2).says("follows Git again");
    site.apply();
    for what in ["file/a", "web"] {
        site.tidelock(["forget", what, "--yes"]).run().ok();
        let _ = asked(&site, &[]).exit(2).says("forgotten");
        let _ = site.tidelock(["why"]).run().ok().says("looked");
        site.apply();
        let _ = asked(&site, &[]).exit(0);
    }
    // Held, and held no more.
    site.tidelock(["suspend", "web", "--reason", "a freeze"]).run().ok();
    let _ = asked(&site, &[]).exit(2).says("suspended").says("a freeze");
    site.tidelock(["plan"]).run().ok();
    site.tidelock(["resume", "web", "--yes"]).run().ok();
    let _ = asked(&site, &[]).exit(2).says("what held it is over").never_says("a freeze");
    site.tidelock(["plan"]).run().ok();
    let _ = asked(&site, &[]).exit(0);
    // What the config says by now.
    let config = site.world().read("tidelock.toml");
    site.repo().git(["branch", "release"]);
    site.world()
        .write("tidelock.toml", config.replacen("[sources.infra]\n", "[sources.infra]\nbranch = \"release\"\n", 1));
    let _ = asked(&site, &[]).exit(2).says("the config names release by now");
    site.tidelock(["plan"]).run().ok();
    let _ = asked(&site, &[]).exit(0);
    site.world().write("tidelock.toml", config.replace("local", "other"));
    let _ = asked(&site, &[]).exit(2).says("orphaned").says("the config declares no target local any more");
}

#[test]
fn a_lane_that_nobody_ever_looked_at_is_not_as_git_says() {
    let site = Site::with_files([("a", "one\n")]);
    site.apply();
    site.stack("db");
    site.file("db", "b", "two\n");
    site.repo().commit("Another stack");
    site.tidelock(["apply", "web", "--yes"]).run().ok();
    let _ = asked(&site, &[]).exit(2).says("nobody looked at it yet");
    let _ = asked(&site, &["web"]).exit(0);
    site.apply();
    let _ = asked(&site, &[]).exit(0);
}

#[test]
fn a_plan_of_another_revision_says_nothing_of_where_lanes_stand() {
    let site = Site::with_files([("a", "one\n")]);
    site.apply();
    site.repo().write("web/a.txt", "two\n").commit("Two");
    site.apply();
    let lanes = || asked(&site, &["--output", "json"]).exit(0).json()["lanes"].clone();
    let before = lanes();
    let _ = site.tidelock(["plan", "--rev", "main~1"]).run().ok().says("file/a");
    assert_eq!(lanes(), before);
    let _ = site.tidelock(["approve", "--yes"]).run().ok().says("othing");
    site.stack("draft");
    site.file("draft", "b", "two\n");
    let _ = site.tidelock(["plan", "--worktree"]).run().ok().says("file/b");
    assert_eq!(lanes(), before, "a draft is no lane");
}

#[test]
fn a_lane_that_a_plan_could_not_look_at_has_failed() {
    let site = Site::with_files([("a", "one\n")]);
    site.apply();
    let config = site.world().read("tidelock.toml");
    site.world().write("tidelock.toml", config.replace("\"/srv/**\"", "\"/opt/**\""));
    let ran = site.tidelock(["plan"]).run();
    let _ = asked(&site, &[]).exit(1).says("failed").says("file/a");
    let _ = site.tidelock(["why"]).run().ok().says("failed: ").never_says("nothing is in its way");
    let _ = site.tidelock(["doctor"]).run().says("infra:web@local failed");
    site.tidelock(["stop", "--all", "--reason", "it smells of smoke"]).run().ok();
    let _ = asked(&site, &[]).exit(1).says("failed");
    site.tidelock(["resume", "--all", "--yes"]).run().ok();
    assert_ne!(ran.code, 0, "{}", ran.story());
    site.world().write("tidelock.toml", config);
    site.apply();
    let _ = asked(&site, &[]).exit(0);
}

#[test]
fn a_stack_that_cannot_be_planned_is_told_of_though_it_never_was() {
    let site = Site::with_files([("a", "one\n")]);
    site.apply();
    let _ = asked(&site, &[]).exit(0);
    for (slip, words) in [
        ("name: new\ntargets: lcoal\n", "declares no target lcoal"),
        ("name: new\ntargts: local\n", "new/stack.yaml:"),
        ("name: new\ntargets: local\nfrom: ../nowhere\n", "nowhere"),
    ] {
        site.repo().write("new/stack.yaml", slip).commit("A slip of the finger");
        let _ = site.tidelock(["plan"]).run();
        let _ = asked(&site, &[]).exit(1).says(words).never_says("converged: ");
        let _ = site.tidelock(["why"]).run().ok().says(words);
        let _ = site.tidelock(["doctor"]).run().says(words);
        let _ = asked(&site, &["web"]).exit(0);
        let said = site.tidelock(["why", "new"]).run();
        assert!(said.stdout.contains(words) || said.stderr.contains(words), "{}", said.story());
        site.repo().remove("new/stack.yaml").commit("Taken back");
        site.tidelock(["plan"]).run().ok();
        let _ = asked(&site, &["web"]).exit(0);
    }

    // A hundred of them are no page of their own.
    for n in 0..100 {
        site.repo().write(&format!("new{n}/stack.yaml"), "targts: local\n");
    }
    site.repo().commit("A template slipped");
    let _ = site.tidelock(["plan"]).run();
    let many = asked(&site, &[]).exit(1).says("new0/stack.yaml").says("and 90 more");
    assert_eq!(many.stdout.matches("wrong in Git:").count(), 10, "{}", many.story());
    for n in 0..100 {
        site.repo().remove(&format!("new{n}/stack.yaml"));
    }
    site.repo().commit("Taken back");

    // The only stack, and nobody else to say so.
    site.repo().edit("web/stack.yaml", "targets:", "targts:").commit("A slip of the finger");
    let _ = site.tidelock(["plan"]).run().exit(1);
    let _ = asked(&site, &[]).exit(1).says("web/stack.yaml").never_says("converged: ");
    let json = asked(&site, &["--output", "json"]).exit(1).json();
    assert_eq!(json["sources"][0]["problems"][0]["place"]["file"], "web/stack.yaml", "{json:#}");
    site.repo().edit("web/stack.yaml", "targts:", "targets:").commit("Mended");
    site.apply();
    let _ = asked(&site, &["web"]).exit(0);
}

#[test]
fn a_source_that_does_not_answer_a_command_is_told_of_without_a_daemon() {
    let site = Site::with_files([("a", "one\n")]);
    site.apply();
    let away = site.world().path("away");
    std::fs::rename(site.repo().path(), &away).unwrap();
    let _ = site.tidelock(["apply", "--yes"]).run();
    let _ = asked(&site, &[]).exit(1).says("source infra is stale since");
    std::fs::rename(&away, site.repo().path()).unwrap();
    site.tidelock(["plan"]).run().ok();
    let _ = asked(&site, &[]).exit(0);
}

#[test]
fn a_target_that_a_command_could_not_look_at_is_not_as_git_says() {
    let site = Site::with_files([("a", "one\n")]);
    site.apply();
    let _ = asked(&site, &[]).exit(0);
    let (there, away) = (site.machine(""), site.world().path("away"));
    for words in [&["plan"][..], &["apply", "--yes"]] {
        std::fs::rename(&there, &away).unwrap();
        let failed = site.tidelock(words).run();
        assert_ne!(failed.code, 0, "{}", failed.story());
        let _ = asked(&site, &[]).exit(1).says("failed").says("target local").never_says("converged: all");
        let _ = site.tidelock(["why"]).run().ok().says("failed: ").says("target local");
        std::fs::rename(&away, &there).unwrap();
        // What is not in force says nothing of it.
        site.repo().write("web/b.yaml", "kind: server.fle\n");
        site.apply();
        let _ = site.tidelock(["plan", "--worktree"]).run().exit(1);
        let _ = asked(&site, &[]).exit(0);
        site.repo().remove("web/b.yaml");
    }
}

#[test]
fn each_value_is_explained_by_its_file_and_by_what_that_took_back() {
    let site = Site::with_files([("a", "one\n")]);
    let stack =
        "name: web\ntargets: local\nvalues: [/values/common.yaml, /values/prod.yaml, '/values/{target}.yaml?']\n";
    site.repo()
        .write("web/stack.yaml", stack)
        .write("values/common.yaml", "port: 80\ntls: { cert: a, key: k }\n")
        .write("values/prod.yaml", "port: 8080\n")
        .write("values/local.yaml", "port: 9090\ntls: { cert: b }\n")
        .commit("Values in layers");
    let told = site.tidelock(["values", "--explain"]).run().ok().stdout;
    let lines: Vec<Vec<&str>> = told.lines().map(|line| line.split_whitespace().collect()).collect();
    for line in [
        &["/port", "9090", "values/local.yaml"][..],
        &["/port", "8080", "values/prod.yaml", "values/local.yaml"],
        &["/port", "80", "values/common.yaml", "values/local.yaml"],
        &["/tls/cert", "\"b\"", "values/local.yaml"],
        &["/tls/cert", "\"a\"", "values/common.yaml", "values/local.yaml"],
        &["/tls/key", "\"k\"", "values/common.yaml"],
    ] {
        assert!(lines.iter().any(|told| told == line), "{line:?} is not in\n{told}");
    }
    let lane = site.tidelock(["values", "--explain", "--output", "json"]).run().ok().json()["lanes"][0].clone();
    assert_eq!(lane["values"]["port"], 9090);
    assert_eq!(lane["set_by"]["/tls/key"], "values/common.yaml");
    let first = json!({ "pointer": "/port", "value": 8080, "file": "values/prod.yaml", "by": "values/local.yaml" });
    assert_eq!(lane["overridden"][0], first, "{lane:#}");
}
