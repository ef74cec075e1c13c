//! The operator's gates, as their users meet them: windows, budgets, and people who say
//! yes or no before somebody applies.

use std::os::unix::fs::{PermissionsExt, chown};

use jiff::{SignedDuration, Timestamp};
use tidelock_tests::site::config;
use tidelock_tests::{Daemon, Ran, Site};

/// A site with one file applied, under these rules, and a change to it committed.
fn changed(rules: &str) -> Site {
    let site = Site::with_files([("a", "one\n")]);
    site.apply();
    ruled(&site, rules);
    change(&site, "two\n");
    site
}

fn ruled(site: &Site, rules: &str) {
    site.world().write("tidelock.toml", format!("{}\n{rules}", config("infra")));
}

fn change(site: &Site, contents: &str) {
    site.repo().write("web/a.txt", contents);
    site.repo().commit("Another greeting");
}

/// `HH:MM` in UTC, so many minutes from now.
fn clock(minutes: i64) -> String {
    let then = Timestamp::now() + SignedDuration::from_mins(minutes);
    then.strftime("%H:%M").to_string()
}

#[track_caller]
fn waits(site: &Site, arguments: &[&str], why: &str) -> Ran {
    let before = site.on_machine("srv/a");
    let ran = site.tidelock(arguments).run().exit(5).says(why);
    assert_eq!(site.on_machine("srv/a"), before, "nothing was done\n{}", ran.story());
    ran
}

#[test]
fn outside_of_its_window_a_stack_is_planned_and_not_applied() {
    let shut = format!("[[gate]]\nstacks = \"web\"\nwindow = \"daily {}-{} UTC\"\n", clock(120), clock(180));
    let site = changed(&shut);
    site.tidelock(["plan", "--save", "plan.json"]).run().ok().says("only in the window daily");
    let _ = waits(&site, &["apply", "--yes"], "it opens next on");
    let _ = waits(&site, &["apply", "--plan", "plan.json"], "only in the window");

    ruled(&site, &format!("[[gate]]\nstacks = \"web\"\nwindow = \"daily {}-{} UTC\"\n", clock(-60), clock(60)));
    site.tidelock(["apply", "--plan", "plan.json"]).run().ok();
    assert_eq!(site.on_machine("srv/a").as_deref(), Some("two\n"));
}

#[test]
fn a_window_of_another_stack_is_in_nobodys_way() {
    let site =
        changed(&format!("[[gate]]\nstacks = \"db/**\"\nwindow = \"daily {}-{} UTC\"\n", clock(120), clock(180)));
    site.apply();
    assert_eq!(site.on_machine("srv/a").as_deref(), Some("two\n"));
}

#[test]
fn git_cannot_raise_the_operators_budget() {
    let site = Site::with_files([("a", "one\n"), ("b", "one\n")]);
    site.apply();
    ruled(&site, "[[gate]]\nbudget = { destroy = 0 }\n");
    site.repo().edit("web/stack.yaml", "on_drift", "budget: { destroy: 9 }\non_drift").remove("web/b.yaml");
    site.repo().commit("One file less, and a larger budget");
    let _ = waits(&site, &["apply"], "1 effect would destroy something; the budget is 0");
    assert!(site.on_machine("srv/b").is_some());
    site.apply();
    assert!(site.on_machine("srv/b").is_none(), "a yes to this very plan");
}

#[test]
fn what_was_approved_is_applied_by_anybody_and_the_approver_is_told() {
    let site = changed("[[gate]]\napprovals = 1\n");
    let _ = waits(&site, &["apply", "--yes"], "asks for the approval of 1 person");
    let _ = site.tidelock(["approve"]).run().exit(5).says("--- ").says("No yes was recorded");
    let _ = waits(&site, &["apply", "--yes"], "asks for the approval");
    site.tidelock(["approve", "web", "--reason", "seen", "--yes"]).run().ok().says("Approved by root: infra:web@local");
    site.tidelock(["apply"]).run().ok();
    assert_eq!(site.on_machine("srv/a").as_deref(), Some("two\n"));
    site.tidelock(["blame", "server.file/a"]).run().ok().says("approved  root");
    site.tidelock(["approve", "--yes"]).run().ok().says("Nothing that was planned waits for a yes");
}

