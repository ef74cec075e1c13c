//! Sources that are far away, as their operator meets them: the real daemon, real servers,
//! and what goes wrong between them. Whatever it is has a name, leaves the last revision in
//! force, and is over at the first poll after it was mended.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use tidelock_tests::daemon::ask;
use tidelock_tests::relay::Passes;
use tidelock_tests::ssh_server::client_key;
use tidelock_tests::{Daemon, GitDaemon, GitHttp, HttpProxy, Relay, Site, SmallDisk, SshServer, site};

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

/// A site with one file, and the server of its repository.
fn over_http() -> (Site, GitHttp) {
    let site = Site::with_files([("a", "one\n")]);
    let server = GitHttp::serve(site.world().root());
    quick(&site, &format!("{}/infra/.git", server.url()), "");
    (site, server)
}

fn arrives(site: &Site, daemon: &Daemon) {
    daemon.eventually("the first commit arrives", || site.on_machine("srv/a").as_deref() == Some("one\n"));
}

/// Text that does not compress to much less.
fn noise(bytes: usize) -> String {
    let mut seed = 1u64;
    let next = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b'!' + u8::try_from((seed >> 33) % 90).expect("below 90"))
    };
    std::iter::repeat_with(next).take(bytes).collect()
}

#[test]
fn a_system_without_authorities_fetches_what_is_served_in_the_clear() {
    let (site, _server) = over_http();
    let rootless = || site.tidelock(["plan"]).env("SSL_CERT_FILE", "/nowhere").env("SSL_CERT_DIR", "/nowhere");
    rootless().run().ok();
    let config = site.world().read("tidelock.toml").replace("http://", "https://");
    site.world().write("tidelock.toml", config);
    let _ = rootless().run().exit(1).says("knows no authority").says("install the package ca-certificates");
}

#[test]
fn a_token_is_rotated_without_a_restart_and_missed_by_name() {
    let (site, server) = over_http();
    server.require_token("first");
    let private = |name: &str, text: &str| {
        site.world().write(name, text);
        fs::set_permissions(site.world().path(name), Permissions::from_mode(0o600)).unwrap();
    };
    private("token", "first\n");
    let auth = "auth = { token_file = \"token\", insecure = true }\n";
    quick(&site, &format!("{}/infra/.git", server.url()), auth);
    let daemon = Daemon::start(&site);
    arrives(&site, &daemon);

    server.require_token("second");
    private("token", "second\n");
    recovers(&site, &daemon, "two\n");

    server.require_token("third");
    goes_on_without(&site, &daemon, "refuses the credentials");
    private("token", "third\n");
    recovers(&site, &daemon, "three\n");

    fs::remove_file(site.world().path("token")).unwrap();
    goes_on_without(&site, &daemon, "cannot read token_file");
    private("token", "third\n");
    fs::set_permissions(site.world().path("token"), Permissions::from_mode(0o644)).unwrap();
    goes_on_without(&site, &daemon, "is open to others (mode 0644)");
    let _ = site.tidelock(["plan"]).run().exit(1).says("token_file").says("chmod 600");
    private("token", "third\n");
    recovers(&site, &daemon, "four\n");
    assert!(!daemon.log().contains("third"), "no secret is logged");
    daemon.stop();
}

#[test]
fn a_proxy_is_used_where_the_config_says_so_and_only_there() {
    let (site, server) = over_http();
    let proxy = HttpProxy::start();
    let url = format!("{}/infra/.git", server.url());
    let environment = [("http_proxy", proxy.url())];
    let environment: Vec<(&str, &str)> = environment.iter().map(|(name, value)| (*name, value.as_str())).collect();

    let daemon = Daemon::start_with(&site, &environment);
    arrives(&site, &daemon);
    daemon.stop();
    assert_eq!(proxy.asked(), Vec::<String>::new(), "nobody said so");

    quick(&site, &url, "proxy = \"env\"\n");
    let daemon = Daemon::start_with(&site, &environment);
    recovers(&site, &daemon, "two\n");
    daemon.stop();
    let asked = proxy.asked().len();
    assert!(asked > 0, "the environment's");

    quick(&site, &url, &format!("proxy = {:?}\n", proxy.url()));
    let daemon = Daemon::start(&site);
    recovers(&site, &daemon, "three\n");
    assert!(proxy.asked().len() > asked, "the config's");
    drop(proxy);
    goes_on_without(&site, &daemon, "through the proxy");
    daemon.stop();
}

