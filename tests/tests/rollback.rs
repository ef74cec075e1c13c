//! Rollback on the real binary: a stack goes back, stays there, and comes forward again.

use tidelock_tests::{Daemon, GitHttp, Site, site};

/// A site where `one` and then `two` was applied, and the commit of `one`.
fn twice(site: Site) -> (Site, String) {
    site.stack("web");
    site.file("web", "a", "one\n");
    site.stack("db");
    site.file("db", "d", "one\n");
    let first = site.repo().commit("One");
    site.apply();
    site.repo().write("web/a.txt", "two\n").write("db/d.txt", "two\n");
    site.repo().commit("Two");
    site.apply();
    assert_eq!(site.on_machine("srv/a").as_deref(), Some("two\n"));
    (site, first)
}

#[test]
fn a_stack_goes_back_alone_and_stays_until_the_pin_ends() {
    let (site, first) = twice(Site::new());
    let short = &first[..12];
    let back = ["rollback", "web", "--to", &first, "--reason", "it is slow"];
    let waits = site.tidelock(back).run().exit(5);
    let waits = waits.says("pinned web to").says("it is slow").says("rollback").says("tidelock apply web --yes");
    let _ = waits.says(&format!("web is pinned to {short}, and stays so")).says("its targets are as they were");
    assert_eq!(site.on_machine("srv/a").as_deref(), Some("two\n"), "not without a yes");
    let _ =
        site.tidelock(["plan"]).run().ok().says("pinned:").says("tidelock rollback web --end").says("server.file/a");

    site.tidelock(["rollback", "web", "--to", &first, "--reason", "it is slow", "--yes"]).run().ok();
    assert_eq!(site.on_machine("srv/a").as_deref(), Some("one\n"));
    assert_eq!(site.on_machine("srv/d").as_deref(), Some("two\n"), "the other stack stays");
    let _ = site.tidelock(["status"]).run().ok().says("pinned:").says("it is slow").says(short);
    let _ = site.tidelock(["history"]).run().ok().says("rollback");
    let _ = site.tidelock(["plan", "web"]).run().ok().says(&format!("Plan for web on local at {short} (One)"));
    let json = site.tidelock(["plan", "--output", "json"]).run().ok().json();
    let lane = json["lanes"].as_array().unwrap().iter().find(|lane| lane["lane"]["stack"] == "web").unwrap();
    assert_eq!(lane["pinned"]["revision"]["id"], *first, "{lane}");

    site.repo().write("web/a.txt", "three\n").write("db/d.txt", "three\n");
    site.repo().commit("Three");
    site.apply();
    assert_eq!(site.on_machine("srv/a").as_deref(), Some("one\n"), "a new commit changes nothing there");
    assert_eq!(site.on_machine("srv/d").as_deref(), Some("three\n"));
    let _ = site.tidelock(["apply", "web", "--rev", "main~1", "--yes"]).run().exit(5).says("pinned web to");

    let _ = site
        .tidelock(["rollback", "web", "--end", "--yes"])
        .run()
        .ok()
        .says("no longer pinned")
        .says("tidelock apply web");
    let _ = site.tidelock(["rollback", "web", "--end"]).run().ok().says("nothing to end");
    site.apply();
    assert_eq!(site.on_machine("srv/a").as_deref(), Some("three\n"));
    let _ = site.tidelock(["events"]).run().ok().says("pinned web to").says("unpinned");
}

#[test]
fn a_rollback_needs_no_git_server() {
    let site = Site::new();
    let server = GitHttp::serve(site.world().root());
    let config = site::config(&format!("{}/infra/.git", server.url()));
    site.world().write("tidelock.toml", config);
    let (site, first) = twice(site);
    drop(server);
    site.tidelock(["rollback", "web", "--to", &first[..8], "--yes"]).run().ok();
    assert_eq!(site.on_machine("srv/a").as_deref(), Some("one\n"));
    site.tidelock(["rollback", "web", "--end"]).run().ok();
    site.apply();
    assert_eq!(site.on_machine("srv/a").as_deref(), Some("two\n"));
    site.tidelock(["rollback", "web", "--to", &first, "--yes"]).run().ok();
    assert_eq!(site.on_machine("srv/a").as_deref(), Some("one\n"));
}

