//! The HTTP listener of a real daemon, as a balancer, a Prometheus and the forges meet it.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use serde_json::json;
use sha2::Sha256;
use tidelock_tests::daemon::ask as say;
use tidelock_tests::http::{Answered, ask, connect, figures, get, sum};
use tidelock_tests::{Daemon, Site, site};

const GITHUB: &str = include_str!("../../runtime/server/fixtures/github-push.json");
const GITLAB: &str = include_str!("../../runtime/server/fixtures/gitlab-push.json");
const GITEA: &str = include_str!("../../runtime/server/fixtures/gitea-push.json");
const SECRET: &str = "correct horse battery staple";

/// A config that listens, whose source is asked this often; with a webhook and its secret.
fn listening(poll: &str) -> String {
    let config = site::config("infra");
    let config = config.replacen("url = \"infra\"\n", &format!("url = \"infra\"\npoll = {poll:?}\n"), 1);
    let config = config.replacen("root = \"machine\"\n", &format!("root = \"machine\"\ndrift_every = {poll:?}\n"), 1);
    format!(
        "accept_new = [\"local\"]\n\n[http]\nlisten = \"127.0.0.1:0\"\n\n{config}\n[sources.infra.webhook]\nsecret_file = \"hook.secret\"\n"
    )
}

/// A site with one file, a daemon that has applied it, and where that listens.
fn begun(poll: &str) -> (Site, Daemon, SocketAddr) {
    let site = Site::with_files([("a", "one\n")]);
    site.world().secret("hook.secret", format!("{SECRET}\n"));
    site.world().write("tidelock.toml", listening(poll));
    let daemon = Daemon::start(&site);
    let at = daemon.http();
    daemon.eventually("the first commit arrives", || site.on_machine("srv/a").as_deref() == Some("one\n"));
    daemon.eventually("nothing is under way", || pulse(&site)["passes"] == 0);
    (site, daemon, at)
}

fn pulse(site: &Site) -> serde_json::Value {
    say(site, r#"{"verb":"pulse"}"#)
}

fn polled(site: &Site) -> u64 {
    pulse(site)["polled"].as_u64().expect("a number")
}

fn hmac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any key");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn sha256(body: &str) -> String {
    format!("sha256={}", hex::encode(hmac(SECRET.as_bytes(), body)))
}

fn push(at: SocketAddr, headers: &[(&str, &str)], body: &str) -> Answered {
    ask(at, "POST", "/webhook/infra", headers, body)
}

#[test]
fn it_is_healthy_from_the_start_and_ready_once_every_source_is_in_force() {
    let site = Site::with_files([("a", "one\n")]);
    site.world().secret("hook.secret", SECRET);
    site.world().write("tidelock.toml", listening("200ms"));
    let (here, away) = (site.world().path("infra"), site.world().path("away"));
    fs::rename(&here, &away).unwrap();
    let daemon = Daemon::start(&site);
    let at = daemon.http();
    daemon.eventually("the loop turns", || !get(at, "/readyz").body.contains("no turn yet"));
    let unready = get(at, "/readyz");
    assert_eq!(unready.status, 503);
    assert_eq!(unready.headers["content-type"], "application/json");
    assert_eq!(
        unready.json(),
        json!({"ready": false, "missing": ["source infra has no revision in force"]}),
        "what is missing, and no path or secret"
    );
    let healthy = get(at, "/healthz");
    assert_eq!((healthy.status, &*healthy.body), (200, "ok\n"));
    fs::rename(&away, &here).unwrap();
    daemon.eventually("it is ready", || get(at, "/readyz").status == 200);
    assert_eq!(get(at, "/readyz").json(), json!({"ready": true, "missing": []}));
    let head = ask(at, "HEAD", "/healthz", &[], "");
    assert_eq!((head.status, &*head.body), (200, ""));
    assert_eq!(ask(at, "POST", "/readyz", &[], "").headers["allow"], "GET, HEAD");
    assert_eq!(get(at, "/etc/passwd").status, 404);
    daemon.stop();
    assert!(TcpStream::connect(at).is_err(), "it closes with the daemon");
}