#[test]
fn a_server_that_stalls_or_breaks_off_is_named_and_waited_for() {
    let site = Site::with_files([("a", "one\n")]);
    let server = GitDaemon::serve(site.world().root());
    let relay = Relay::before(server.port());
    quick(&site, &format!("git://127.0.0.1:{}/infra/.git", relay.port()), "insecure = true\n");
    let daemon = Daemon::start(&site);
    arrives(&site, &daemon);

    relay.passes(Passes::StallsAfter(0));
    goes_on_without(&site, &daemon, "did not finish within 3 s");
    relay.passes(Passes::All);
    recovers(&site, &daemon, "two\n");

    // In the middle of a pack: what is new is more than passes.
    site.repo().write("notes.txt", noise(200_000));
    relay.passes(Passes::Until(20_000));
    site.repo().commit("Notes");
    goes_on_without(&site, &daemon, "is not whole");
    relay.passes(Passes::StallsAfter(20_000));
    goes_on_without(&site, &daemon, "did not finish within 3 s");
    relay.passes(Passes::All);
    recovers(&site, &daemon, "three\n");
    daemon.stop();
}

#[test]
fn git_protocol_wants_a_word_and_the_line_is_shown() {
    let site = Site::with_files([("a", "one\n")]);
    let server = GitDaemon::serve(site.world().root());
    let url = format!("{}/infra/.git", server.url());
    quick(&site, &url, "");
    let refused = site.tidelock(["plan"]).run().exit(1);
    let _ = refused.says("anyone on the way").says("tidelock.toml").says("url = ").says("insecure = true");
    quick(&site, &url, "insecure = true\n");
    site.apply();
    assert_eq!(site.on_machine("srv/a").as_deref(), Some("one\n"));
}

#[test]
fn a_full_disk_is_named_and_over_when_there_is_room() {
    let (site, _server) = over_http();
    let Some(disk) = SmallDisk::mount(&site.world().path("cache/git"), "2m") else {
        // Nobody but root can make a disk that is full.
        return;
    };
    let daemon = Daemon::start(&site);
    arrives(&site, &daemon);
    site.repo().write("notes.txt", noise(4_000_000));
    site.repo().commit("Notes");
    goes_on_without(&site, &daemon, "there is no room on the disk");
    let _ = site.tidelock(["plan"]).run().exit(1).says("there is no room on the disk").says("make room");
    disk.grow("64m");
    recovers(&site, &daemon, "two\n");
    daemon.stop();
}

/// The generations of the site's cache, and how many packs they hold.
fn cached(site: &Site) -> (Vec<u64>, usize) {
    let folder = |path: &Path| fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path());
    let cache = folder(&site.world().path("cache/git")).find(|path| path.is_dir()).expect("a cache");
    let generations: Vec<_> =
        folder(&cache).filter_map(|path| Some((path.file_name()?.to_str()?.parse().ok()?, path))).collect();
    let packs = generations
        .iter()
        .flat_map(|(_, path)| folder(&path.join("objects/pack")))
        .filter(|path| path.extension().is_some_and(|end| end == "pack"))
        .count();
    (generations.into_iter().map(|(number, _)| number).collect(), packs)
}

#[test]
fn a_kill_at_any_moment_of_a_rebuild_loses_no_revision() {
    let site = Site::with_files([("a", "one\n")]);
    let server = GitDaemon::serve(site.world().root());
    quick(&site, &format!("{}/infra/.git", server.url()), "insecure = true\n");
    site.apply();
    let mut commits = vec![];
    for n in 0..20 {
        site.repo().write("web/a.txt", format!("{n}\n"));
        commits.push(site.repo().commit("One more"));
        site.tidelock(["plan"]).run().ok();
    }
    assert_eq!(cached(&site), (vec![1], 21));
    let copy = |from: &str, to: &str| {
        drop(fs::remove_dir_all(site.world().path(to)));
        let (from, to) = (site.world().path(from), site.world().path(to));
        assert!(Command::new("cp").arg("-a").arg(from).arg(to).status().expect("cp").success());
    };
    copy("cache", "before");
    let began = Instant::now();
    site.tidelock(["plan"]).run().ok();
    let whole = began.elapsed();
    let (generations, packs) = cached(&site);
    assert!(generations.last() == Some(&2) && packs < 21, "it is rebuilt: {generations:?} {packs}");

    let steps = 24;
    for step in 0..steps {
        copy("before", "cache");
        let mut child = site.tidelock(["plan"]).spawn();
        std::thread::sleep(Duration::from_secs_f64(whole.as_secs_f64() * f64::from(step) / f64::from(steps)));
        child.kill().expect("kill -9");
        child.wait().expect("its end");
        // What is here is not asked of a server.
        for id in [&commits[0], &commits[19]] {
            site.tidelock(["plan", "--rev", id]).run().ok();
        }
        site.tidelock(["plan"]).run().ok();
        assert_eq!(cached(&site).0, [2], "killed at step {step}");
    }
}