#[test]
fn where_a_daemon_runs_a_yes_needs_no_apply() {
    let site = changed("[[gate]]\napprovals = 1\n");
    let daemon = Daemon::start(&site);
    // Its first pass is of the revision from before: the one that waits comes after the fetch.
    daemon.eventually("it waits for a person", || site.tidelock(["status"]).run().stdout.contains("approval"));
    let ran = site.tidelock(["approve", "web", "--yes"]).run().ok();
    let _ = ran
        .says("A daemon runs, and goes on with it by itself")
        .says("Next: tidelock status web")
        .never_says("Next: tidelock apply");
    daemon.eventually("it is applied", || site.on_machine("srv/a").as_deref() == Some("two\n"));
    daemon.stop();
}

#[test]
fn an_approval_ends_when_the_target_changes_and_not_with_an_unrelated_commit() {
    let site = changed("[[gate]]\napprovals = 1\n");
    site.tidelock(["plan"]).run().ok().says("tidelock approve");
    site.tidelock(["approve", "--yes"]).run().ok();
    site.repo().write("README.md", "Nothing to do with it\n");
    site.repo().commit("Unrelated");
    std::fs::write(site.machine("srv/a"), "by hand\n").unwrap();
    let _ = waits(&site, &["apply", "--yes"], "asks for the approval");
    std::fs::write(site.machine("srv/a"), "one\n").unwrap();
    site.tidelock(["apply"]).run().ok();
    assert_eq!(site.on_machine("srv/a").as_deref(), Some("two\n"));
}

#[test]
fn one_stack_is_approved_and_the_other_still_waits() {
    let site = Site::with_files([("a", "one\n")]);
    site.stack("db");
    site.file("db", "b", "one\n");
    site.repo().commit("A second stack");
    site.apply();
    ruled(&site, "[[gate]]\napprovals = 1\n");
    site.repo().write("db/b.txt", "two\n");
    change(&site, "two\n");
    site.tidelock(["plan"]).run().ok();
    site.tidelock(["approve", "db", "--yes"]).run().ok().never_says("infra:web");
    let _ = site.tidelock(["apply"]).run().exit(5).says("infra:web@local: the operator's gate");
    assert_eq!(site.on_machine("srv/b").as_deref(), Some("two\n"));
    assert_eq!(site.on_machine("srv/a").as_deref(), Some("one\n"));
    let _ = site.tidelock(["approve", "dbb", "--yes"]).run().exit(64).says("did you mean db?");
}

#[test]
fn nobody_approves_what_is_their_own() {
    let site = changed("[[gate]]\napprovals = 1\n[people]\nroot = \"ada@example.com\"\n");
    site.tidelock(["plan"]).run().ok();
    let _ = site.tidelock(["approve", "--yes"]).run().exit(3).says("nobody approves what is their own");
    let _ = waits(&site, &["apply", "--yes"], "asks for the approval");
}

#[test]
fn a_no_holds_until_the_same_person_says_yes() {
    let site = changed("");
    site.tidelock(["plan"]).run().ok();
    site.tidelock(["reject", "--comment", "not on a Friday", "--yes"]).run().ok().says("Rejected by root");
    let _ = waits(&site, &["apply", "--yes"], "root said no to this very plan: not on a Friday");
    assert!(site.events().iter().any(|event| event["event"] == "declined" && event["who"] == "root"));
    site.tidelock(["approve", "--yes"]).run().ok();
    site.tidelock(["apply"]).run().ok();

    change(&site, "three\n");
    site.tidelock(["plan"]).run().ok();
    site.tidelock(["reject", "--yes"]).run().ok();
    change(&site, "four\n");
    site.apply();
    assert_eq!(site.on_machine("srv/a").as_deref(), Some("four\n"), "something else was planned");
}

/// A site whose stack asks before it applies a commit, with `two` applied on a yes given beforehand.
fn asked() -> Site {
    let site = changed("");
    site.repo().edit("web/stack.yaml", "on_commit: apply", "on_commit: ask").commit("Ask");
    let _ = site.tidelock(["apply"]).run().exit(5).says("on_commit: ask");
    site.tidelock(["approve", "--yes", "--comment", "seen"]).run().ok();
    site.tidelock(["apply"]).run().ok();
    assert_eq!(site.on_machine("srv/a").as_deref(), Some("two\n"));
    site
}

