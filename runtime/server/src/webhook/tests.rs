use std::sync::atomic::{AtomicUsize, Ordering};

use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::header::ALLOW;
use tidelock_model::port::{Filter, Store};
use tidelock_store::SqliteStore;

use super::*;
use crate::Declared;
use crate::health::Life;
use crate::metrics::{Format, Metrics};

const GITHUB: &str = include_str!("../../fixtures/github-push.json");
const GITLAB: &str = include_str!("../../fixtures/gitlab-push.json");
const GITEA: &str = include_str!("../../fixtures/gitea-push.json");
const SECRET: &str = "correct horse battery staple";

/// What answers, and how often the loop was woken.
struct Desk {
    site: Arc<Site>,
    store: Arc<SqliteStore>,
    woken: Arc<AtomicUsize>,
}

fn desk(decl: &str, secret: Option<Result<&'static str, &'static str>>, loopback: bool) -> Desk {
    let decl: SourceDecl = serde_json::from_str(decl).unwrap();
    let secret = secret.map(|secret| {
        let secret: Secret = Arc::new(move || secret.map(str::to_owned).map_err(str::to_owned));
        secret
    });
    let source = Name::new("infra").unwrap();
    let hooks = Hooks::of(BTreeMap::from([(source.clone(), Hook::of(&decl, secret))]));
    let store = Arc::new(SqliteStore::in_memory().unwrap());
    let woken = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&woken);
    let site = Site {
        metrics: Arc::new(Metrics::new("0")),
        store: store.clone(),
        wake: Box::new(move |name| {
            assert_eq!(*name, source);
            counted.fetch_add(1, Ordering::SeqCst);
            true
        }),
        guards: Box::new(|| Ok(tidelock_model::port::Guards::default())),
        loopback,
        config: std::sync::RwLock::new(Arc::new(Declared { sources: vec![], hooks })),
        life: Life::default(),
    };
    Desk { site: Arc::new(site), store, woken }
}

