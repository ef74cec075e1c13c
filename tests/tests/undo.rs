//! `undo` on the real binary: one resource goes back alone, and stays.

use std::fs;

use tidelock_tests::{Daemon, Site, site};

/// A site where `a` and `b` were `one`, and are `two`.
fn twice() -> Site {
    let site = Site::with_files([("a", "one\n"), ("b", "one\n")]);
    site.apply();
    site.repo().write("web/a.txt", "two\n").write("web/b.txt", "two\n").commit("Two");
    site.apply();
    site
}

#[test]
fn one_resource_goes_back_alone_and_stays_until_git_says_something_else() {
    let site = twice();
    let waits = site.tidelock(["undo", "a", "--reason", "it is slow"]).run().exit(5);
    let waits = waits.says("took back what run").says("it is slow").says("-two").says("+one").says("(undo)");
    let waits = waits.says("The undo is in force all the same: the next apply of web does it");
    let _ = waits.says("tidelock undo infra:web:server.file/a@local --end");
    assert_eq!(site.on_machine("srv/a").as_deref(), Some("two\n"), "not without a yes");
    let _ = site.tidelock(["undo", "a"]).run().exit(5).says("it is slow").says("in force all the same");
    site.tidelock(["undo", "a", "--yes"]).run().ok().says("it is slow").never_says("in force all the same");
    assert_eq!(site.on_machine("srv/a").as_deref(), Some("one\n"));
    assert_eq!(site.on_machine("srv/b").as_deref(), Some("two\n"));
    let _ = site.tidelock(["plan", "--detailed-exitcode"]).run().ok().says("is not as Git says");
    let _ = site.tidelock(["status"]).run().ok().says("undone:").says("it is slow");
    let _ = site.tidelock(["why", "web"]).run().ok().says("undone:").says("--end");
    let _ = site.tidelock(["history", "a"]).run().ok().says("undo");
    let again = site.tidelock(["undo", "a", "--yes"]).run().exit(64);
    let _ = again.says("took back what run");

    site.repo().write("web/b.txt", "three\n").commit("Three, of the other");
    site.apply();
    assert_eq!(site.on_machine("srv/a").as_deref(), Some("one\n"), "a commit on another changes nothing here");
    site.repo().write("web/a.txt", "three\n").commit("Three");
    site.apply();
    assert_eq!(site.on_machine("srv/a").as_deref(), Some("three\n"));
    let _ = site.tidelock(["status"]).run().ok().never_says("undone:");
    let _ = site.tidelock(["events"]).run().ok().says("Git says something else by now");
}

#[test]
fn a_person_lets_it_follow_git_again() {
    let site = twice();
    site.tidelock(["undo", "server.file/a", "--yes"]).run().ok();
    assert_eq!(site.on_machine("srv/a").as_deref(), Some("one\n"));
    let _ = site.tidelock(["undo", "a", "--end"]).run().ok().says("follows Git again").says("tidelock apply web");
    let _ = site.tidelock(["undo", "a", "--end"]).run().ok().says("nothing to end");
    site.apply();
    assert_eq!(site.on_machine("srv/a").as_deref(), Some("two\n"));
}

#[test]
fn what_is_kept_as_it_was_is_not_released_behind_its_back() {
    let site = twice();
    site.tidelock(["undo", "a", "--reason", "it is slow", "--yes"]).run().ok();
    let refused = site.tidelock(["release", "a", "--yes"]).run().exit(64).says("took back what run");
    let _ = refused.says("it is slow").says("tidelock undo infra:web:server.file/a@local --end");
    let _ = site.tidelock(["status"]).run().ok().says("undone:");
    site.tidelock(["undo", "a", "--end"]).run().ok();
    site.tidelock(["release", "a", "--yes"]).run().ok();
    let _ = site.tidelock(["status"]).run().ok().says("let be:").never_says("undone:");
}

