//! Sources that are far away, as their operator meets them: the real daemon, real servers,
//! and what goes wrong between them. Whatever it is has a name, leaves the last revision in
//! force, and is over at the first poll after it was mended.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use tidelock_tests::daemon::ask;
use tidelock_tests::ssh_server::client_key;
use tidelock_tests::{Daemon, Site, SshServer, site};

/// Writes the config: the source at an address, with more lines of its own.
fn quick(site: &Site, url: &str, source: &str) {
    let config = site::config(url);
    let config = config.replacen(
        &format!("url = {url:?}\n"),
        &format!("url = {url:?}\npoll = \"200ms\"\ntimeout = 3\n{source}"),
        1,
    );
    let config = config.replacen("root = \"machine\"\n", "root = \"machine\"\ndrift_every = \"200ms\"\n", 1);
    site.world().write("tidelock.toml", format!("accept_new = [\"local\"]\n\n{config}"));
}

fn happened(site: &Site, event: &str) -> usize {
    site.events().iter().filter(|stored| stored["event"] == event).count()
}

/// Waits until the source is said to be stale for this reason, and drift is undone all the same.
#[track_caller]
fn goes_on_without(site: &Site, daemon: &Daemon, why: &str) {
    daemon.eventually(&format!("it says {why:?}"), || {
        let _ = ask(site, r#"{"verb":"poll","source":"infra"}"#);
        let status = site.tidelock(["status"]).run().ok().stdout;
        status.contains("is stale since") && status.contains(why)
    });
    let before = site.on_machine("srv/a");
    site.world().write("machine/srv/a", "by hand\n");
    daemon.eventually("drift is undone", || site.on_machine("srv/a") == before);
}

/// Asks for a poll at once: after failures the loop takes its time.
#[track_caller]
fn recovers(site: &Site, daemon: &Daemon, contents: &str) {
    site.repo().write("web/a.txt", contents);
    site.repo().commit("Recovered");
    daemon.eventually("the next poll brings what is new", || {
        let _ = ask(site, r#"{"verb":"poll","source":"infra"}"#);
        site.on_machine("srv/a").as_deref() == Some(contents)
    });
    daemon.eventually("it is no longer stale", || !site.tidelock(["status"]).run().ok().stdout.contains("stale since"));
}

/// A site whose source is reached over SSH.
fn over_ssh() -> (Site, SshServer) {
    let site = Site::with_files([("a", "one\n")]);
    let server = SshServer::start(&site.world().path("sshd"));
    server.allow(&client_key(&site.world().path("deploy_key")));
    site.world().write("known_hosts", server.known_host());
    let ssh = "ssh = { key = \"deploy_key\", known_hosts = \"known_hosts\" }\n";
    quick(&site, &server.url(&site.world().path("infra")), ssh);
    (site, server)
}

#[test]
fn over_ssh_the_daemon_asks_once_a_poll_and_survives_what_ssh_refuses() {
    let (site, mut server) = over_ssh();
    let daemon = Daemon::start(&site);
    daemon.eventually("the first commit arrives", || site.on_machine("srv/a").as_deref() == Some("one\n"));
    // Each poll signs in once, however many lanes look meanwhile.
    let polls = || ask(&site, r#"{"verb":"pulse"}"#)["polled"].as_u64().expect("a number");
    let (first, accepted) = (polls(), server.accepted());
    daemon.eventually("some polls were had", || polls() > first + 5);
    let (signed_in, polled) = (server.accepted() - accepted, polls() - first);
    assert!(signed_in as u64 <= polled + 1, "{signed_in} times in {polled} polls");

    fs::set_permissions(site.world().path("deploy_key"), Permissions::from_mode(0o644)).unwrap();
    goes_on_without(&site, &daemon, "can be read by others");
    fs::set_permissions(site.world().path("deploy_key"), Permissions::from_mode(0o600)).unwrap();

    // What is wrong now is told, not what was wrong first.
    server.new_host_key();
    server.restart();
    goes_on_without(&site, &daemon, "is not the one in");
    let _ = site.tidelock(["plan"]).run().exit(1).says("the host key of").says("ssh-keygen -R");
    site.world().write("known_hosts", server.known_host());
    recovers(&site, &daemon, "three\n");

    server.stop();
    goes_on_without(&site, &daemon, "cannot be reached");
    server.restart();
    recovers(&site, &daemon, "four\n");
    assert_eq!((happened(&site, "source-stale"), happened(&site, "source-back")), (2, 2));
    daemon.stop();
}
