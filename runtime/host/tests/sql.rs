//! A provider for databases, good and bad, on a real PostgreSQL server: through WebAssembly,
//! the door and the guard.

mod common;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use common::{Heard, guest, name};
use serde_json::{Value, json};
use tidelock_host::{Eyes, Host, HostOptions, Lock, PluginRoom};
use tidelock_model::config::{Given, Hosts, ServerDecl, TargetKind};
use tidelock_model::effect::{Effect, EffectBody, Precondition};
use tidelock_model::error::Fault;
use tidelock_model::grant::{Grant, GrantDecl};
use tidelock_model::name::Identity;
use tidelock_model::observation::{Observation, Subject};
use tidelock_model::plan::Action;
use tidelock_model::port::{Plugins, Provider, StepAnswer, StepRequest};
use tidelock_target::sql::{Limits as SqlLimits, Server};
use tidelock_tests::Postgres;

struct World {
    temp: tempfile::TempDir,
    postgres: Postgres,
    heard: Arc<Heard>,
}

impl World {
    fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let postgres = Postgres::start(&temp.path().join("server"));
        postgres.psql("postgres", "CREATE DATABASE app");
        postgres.psql("app", "CREATE TABLE public.t (a int)");
        Self { temp, postgres, heard: Arc::default() }
    }

    async fn provider(&self) -> Arc<dyn Provider> {
        self.provider_with(&["role:app*"]).await
    }

    async fn provider_with(&self, sql: &[&str]) -> Arc<dyn Provider> {
        self.provider_as("postgres", sql).await
    }

    async fn provider_as(&self, user: &str, sql: &[&str]) -> Arc<dyn Provider> {
        let decl = GrantDecl {
            targets: vec!["db".into()],
            databases: vec!["app".into()],
            sql: sql.iter().map(ToString::to_string).collect(),
            ..GrantDecl::default()
        };
        let grant = Grant::new("sqlguest", "db", [&decl], vec![]).unwrap();
        let decl = ServerDecl {
            host: Hosts::One(Given::Literal(self.postgres.socket().display().to_string())),
            port: Some(self.postgres.port()),
            user: Some(Given::Literal(user.into())),
            ..ServerDecl::default()
        };
        let server = Server::postgres(&name("db"), decl, "/".into(), vec![grant], SqlLimits::default());
        let options = HostOptions { cache_dir: common::shared_cache(), limits: BTreeMap::new() };
        let host = Arc::new(Host::new(options, self.heard.clone()).unwrap());
        let facts = host.load_bytes("sql.wasm", Cow::Owned(guest("sql"))).unwrap();
        let mut lock = Lock::read(self.temp.path().join("tidelock.lock")).unwrap();
        lock.accept(&facts.plugin);
        let eyes = move |_: &_| Ok(Eyes::on_server(TargetKind::Postgres, server.clone()));
        PluginRoom::new(host, lock, Arc::new(eyes)).provider("sqlguest", &name("db")).await.unwrap()
    }
}

fn subject(identity: &str) -> Subject {
    Subject {
        identity: Identity::new(identity),
        kind: "sqlguest.role".parse().unwrap(),
        handle: None,
        fields: vec![],
        commands: vec![],
    }
}

async fn ask(provider: &Arc<dyn Provider>, text: &str) -> Result<Value, Fault> {
    match provider.observe(&[subject(&format!("ask:{text}"))]).await?.remove(0) {
        Observation::Present { observed, .. } => Ok(observed),
        Observation::Failed { fault } => Err(fault),
        other => panic!("{text}: {other:?}"),
    }
}

fn request(word: &str, seen: Vec<String>) -> StepRequest {
    StepRequest {
        address: format!("infra:db:sqlguest.role/{word}@db").parse().unwrap(),
        identity: Identity::new("role:app"),
        kind: "sqlguest.role".parse().unwrap(),
        action: Action::Create,
        desired: Some(json!({"name": "app", "password": {"$secret": "app/password"}})),
        observed: None,
        last: None,
        handle: None,
        fields: vec![],
        seen,
        trigger: None,
        beneath: vec![],
    }
}