#[test]
fn a_take_over_gives_back_what_was_there_before() {
    let site = Site::with_files([("a", "ours\n"), ("b", "ours\n")]);
    site.world().write("machine/srv/a", "theirs\n");
    site.tidelock(["apply", "--yes"]).run().ok();
    assert_eq!(site.on_machine("srv/a").as_deref(), Some("ours\n"));
    site.tidelock(["undo", "/srv/a", "--yes"]).run().ok();
    assert_eq!(site.on_machine("srv/a").as_deref(), Some("theirs\n"));
    site.converged();
}

#[test]
fn what_was_made_goes_and_what_was_removed_comes_back() {
    let site = twice();
    site.file("web", "c", "new\n");
    site.repo().commit("A third");
    site.apply();
    site.tidelock(["undo", "c", "--yes"]).run().ok();
    assert_eq!(site.on_machine("srv/c"), None);
    site.converged();
    site.tidelock(["undo", "c", "--end"]).run().ok();
    site.apply();
    assert_eq!(site.on_machine("srv/c").as_deref(), Some("new\n"));

    site.repo().git(["rm", "-q", "web/b.yaml", "web/b.txt"]);
    site.repo().commit("The second goes");
    site.apply();
    assert_eq!(site.on_machine("srv/b"), None);
    site.tidelock(["undo", "b", "--yes"]).run().ok();
    assert_eq!(site.on_machine("srv/b").as_deref(), Some("two\n"));
    site.converged();
    site.tidelock(["undo", "b", "--end"]).run().ok();
    site.apply();
    assert_eq!(site.on_machine("srv/b"), None);
}

#[test]
fn what_cannot_be_taken_back_says_so() {
    let site = twice();
    let large = "x".repeat((1 << 20) + 1);
    site.repo().write("web/a.txt", &large).commit("A large one");
    site.apply();
    site.tidelock(["undo", "a", "--yes"]).run().ok();
    site.tidelock(["undo", "a", "--end"]).run().ok();
    site.apply();
    site.repo().write("web/a.txt", "small again\n").commit("A small one");
    site.apply();
    let _ = site.tidelock(["undo", "a", "--yes"]).run().exit(64).says("was not kept").says("1024 KiB");
    let _ = site.tidelock(["undo", "nobody", "--yes"]).run().exit(64).says("nothing was ever done");

    let command = "kind: server.command\nname: once\nspec: { argv: [/bin/sh, SCRIPT], creates: /srv/done }\n";
    let script = site.world().path("once.sh").display().to_string();
    site.world().write("once.sh", "#!/bin/sh\ntouch \"$TIDELOCK_ROOT/srv/done\"\n");
    site.repo().write("web/once.yaml", command.replace("SCRIPT", &script)).commit("A command");
    site.world().write("tidelock.toml", format!("{}exec = [[\"/bin/sh\", {script:?}]]\n", site::config("infra")));
    site.apply();
    let _ = site.tidelock(["undo", "once", "--yes"]).run().exit(64).says("was a command");
    site.converged();
    assert!(fs::metadata(site.machine("srv/done")).is_ok());
}

#[test]
fn the_loop_keeps_it_so() {
    let site = twice();
    let config = site::config("infra").replacen("url = \"infra\"\n", "url = \"infra\"\npoll = \"200ms\"\n", 1);
    let config = config.replacen("root = \"machine\"\n", "root = \"machine\"\ndrift_every = \"300ms\"\n", 1);
    site.world().write("tidelock.toml", &config);
    let daemon = Daemon::start(&site);
    site.tidelock(["undo", "a", "--yes"]).run().ok();
    assert_eq!(site.on_machine("srv/a").as_deref(), Some("one\n"));
    site.world().write("machine/srv/a", "by hand\n");
    daemon.eventually("drift is undone to what is kept", || site.on_machine("srv/a").as_deref() == Some("one\n"));
    site.repo().write("web/a.txt", "three\n").commit("Three");
    daemon.eventually("Git says something else", || site.on_machine("srv/a").as_deref() == Some("three\n"));
    daemon.stop();
}