#[test]
fn figures_are_what_the_loop_did() {
    let (site, daemon, at) = begun("1h");
    // What the loop says of itself is counted by nothing that counts here.
    let agree = || {
        let (figures, pulse) = (figures(at), pulse(&site));
        let passed = pulse["passed"].as_u64().expect("a number") as f64;
        sum(&figures, "tidelock_passes_total") == passed
            && figures["tidelock_pass_duration_seconds_count"] == passed
            && sum(&figures, "tidelock_source_fetches_total") == pulse["polled"].as_u64().expect("a number") as f64
    };
    daemon.eventually("figures and loop agree", agree);
    let before = figures(at);
    assert_eq!(before[r#"tidelock_passes_total{outcome="failed"}"#], 0.0);
    assert_eq!(before[r#"tidelock_changes_total{action="create",outcome="done"}"#], 1.0);
    assert_eq!(before["tidelock_drift_found_total"], 0.0);
    assert!(sum(&before, "tidelock_source_fetches_total") >= 1.0);
    assert_eq!(before[r#"tidelock_source_fetches_total{source="infra",result="failed"}"#], 0.0);
    let now = Timestamp::now().as_second() as f64;
    let fetched = before[r#"tidelock_source_last_fetch_timestamp_seconds{source="infra"}"#];
    assert!((now - fetched).abs() < 120.0, "{fetched}");
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(before[&format!("tidelock_build_info{{version={version:?}}}")], 1.0);
    for process in ["process_open_fds", "process_resident_memory_bytes", "process_threads", "process_cpu_seconds_total"]
    {
        assert!(before[process] > 0.0, "{process}");
    }
    assert!((now - before["process_start_time_seconds"]).abs() < 120.0);

    site.world().write("machine/srv/a", "by hand\n");
    let _ = say(&site, r#"{"verb":"look","scope":{}}"#);
    daemon.eventually("the drift is undone", || {
        site.on_machine("srv/a").as_deref() == Some("one\n") && pulse(&site)["passes"] == 0
    });
    daemon.eventually("the lane is converged", || {
        let lane = r#"tidelock_lane_status{source="infra",stack="web",target="local",status="converged"}"#;
        figures(at).get(lane) == Some(&1.0)
    });
    daemon.eventually("figures and loop agree", agree);
    let after = figures(at);
    assert!(sum(&after, "tidelock_passes_total") > sum(&before, "tidelock_passes_total"));
    assert_eq!(after["tidelock_drift_found_total"], 1.0);
    assert_eq!(after[r#"tidelock_changes_total{action="update",outcome="done"}"#], 1.0);
    assert_eq!(sum(&after, "tidelock_lane_status"), 1.0);
    assert_eq!(after[r#"tidelock_lanes{status="converged"}"#], 1.0);
    assert!(!after.keys().any(|series| series.contains("server.file") || series.contains("srv/a")), "no resources");

    let open = ask(at, "GET", "/metrics", &[("Accept", "application/openmetrics-text;version=1.0.0")], "");
    assert!(open.headers["content-type"].starts_with("application/openmetrics-text; version=1.0.0"));
    assert!(open.body.ends_with("\n# EOF\n"));
    daemon.stop();
}

#[test]
fn drift_that_is_only_reported_counts_once() {
    let site = Site::with_files([("a", "one\n")]);
    site.repo().write("web/stack.yaml", "name: web\ntargets: local\non_commit: apply\non_drift: report\n");
    site.repo().commit("Reports");
    site.world().secret("hook.secret", SECRET);
    site.world().write("tidelock.toml", listening("200ms"));
    let daemon = Daemon::start(&site);
    let at = daemon.http();
    let drifted = || figures(at).get(r#"tidelock_lanes{status="drifted"}"#) == Some(&1.0);
    daemon.eventually("the first commit arrives", || {
        figures(at).get(r#"tidelock_lanes{status="converged"}"#) == Some(&1.0)
    });
    site.world().write("machine/srv/a", "by hand\n");
    daemon.eventually("the drift is seen", drifted);
    let first = sum(&figures(at), "tidelock_passes_total");
    daemon.eventually("five more looks were had", || sum(&figures(at), "tidelock_passes_total") > first + 5.0);
    assert_eq!(figures(at)["tidelock_drift_found_total"], 1.0);
    daemon.stop();
}

#[test]
fn a_push_at_any_forge_is_applied_at_once() {
    let (site, daemon, at) = begun("1h");
    let arrives = |text: &str, headers: &[(&str, &str)], body: &str| {
        site.repo().write("web/a.txt", text).commit(text);
        let answered = push(at, headers, body);
        assert_eq!((answered.status, &*answered.body), (202, "taken: the source is asked now\n"), "{text}");
        daemon.eventually(&format!("the push by {text} arrives"), || site.on_machine("srv/a").as_deref() == Some(text));
    };
    let delivery = "72d3162e-cc78-11e3-81ab-4c9367dc0958";
    arrives(
        "github",
        &[
            ("User-Agent", "GitHub-Hookshot/044aadd"),
            ("Content-Type", "application/json"),
            ("X-GitHub-Delivery", delivery),
            ("X-GitHub-Event", "push"),
            ("X-Hub-Signature-256", &sha256(GITHUB)),
        ],
        GITHUB,
    );
    arrives(
        "gitlab",
        &[
            ("User-Agent", "GitLab/18.6.0"),
            ("Content-Type", "application/json"),
            ("X-Gitlab-Event", "Push Hook"),
            ("X-Gitlab-Token", SECRET),
        ],
        GITLAB,
    );
    let hex = hex::encode(hmac(SECRET.as_bytes(), GITEA));
    arrives(
        "gitea",
        &[
            ("Content-Type", "application/json"),
            ("X-Gitea-Delivery", delivery),
            ("X-Gitea-Event", "push"),
            ("X-Gitea-Signature", &hex),
            ("X-Gogs-Event", "push"),
            ("X-Gogs-Signature", &hex),
            ("X-Hub-Signature-256", &format!("sha256={hex}")),
            ("X-GitHub-Event", "push"),
        ],
        GITEA,
    );
    arrives("generic", &[("X-Tidelock-Signature-256", &sha256(""))], "");

    // Another secret in the file counts from the next webhook on: here GitLab's signing token.
    let key = [7_u8; 32];
    site.world().secret("hook.secret", format!("whsec_{}\n", STANDARD.encode(key)));
    let now = Timestamp::now().as_second().to_string();
    let signature = format!("v1,{}", STANDARD.encode(hmac(&key, &format!("{delivery}.{now}.{GITLAB}"))));
    arrives(
        "gitlab, signed",
        &[
            ("X-Gitlab-Event", "Push Hook"),
            ("webhook-id", delivery),
            ("webhook-timestamp", &now),
            ("webhook-signature", &signature),
        ],
        GITLAB,
    );
    assert_eq!(push(at, &[("X-GitHub-Event", "push"), ("X-Hub-Signature-256", &sha256(GITHUB))], GITHUB).status, 401);
    let asked: Vec<_> = site.events().into_iter().filter(|event| event["event"] == "asked").collect();
    assert_eq!(asked.len(), 5);
    assert!(asked.iter().all(|event| event["what"] == "poll infra"), "{asked:?}");
    assert_eq!(figures(at)[r#"tidelock_webhooks_total{source="infra",forge="gitlab",result="taken"}"#], 2.0);
    daemon.stop();
}

#[test]
fn strangers_and_floods_wake_nobody() {
    let (site, daemon, at) = begun("1h");
    let before = polled(&site);
    let token = [("X-Gitlab-Event", "Push Hook"), ("X-Gitlab-Token", SECRET)];
    let wrong = [token[0], ("X-Gitlab-Token", "wrong")];
    for _ in 0..50 {
        assert_eq!(push(at, &wrong, GITLAB).status, 401);
    }
    assert_eq!(push(at, &[], "").status, 401);
    assert_eq!(ask(at, "POST", "/webhook/other", &token, GITLAB).status, 404);
    assert_eq!(ask(at, "GET", "/webhook/infra", &token, "").status, 405);
    let other = push(at, &token, &GITLAB.replace("heads/main", "heads/topic"));
    assert_eq!(other.status, 202);
    assert!(other.body.starts_with("ignored: "), "{other:?}");
    let large = push(at, &token, &" ".repeat(3 << 20));
    assert_eq!((large.status, &*large.body), (413, "the body is larger than 1048576 bytes\n"));
    let endless = push(at, &token, &" ".repeat(9 << 20));
    assert_eq!(endless.status, 413);
    let header = push(at, &[("X-Long", &"x".repeat(64 << 10))], "");
    assert_eq!(header.status, 431);
    assert_eq!(polled(&site), before, "nobody was asked");
    assert!(!daemon.log().contains(SECRET));
    assert!(daemon.log().contains("does not know the secret"));

    let mut taken = 0;
    let limited = (0..1_000).map(|_| push(at, &token, GITLAB)).find(|answered| {
        taken += u64::from(answered.status == 202);
        answered.status != 202
    });
    let limited = limited.expect("a thousand in a row are too many");
    assert_eq!((limited.status, &*limited.headers["retry-after"]), (429, "1"));
    assert!(taken >= 30, "{taken}");
    daemon.eventually("the last one is heard", || polled(&site) > before);
    assert!(polled(&site) <= before + taken);
    daemon.stop();
}

#[test]
fn slow_clients_hold_up_others_for_seconds_and_no_longer() {
    let (site, daemon, at) = begun("1h");
    // As many as there are places, each with half a header.
    let mut slow: Vec<TcpStream> = (0..64).map(|_| connect(at)).collect();
    for stream in &mut slow {
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: ").unwrap();
    }
    let begun = Instant::now();
    assert_eq!(get(at, "/healthz").status, 200);
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    for mut stream in slow {
        // The end, with or without a word.
        stream.read_to_end(&mut Vec::new()).ok();
    }
    let mut body = connect(at);
    body.write_all(b"POST /webhook/infra HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{").unwrap();
    let begun = Instant::now();
    assert_eq!(Answered::read(&mut body).status, 408);
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    assert_eq!(pulse(&site)["is"], "taken", "the loop goes on");
    daemon.stop();
}

#[test]
fn a_config_that_is_read_anew_changes_webhooks_and_not_the_address() {
    let (site, daemon, at) = begun("1h");
    let token = [("X-Gitlab-Event", "Push Hook"), ("X-Gitlab-Token", SECRET)];
    let config = listening("1h");
    let without = config.replace("[sources.infra.webhook]\nsecret_file = \"hook.secret\"\n", "");
    site.world().write("tidelock.toml", &without);
    daemon.signal("HUP");
    daemon.eventually("the webhook is gone", || push(at, &token, GITLAB).status == 404);
    let happened = |event: &str| site.events().iter().filter(|stored| stored["event"] == event).count();
    site.world().write("tidelock.toml", config.replace("127.0.0.1:0", "127.0.0.1:1"));
    daemon.signal("HUP");
    daemon.eventually("another address is refused", || happened("config-refused") == 1);
    assert!(daemon.log().contains("[http] listen is now 127.0.0.1:1"), "{}", daemon.log());
    assert_eq!(push(at, &token, GITLAB).status, 404, "the config before it stays");
    site.world().write("tidelock.toml", config.replace("hook.secret", "lost.secret"));
    daemon.signal("HUP");
    daemon.eventually("a secret that is not there is refused", || happened("config-refused") == 2);
    daemon.stop();
}

#[test]
fn without_a_secret_a_webhook_is_for_this_machine_alone() {
    let site = Site::with_files([("a", "one\n")]);
    let open = listening("1h").replace("secret_file = \"hook.secret\"\n", "");
    for (listen, status) in [("127.0.0.1:0", 202), ("0.0.0.0:0", 403)] {
        site.world().write("tidelock.toml", open.replace("127.0.0.1:0", listen));
        let daemon = Daemon::start(&site);
        let at = SocketAddr::from(([127, 0, 0, 1], daemon.http().port()));
        let answered = push(at, &[("X-GitHub-Event", "push")], GITHUB);
        assert_eq!(answered.status, status, "{listen} {answered:?}");
        assert_eq!(daemon.log().contains("the webhook has no secret"), status == 403);
        assert_eq!(get(at, "/healthz").status, 200);
        daemon.stop();
        fs::remove_file(site.world().path("daemon.log")).unwrap();
    }
}

#[test]
fn what_is_wrong_in_the_config_is_said_with_its_line() {
    let site = Site::with_files([("a", "one\n")]);
    site.world().secret("hook.secret", SECRET);
    let config = listening("1h");
    site.world().write("tidelock.toml", config.replace("127.0.0.1:0", "9477"));
    let ran = site.tidelock(["run"]).run().exit(1).says("\"9477\" is not an address and a port");
    let _ = ran.says("tidelock.toml:4").says("listen = \"127.0.0.1:9477\"");
    site.world().write("tidelock.toml", config.replace("secret_file", "secret_env = \"X\"\nsecret_file"));
    let _ = site.tidelock(["run"]).run().exit(1).says("[sources.infra.webhook] has a secret_env and a secret_file");
    site.world().write("tidelock.toml", &config);
    fs::remove_file(site.world().path("hook.secret")).unwrap();
    let _ = site.tidelock(["run"]).run().exit(1).says("[sources.infra.webhook]").says("hook.secret");
    site.world().secret("hook.secret", SECRET);
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let at = taken.local_addr().unwrap().to_string();
    site.world().write("tidelock.toml", config.replace("127.0.0.1:0", &at));
    let _ = site.tidelock(["run"]).run().exit(1).says(&format!("cannot listen on {at} for HTTP"));
}