fn usual() -> Desk {
    desk(r#"{"url": "x"}"#, Some(Ok(SECRET)), false)
}

impl Desk {
    async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> (u16, String) {
        let answer = self.answer(method, path, headers, body).await;
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    async fn answer(&self, method: &str, path: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Arc::clone(&self.site).answer(request.body(Full::new(body.into())).unwrap()).await
    }

    async fn push(&self, headers: &[(&str, &str)], body: &str) -> (u16, String) {
        self.ask("POST", "/webhook/infra", headers, body.to_owned()).await
    }

    fn woken(&self) -> usize {
        self.woken.load(Ordering::SeqCst)
    }
}

fn hex_of(body: &str) -> String {
    let mut mac = <hmac::Hmac<sha2::Sha256> as hmac::KeyInit>::new_from_slice(SECRET.as_bytes()).unwrap();
    hmac::Mac::update(&mut mac, body.as_bytes());
    hex::encode(hmac::Mac::finalize(mac).into_bytes())
}

#[tokio::test]
async fn the_push_of_each_forge_wakes_its_source() {
    let desk = usual();
    let signed = |body: &str| format!("sha256={}", hex_of(body));
    let github = [("x-github-event", "push"), ("x-hub-signature-256", &signed(GITHUB))];
    let gitlab = [("x-gitlab-event", "Push Hook"), ("x-gitlab-token", SECRET)];
    let gitea = [("x-gitea-event", "push"), ("x-github-event", "push"), ("x-gitea-signature", &hex_of(GITEA))];
    let empty = [("x-tidelock-signature-256", &*signed(""))];
    for (n, (headers, body, forge)) in [
        (&github[..], GITHUB, "github"),
        (&gitlab, GITLAB, "gitlab"),
        (&gitea, GITEA, "gitea"),
        (&empty, "", "generic"),
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(desk.push(headers, body).await, (202, "taken: the source is asked now\n".to_owned()), "{forge}");
        assert_eq!(desk.woken(), n + 1, "{forge}");
        let event = desk.store.events(&Filter::default()).unwrap().pop().unwrap().event;
        let who = format!("webhook ({forge})");
        assert_eq!(event, RunEvent::Asked { who, what: "poll infra".to_owned() });
    }
    let figures = desk.site.metrics.write(desk.store.as_ref(), &desk.site.guards, &[], Format::Text).unwrap();
    let one = r#"tidelock_webhooks_total{source="infra",forge="gitlab",result="taken"} 1"#;
    assert!(figures.contains(one), "{figures}");
}

#[tokio::test]
async fn who_does_not_know_the_secret_wakes_nobody_and_shuts_nobody_out() {
    let desk = usual();
    let wrong = format!("sha256={}", "0".repeat(64));
    for _ in 0..100 {
        let (status, said) = desk.push(&[("x-github-event", "push"), ("x-hub-signature-256", &wrong)], GITHUB).await;
        assert_eq!(status, 401, "{said}");
        assert!(said.contains("X-Hub-Signature-256") && !said.contains(SECRET), "{said}");
    }
    assert_eq!(desk.push(&[], "").await.0, 401);
    assert_eq!(desk.push(&[("x-gitlab-event", "Push Hook")], GITLAB).await.0, 401);
    assert_eq!((desk.woken(), desk.store.events(&Filter::default()).unwrap().len()), (0, 0));
    let right = format!("sha256={}", hex_of(GITHUB));
    assert_eq!(desk.push(&[("x-github-event", "push"), ("x-hub-signature-256", &right)], GITHUB).await.0, 202);
}

#[tokio::test]
async fn a_flood_of_true_ones_is_limited() {
    let desk = usual();
    let gitlab = [("x-gitlab-event", "Push Hook"), ("x-gitlab-token", SECRET)];
    let mut limited = 0;
    for _ in 0..100 {
        let answer = desk.answer("POST", "/webhook/infra", &gitlab, GITLAB).await;
        if answer.status() == StatusCode::TOO_MANY_REQUESTS {
            limited += 1;
            assert_eq!(answer.headers()[RETRY_AFTER], "1");
        }
    }
    // A slow machine gets some back meanwhile.
    assert!(limited > 50, "{limited}");
    assert_eq!(desk.woken(), 100 - limited);
}

#[tokio::test]
async fn another_branch_another_event_and_a_ping_are_ignored() {
    let token = ("x-gitlab-token", SECRET);
    let push = ("x-gitlab-event", "Push Hook");
    let other = GITLAB.replace("refs/heads/main", "refs/heads/main2");
    let tag = GITLAB.replace("refs/heads/main", "refs/tags/v1");
    let usual = usual();
    for (headers, body) in
        [([push, token], &*other), ([push, token], &tag), ([("x-gitlab-event", "Job Hook"), token], "{}")]
    {
        let (status, said) = usual.push(&headers, body).await;
        assert!(status == 202 && said.starts_with("ignored: "), "{status} {said}");
    }
    let ping = [("x-github-event", "ping"), ("x-hub-signature-256", &*hex_of("{}"))];
    assert_eq!(usual.push(&ping, "{}").await, (200, "pong\n".to_owned()));
    assert_eq!(usual.woken(), 0);

    let of_tag = desk(r#"{"url": "x", "tag": "v1"}"#, Some(Ok(SECRET)), false);
    assert!(of_tag.push(&[push, token], &tag).await.1.starts_with("taken"));
    assert!(of_tag.push(&[push, token], GITLAB).await.1.starts_with("ignored"));
    let of_commit = desk(&format!(r#"{{"url": "x", "commit": "{}"}}"#, "a".repeat(40)), Some(Ok(SECRET)), false);
    assert!(of_commit.push(&[push, token], GITLAB).await.1.starts_with("ignored"));
    let slashes = desk(r#"{"url": "x", "branch": "env/prod"}"#, Some(Ok(SECRET)), false);
    let to = |name: &str| GITLAB.replace("refs/heads/main", name);
    assert!(slashes.push(&[push, token], &to("refs/heads/env/prod")).await.1.starts_with("taken"));
    assert!(slashes.push(&[push, token], &to("refs/heads/prod")).await.1.starts_with("ignored"));
}

#[tokio::test]
async fn a_body_that_is_too_large_or_no_push_is_refused() {
    let desk = usual();
    let token = [("x-gitlab-event", "Push Hook"), ("x-gitlab-token", SECRET)];
    let large = " ".repeat(BODY + 1);
    let (status, said) = desk.push(&token, &large).await;
    assert_eq!((status, &*said), (413, "the body is larger than 1048576 bytes\n"));
    let full = format!("{GITLAB}{}", " ".repeat(BODY - GITLAB.len()));
    assert_eq!(desk.push(&token, &full).await.0, 202, "just as much as is taken");
    let huge = [token[0], token[1], ("content-length", "99999999999")];
    assert_eq!(desk.push(&huge, "").await.0, 413);
    assert_eq!(desk.push(&token, "{").await, (400, "the body is not a push in JSON\n".to_owned()));
}

#[tokio::test]
async fn without_a_secret_it_is_for_this_machine_alone() {
    let near = desk(r#"{"url": "x"}"#, None, true);
    assert_eq!(near.push(&[], "").await.0, 202);
    assert_eq!(near.push(&[("x-github-event", "push")], GITHUB).await.0, 202);
    let far = desk(r#"{"url": "x"}"#, None, false);
    let (status, said) = far.push(&[], "").await;
    assert_eq!(status, 403);
    assert!(said.contains("secret_file"), "{said}");
    assert_eq!((near.woken(), far.woken()), (2, 0));
}

#[tokio::test]
async fn what_is_not_there_is_said_to_be_so_and_no_answer_names_a_path() {
    let broken = desk(r#"{"url": "x"}"#, Some(Err("cannot read secret_file /etc/tidelock/hook.secret")), true);
    let (status, said) = broken.push(&[("x-gitlab-event", "Push Hook"), ("x-gitlab-token", "x")], GITLAB).await;
    assert_eq!((status, &*said), (500, "the secret cannot be read; the log says why\n"));
    let desk = usual();
    for path in ["/webhook/other", "/webhook/", "/webhook/a/b", "/webhook/%ff", "/", "/metrics/", "/webhook"] {
        assert_eq!(desk.ask("POST", path, &[], "").await.0, 404, "{path}");
    }
    for (path, allowed) in [("/webhook/infra", "POST"), ("/healthz", "GET, HEAD"), ("/metrics", "GET, HEAD")] {
        let answer = desk.answer("DELETE", path, &[], "").await;
        assert_eq!((answer.status().as_u16(), answer.headers()[ALLOW].to_str().unwrap()), (405, allowed), "{path}");
    }
    assert_eq!(desk.ask("POST", "/webhook/%69nfra", &[], "").await.0, 401, "a name may be escaped");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let desk = usual();
    let (_held, body) = http_body_util::channel::Channel::<Bytes>::new(1);
    let request = Request::post("/webhook/infra").body(body).unwrap();
    let answer = Arc::clone(&desk.site).answer(request).await;
    assert_eq!(answer.status(), StatusCode::REQUEST_TIMEOUT);
}

#[tokio::test]
async fn ready_is_who_has_all_it_needs() {
    let desk = usual();
    *desk.site.config.write().unwrap() =
        Arc::new(Declared { sources: vec![Name::new("infra").unwrap()], hooks: Hooks::default() });
    let (status, said) = desk.ask("GET", "/readyz", &[], "").await;
    let said: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(status, 503);
    assert_eq!(
        said,
        serde_json::json!({"ready": false, "missing": [
            "the loop has made no turn yet",
            "source infra has no revision in force",
        ]})
    );
    assert_eq!(desk.ask("GET", "/healthz", &[], "").await, (200, "ok\n".to_owned()), "it has time for its first turn");
}