async fn step(provider: &Arc<dyn Provider>, word: &str) -> Result<Vec<Effect>, Fault> {
    match provider.steps(&[request(word, vec![])]).await?.remove(0) {
        StepAnswer::Effects(effects) => Ok(effects),
        StepAnswer::Refused(fault) => Err(fault),
        other => panic!("{word}: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_asks_the_catalog_and_nothing_else() {
    let world = World::new();
    let provider = world.provider().await;
    let before = world.postgres.dump();
    let many = ask(&provider, "|SELECT g, 'x' FROM generate_series(1, 2500) g").await.unwrap();
    assert_eq!(many["count"], 2500, "in pages");
    let tables = ask(&provider, "app|SELECT relname FROM pg_class WHERE relname = 't'").await.unwrap();
    assert_eq!(tables["count"], 1);
    for (text, why) in [
        ("|SELECT pg_terminate_backend(1)", "pg_terminate_backend"),
        ("|SELECT * FROM pg_authid", "pg_authid"),
        ("|SELECT 1; DROP TABLE t", "one statement"),
        ("app|SELECT * FROM public.t", "public.t"),
        ("template1|SELECT 1", "may not look at the database template1"),
        ("|SELECT nothing", "(42703)"),
    ] {
        let fault = ask(&provider, text).await.unwrap_err();
        assert!(fault.message.contains(why), "{text}: {fault}");
    }
    let denied = ask(&provider, "template1|SELECT 1").await.unwrap_err();
    assert!(denied.hint.unwrap().contains(r#"databases = ["template1"]"#));
    assert!(ask(&provider, "flood").await.unwrap_err().message.contains("broke"), "handles have an end");
    assert_eq!(world.postgres.dump(), before);
    world.heard.log();
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_are_taken_for_their_change_alone() {
    let world = World::new();
    let provider = world.provider().await;
    let before = world.postgres.dump();
    let seen = match provider.observe(&[subject("role:app")]).await.unwrap().remove(0) {
        Observation::Absent { seen, .. } => seen,
        other => panic!("{other:?}"),
    };
    let StepAnswer::Effects(effects) = provider.steps(&[request("good", seen)]).await.unwrap().remove(0) else {
        panic!()
    };
    assert_eq!(effects[0].body.summary(), r#"CREATE ROLE "app" LOGIN"#);
    assert!(matches!(&effects[0].precondition, Some(Precondition::Rows { looks }) if looks[0].count == 0));
    assert_eq!(effects[0].together.as_deref(), Some("all"));
    let EffectBody::Sql(statement) = &effects[0].body else { panic!() };
    assert!(!statement.unread && !statement.destructive());
    let dropped = step(&provider, "drop").await.unwrap();
    assert!(dropped[0].body.destructive(None));
    let secret = step(&provider, "secret").await.unwrap();
    assert_eq!(secret[0].body.summary(), r#"CREATE ROLE "app" LOGIN PASSWORD <secret app/password>"#);

    for (word, why) in [
        ("forged", "not given out in this pass"),
        ("other", "neither the identity of its change"),
        ("two", "not known of a statement about a role"),
        ("member", "not known of a statement about a role"),
        ("quotes", "not known of a statement about a role"),
        ("class", "no class of objects"),
        ("no-such-change", "does not exist"),
        ("strange-secret", "the secret other/secret is neither in the desired spec"),
        ("plain-secret", "gets a verifier"),
        ("rename", "stands in no spec"),
        ("grant-other", "neither the identity of its change"),
    ] {
        let fault = step(&provider, word).await.unwrap_err();
        assert!(fault.message.contains(why), "{word}: {fault}");
    }
    let narrow = world.provider_with(&["role:web*"]).await;
    let fault = step(&narrow, "good").await.unwrap_err();
    assert!(fault.code == "denied" && fault.hint.unwrap().contains(r#"sql = ["role:app"]"#));
    assert_eq!(world.postgres.dump(), before, "a proposal changes nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_reads_nothing_cannot_open_a_database() {
    let world = World::new();
    let provider = world.provider().await;
    let declared = tidelock_model::port::Declared {
        address: "sqlguest.role/peek".into(),
        kind: "sqlguest.role".parse().unwrap(),
        spec: json!({}),
    };
    let fault = provider.check(&[declared]).await.unwrap_err();
    assert!(fault.message.contains("called sql/read.open during `check`"), "{fault}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_is_not_told_where_the_server_is_or_who_signs_in() {
    let world = World::new();
    let provider = world.provider_as("stranger", &["role:app*"]).await;
    let told = ask(&provider, "told").await.unwrap();
    let told = told["first"].as_str().unwrap().to_owned();
    let socket = world.postgres.socket().display().to_string();
    assert!(told.contains("could not sign in to the server") && told.contains("auth"), "{told}");
    for secret in [&*socket, "stranger", &world.postgres.port().to_string(), "PGSQL"] {
        assert!(!told.contains(secret), "{secret} in {told}");
    }
    // The operator is told all of it, by the same words of the plugin.
    let fault = ask(&provider, "|SELECT 1").await.unwrap_err();
    assert!(fault.message.contains(&socket) && fault.message.contains("stranger"), "{fault}");
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_are_held_have_an_end() {
    let world = World::new();
    let provider = world.provider().await;
    let fault = ask(&provider, "held").await.unwrap_err();
    assert!(fault.code == "limit" && fault.message.contains("let go of some"), "{fault}");
}