#[test]
fn what_was_rolled_back_does_not_go_out_again_on_the_old_yes() {
    let site = asked();
    site.tidelock(["rollback", "web", "--to", "HEAD~2", "--yes"]).run().ok();
    assert_eq!(site.on_machine("srv/a").as_deref(), Some("one\n"));
    site.tidelock(["rollback", "web", "--end"]).run().ok();
    let _ = waits(&site, &["apply"], "on_commit: ask");
    assert_eq!(site.on_machine("srv/a").as_deref(), Some("one\n"));
    site.tidelock(["approve", "--yes"]).run().ok();
    site.tidelock(["apply"]).run().ok();
    assert_eq!(site.on_machine("srv/a").as_deref(), Some("two\n"));
}

#[test]
fn a_yes_that_no_run_has_used_is_revoked_by_a_rollback_and_by_an_undo() {
    let site = asked();
    change(&site, "three\n");
    site.tidelock(["plan"]).run().ok();
    site.tidelock(["approve", "--yes"]).run().ok();
    site.tidelock(["rollback", "web", "--to", "HEAD~1", "--yes"]).run().ok();
    site.tidelock(["rollback", "web", "--end"]).run().ok();
    let _ = waits(&site, &["apply"], "on_commit: ask");
    site.tidelock(["approve", "--yes"]).run().ok();
    let _ = site.tidelock(["undo", "a"]).run().exit(5);
    site.tidelock(["undo", "a", "--end"]).run().ok();
    let _ = waits(&site, &["apply"], "on_commit: ask");
}

#[test]
fn a_yes_to_going_back_survives_that_it_is_said_twice() {
    let site = asked();
    ruled(&site, "[[gate]]\napprovals = 1\n");
    let back = ["rollback", "web", "--to", "HEAD~2", "--yes"];
    let _ = site.tidelock(back).run().exit(5).says("asks for the approval");
    site.tidelock(["approve", "--yes"]).run().ok();
    site.tidelock(back).run().ok();
    assert_eq!(site.on_machine("srv/a").as_deref(), Some("one\n"));
}

#[test]
fn a_yes_to_one_drift_is_none_to_the_next() {
    let site = asked();
    site.repo().edit("web/stack.yaml", "on_drift: apply", "on_drift: ask").commit("Ask there too");
    site.apply();
    for _ in 0..2 {
        std::fs::write(site.machine("srv/a"), "by hand\n").unwrap();
        let _ = waits(&site, &["apply"], "on_drift: ask");
        site.tidelock(["approve", "--yes"]).run().ok();
        site.tidelock(["apply"]).run().ok();
        assert_eq!(site.on_machine("srv/a").as_deref(), Some("two\n"));
    }
    // It went as it came, and a person had said yes meanwhile.
    std::fs::write(site.machine("srv/a"), "by hand\n").unwrap();
    let _ = waits(&site, &["apply"], "on_drift: ask");
    site.tidelock(["approve", "--yes"]).run().ok();
    std::fs::write(site.machine("srv/a"), "two\n").unwrap();
    site.apply();
    std::fs::write(site.machine("srv/a"), "by hand\n").unwrap();
    let _ = waits(&site, &["apply"], "on_drift: ask");
}

#[test]
fn a_callers_own_yes_is_none_to_the_same_drift_in_the_loop() {
    let site = asked();
    site.repo().edit("web/stack.yaml", "on_drift: apply", "on_drift: ask").commit("Ask there too");
    site.apply();
    std::fs::write(site.machine("srv/a"), "by hand\n").unwrap();
    site.apply();
    assert_eq!(site.on_machine("srv/a").as_deref(), Some("two\n"));
    std::fs::write(site.machine("srv/a"), "by hand\n").unwrap();
    let daemon = Daemon::start(&site);
    daemon.eventually("it waits for a person", || site.tidelock(["status"]).run().stdout.contains("on_drift: ask"));
    assert_eq!(site.on_machine("srv/a").as_deref(), Some("by hand\n"));
    site.tidelock(["approve", "--yes"]).run().ok();
    daemon.eventually("it was approved", || site.on_machine("srv/a").as_deref() == Some("two\n"));
}