#[test]
fn a_commit_that_is_not_trusted_is_not_gone_back_to() {
    let (site, first) = twice(Site::new());
    let key = site.world().key("ada");
    site.world().write("allowed_signers", key.allowed_signer("ada@example.com"));
    let config = site.world().read("tidelock.toml");
    let signed = "url = \"infra\"\nverify = { signers = \"allowed_signers\" }";
    site.world().write("tidelock.toml", config.replace("url = \"infra\"", signed));
    site.repo().write("web/a.txt", "three\n");
    site.repo().commit_signed("Three", &key);
    site.apply();
    let refused = site.tidelock(["rollback", "web", "--to", &first, "--yes"]).run();
    assert_ne!(refused.code, 0, "{}", refused.story());
    assert!(refused.stderr.contains("not trusted"), "{}", refused.story());
    site.converged();
    assert_eq!(site.on_machine("srv/a").as_deref(), Some("three\n"));
}

#[test]
fn a_stack_that_left_git_can_be_brought_back() {
    let (site, first) = twice(Site::new());
    site.repo().git(["rm", "-q", "-r", "web"]);
    site.repo().commit("Web is gone");
    site.apply();
    let _ = site.tidelock(["status"]).run().ok().says("orphaned");
    site.tidelock(["rollback", "web", "--to", &first, "--yes"]).run().ok();
    assert_eq!(site.on_machine("srv/a").as_deref(), Some("one\n"));
    let _ = site.tidelock(["status"]).run().ok().never_says("orphaned");
}

#[test]
fn a_pin_with_a_time_ends_by_itself() {
    let (site, first) = twice(Site::new());
    site.tidelock(["rollback", "web", "--to", &first, "--for", "1ms", "--yes"]).run().ok();
    site.apply();
    assert_eq!(site.on_machine("srv/a").as_deref(), Some("two\n"));
    let _ = site.tidelock(["events"]).run().ok().says("its time is up");
}

#[test]
fn only_what_was_there_before_is_gone_back_to() {
    let (site, first) = twice(Site::new());
    site.repo().git(["checkout", "-q", "-b", "other"]);
    site.repo().write("web/a.txt", "stolen\n");
    let other = site.repo().commit("On another branch");
    site.repo().git(["checkout", "-q", "main"]);
    for (words, says) in [
        (vec!["rollback", "web", "--to", &other, "--yes"], "not in the history"),
        (vec!["rollback", "wep", "--to", &first, "--yes"], "did you mean web?"),
        (vec!["rollback", "web", "--yes"], "--to"),
        (vec!["rollback", "web", "--to", &first, "--end"], "cannot be used with"),
    ] {
        let ran = site.tidelock(&words).run().exit(64);
        assert!(ran.stderr.contains(says), "{}", ran.story());
    }
    let gone = site.tidelock(["rollback", "web", "--to", "v99", "--yes"]).run();
    assert_ne!(gone.code, 0, "{}", gone.story());
    site.converged();
    let _ = site.tidelock(["status"]).run().ok().never_says("pinned:");
    assert_eq!(site.on_machine("srv/a").as_deref(), Some("two\n"));
}

#[test]
fn the_loop_keeps_a_pinned_stack_where_it_is_until_the_pin_ends() {
    let (site, first) = twice(Site::new());
    let config = site::config("infra").replacen("url = \"infra\"\n", "url = \"infra\"\npoll = \"200ms\"\n", 1);
    let config = config.replacen("root = \"machine\"\n", "root = \"machine\"\ndrift_every = \"300ms\"\n", 1);
    site.world().write("tidelock.toml", &config);
    let daemon = Daemon::start(&site);
    site.tidelock(["rollback", "web", "--to", &first, "--yes"]).run().ok();
    site.repo().write("web/a.txt", "three\n").write("db/d.txt", "three\n").commit("Three");
    daemon.eventually("the other stack follows", || site.on_machine("srv/d").as_deref() == Some("three\n"));
    site.world().write("machine/srv/a", "by hand\n");
    daemon.eventually("drift is undone to what is pinned", || site.on_machine("srv/a").as_deref() == Some("one\n"));
    let _ = site.tidelock(["status"]).run().ok().says("pinned:");
    site.tidelock(["rollback", "web", "--end"]).run().ok();
    daemon.eventually("the newest counts again", || site.on_machine("srv/a").as_deref() == Some("three\n"));

    site.world().write("tidelock.toml", config.replace("300ms", "1h"));
    daemon.signal("HUP");
    site.tidelock(["rollback", "web", "--to", &first, "--for", "2s", "--yes"]).run().ok();
    daemon.eventually("its time is up", || site.on_machine("srv/a").as_deref() == Some("three\n"));
    daemon.stop();
}
