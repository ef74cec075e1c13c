//! A server of the tests', and a target on it.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use tidelock_model::config::{Given, Hosts, Kept, ReaderDecl, ServerDecl, TlsDecl};
use tidelock_model::digest::Digest;
use tidelock_model::effect::{AfterCrash, Effect, EffectBody, Precondition};
use tidelock_model::error::Fault;
use tidelock_model::grant::{Grant, GrantDecl};
use tidelock_model::name::{Identity, Name};
use tidelock_model::plan::{Group, PlannedEffect, Preview};
use tidelock_model::port::{Blobs, Target as _, Until};
use tidelock_model::run::EffectEnd;
use tidelock_model::secret::{SecretName, SecretValue};
use tidelock_model::sql::{Act, Dialect, Look, Object, Part, SqlEffect, Statement, Verb};
use tidelock_target::sql::{Answer, Keyed, Limits, Server, SqlFault};
use tidelock_tests::Postgres;

pub(crate) struct Bed {
    pub(crate) postgres: Postgres,
    pub(crate) folder: tempfile::TempDir,
}

/// Writes a file that nobody else can read.
pub(crate) fn private(file: &Path, text: &str) {
    std::fs::write(file, text).unwrap();
    std::fs::set_permissions(file, Permissions::from_mode(0o600)).unwrap();
}

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// The one secret that there is, `app/password`.
pub(crate) const SECRET: &str = "g'eheim\\ \"x";

pub(crate) struct NoBlobs;

impl Blobs for NoBlobs {
    fn is_secret(&self, _: &Digest) -> bool {
        false
    }

    fn read(&self, digest: &Digest) -> Result<Vec<u8>, Fault> {
        panic!("asked for the content {digest}")
    }

    fn secret(&self, name: &SecretName) -> Result<SecretValue, Fault> {
        match name.as_str() {
            "app/password" => Ok(SecretValue::new(SECRET.into())),
            other => panic!("asked for the secret {other}"),
        }
    }
}

pub(crate) fn grant(sql: &[&str], databases: &[&str]) -> Grant {
    let texts = |list: &[&str]| list.iter().map(ToString::to_string).collect();
    let decl = GrantDecl {
        targets: vec!["db".into()],
        sql: texts(sql),
        databases: texts(databases),
        privileges: texts(&["createrole"]),
        ..GrantDecl::default()
    };
    Grant::new("postgres", "db", [&decl], vec![]).unwrap()
}

impl Bed {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let postgres = Postgres::start(&folder.path().join("server"));
        private(&folder.path().join("password"), &format!("{}\n", tidelock_tests::postgres::PASSWORD));
        Self { postgres, folder }
    }

    /// The superuser over TLS, whose certificate is checked in full.
    pub(crate) fn decl(&self) -> ServerDecl {
        ServerDecl {
            host: Hosts::One(Given::Literal("localhost".into())),
            port: Some(self.postgres.port()),
            user: Some(Given::Literal("postgres".into())),
            password: Some(Kept::File("password".into())),
            tls: TlsDecl { ca: Some("server/ca.pem".into()), ..TlsDecl::default() },
            ..ServerDecl::default()
        }
    }

    pub(crate) fn server(&self) -> Server {
        self.server_with(self.decl(), grant(&["**"], &["*"]))
    }

    pub(crate) fn server_with(&self, decl: ServerDecl, grant: Grant) -> Server {
        let limits = Limits { lock_ms: 500, statement_ms: 5_000, ..Limits::default() };
        Server::postgres(&name("db"), decl, self.folder.path().to_owned(), vec![grant], limits)
    }

    pub(crate) fn reader(&self, user: &str, password: &str) -> ReaderDecl {
        private(&self.folder.path().join("reader"), password);
        ReaderDecl { user: Given::Literal(user.into()), password: Some(Kept::File("reader".into())) }
    }
}

pub(crate) async fn ask(server: &Server, database: Option<&str>, sql: &str) -> Result<Answer, SqlFault> {
    let judged = server.judge(sql).await?;
    server.ask(database, &judged, &[]).await
}

/// What a plugin would rely on, having asked this.
pub(crate) async fn look(server: &Server, database: Option<&str>, sql: &str, key: &[&str]) -> Precondition {
    let answer = ask(server, database, sql).await.unwrap();
    let key: Vec<Option<String>> = key.iter().map(|text| Some((*text).to_owned())).collect();
    let (count, rows) = Keyed::new(answer).of_key(&key);
    let look =
        Look { database: database.map(ToOwned::to_owned), query: sql.into(), parameters: vec![], key, count, rows };
    Precondition::Rows { looks: vec![look] }
}

pub(crate) fn object(class: &str, name: &[&str]) -> Object {
    Object { class: class.into(), name: name.iter().map(ToString::to_string).collect() }
}

pub(crate) fn execute(verb: Verb, class: &str, name: &[&str], database: Option<&str>, text: &str) -> Effect {
    let parts = if text.is_empty() { vec![] } else { vec![Part::Text(text.into())] };
    effect(database, Act::Execute(Statement { verb, object: object(class, name), parts }))
}

pub(crate) fn effect(database: Option<&str>, act: Act) -> Effect {
    effect_in(Dialect::Postgres, database, act)
}

pub(crate) fn effect_in(dialect: Dialect, database: Option<&str>, act: Act) -> Effect {
    let statement = SqlEffect { dialect, database: database.map(ToOwned::to_owned), act, unread: false };
    Effect {
        resource: "postgres.role/app".parse().unwrap(),
        identity: statement.touches().first().cloned().unwrap_or_else(|| Identity::new("none")),
        plugin: "postgres".into(),
        body: EffectBody::Sql(Box::new(statement)),
        precondition: None,
        after_crash: AfterCrash::Observe,
        together: None,
        inverse: None,
        inside: vec![],
    }
}

pub(crate) fn group(id: u32, effects: Vec<Effect>) -> Group {
    let lane = tidelock_model::name::Lane { source: name("infra"), stack: name("db"), target: name("db") };
    let effects = effects
        .into_iter()
        .map(|effect| PlannedEffect {
            summary: effect.body.summary(),
            preview: Preview::default(),
            destructive: false,
            effect,
        })
        .collect();
    Group { id, lane, atomic: true, after: vec![], effects }
}

pub(crate) async fn perform(server: &Server, effects: Vec<Effect>) -> Vec<EffectEnd> {
    let mut outcomes = server.perform("run", &[group(1, effects)], &NoBlobs, &Until::at(u64::MAX)).await;
    outcomes.remove(0).effects
}

pub(crate) fn fault(end: &EffectEnd) -> &Fault {
    match end {
        EffectEnd::Failed { fault } => fault,
        other => panic!("did not fail: {other:?}"),
    }
}