#[test]
fn a_yes_outlives_an_apply_that_failed() {
    let site = asked();
    let script = site.world().path("once.sh").display().to_string();
    site.world()
        .write("once.sh", "#!/bin/sh\ntest -e \"$TIDELOCK_ROOT/srv/ok\" && touch \"$TIDELOCK_ROOT/srv/done\"\n");
    let command = "kind: server.command\nname: once\nspec: { argv: [/bin/sh, SCRIPT], creates: /srv/done }\n";
    site.repo().write("web/once.yaml", command.replace("SCRIPT", &script)).commit("A command");
    ruled(&site, &format!("exec = [[\"/bin/sh\", {script:?}]]\n"));
    site.tidelock(["plan"]).run().ok();
    site.tidelock(["approve", "--yes"]).run().ok();
    let failed = site.tidelock(["apply"]).run().exit(1);
    assert_eq!(site.on_machine("srv/done"), None, "{}", failed.story());
    std::fs::write(site.machine("srv/ok"), "").unwrap();
    site.tidelock(["apply"]).run().ok();
    std::fs::remove_file(site.machine("srv/done")).unwrap();
    let _ = site.tidelock(["apply"]).run().exit(5);
}

#[test]
fn a_plan_that_was_approved_says_by_whom_and_asks_for_no_yes() {
    let site = asked();
    change(&site, "three\n");
    site.tidelock(["plan"]).run().ok().says("waits: the stack says `on_commit: ask`");
    site.tidelock(["approve", "--yes", "--comment", "seen by me"]).run().ok();
    let planned = site.tidelock(["plan"]).run().ok().says("approved: by root at ").says("(seen by me)");
    let _ = planned.never_says("waits:").says("Next: tidelock apply");
    let json = site.tidelock(["plan", "--output", "json"]).run().ok().json();
    assert_eq!(json["lanes"][0]["approved"][0]["who"], "root", "{json:#}");
    let applied = site.tidelock(["apply"]).run().ok().says("approved: by root at ").says("(seen by me)");
    let _ = applied.never_says("waits:");
    site.tidelock(["plan"]).run().ok().never_says("approved:");
}

/// Takes the users that every system has, so it runs as root alone.
#[test]
fn two_people_approve_and_one_of_them_twice_is_not_two() {
    let rules = "[[gate]]\napprovals = 2\napprovers = [\"@ops\", \"root\"]\n[groups]\nops = [\"daemon\"]\n";
    let site = Site::new();
    if !site.machine("srv").metadata().is_ok_and(|found| std::os::unix::fs::MetadataExt::uid(&found) == 0) {
        return;
    }
    let store = format!("[store]\nurl = \"sqlite:shared/tidelock.db\"\ncache = \"cache\"\n\n{}", config("infra"));
    site.world().write("tidelock.toml", &store);
    site.stack("web");
    site.file("web", "a", "one\n");
    site.repo().commit("The first commit");
    site.apply();
    site.world().write("tidelock.toml", format!("{store}\n{rules}"));
    change(&site, "two\n");
    site.tidelock(["plan"]).run().ok();

    // The store is the other person's; root may use it too.
    std::fs::set_permissions(site.world().root(), PermissionsExt::from_mode(0o755)).unwrap();
    let shared = site.world().path("shared");
    let entries = std::fs::read_dir(&shared).unwrap().map(|entry| entry.unwrap().path());
    for path in entries.chain([shared.clone()]) {
        chown(&path, Some(1), Some(1)).unwrap();
    }
    let daemon = |arguments: &[&str]| site.tidelock(arguments).user(1).run();
    daemon(&["approve", "--yes"]).ok().says("Approved by daemon");
    daemon(&["approve", "--yes"]).ok();
    let _ = waits(&site, &["apply", "--yes"], "2 people of daemon, root; so far: daemon");
    site.tidelock(["approve", "--yes"]).run().ok().says("Approved by root");
    site.tidelock(["apply"]).run().ok();
    assert_eq!(site.on_machine("srv/a").as_deref(), Some("two\n"));
    site.tidelock(["blame", "server.file/a"]).run().ok().says("approved  daemon, root");
}
