//! SQLite: reads that change nothing, whatever a plugin asks.

use tidelock_model::port::Target as _;
use tidelock_model::run::EffectEnd;
use tidelock_model::sql::{Act, Dialect, Part, Statement, Verb};
use tidelock_target::sql::guard::Judged;
use tidelock_target::sql::{Limits, Server, Value};

use crate::support::{ask, effect_in, fault, grant, look, name, object, perform};

fn server(folder: &tempfile::TempDir) -> Server {
    let file = folder.path().join("shop.db");
    std::fs::write(&file, "").unwrap();
    let limits = Limits { lock_ms: 1_000, statement_ms: 1_000, ..Limits::default() };
    Server::sqlite(&name("db"), file, vec![grant(&["**"], &["main"])], limits)
}

fn execute(verb: Verb, name: &str, text: &str) -> tidelock_model::effect::Effect {
    let parts = if text.is_empty() { vec![] } else { vec![Part::Text(text.into())] };
    effect_in(Dialect::Sqlite, Some("main"), Act::Execute(Statement { verb, object: object("table", &[name]), parts }))
}

#[tokio::test]
async fn reads_change_nothing_on_sqlite_either() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(&folder);
    assert_eq!(perform(&server, vec![execute(Verb::Create, "t", "(a INTEGER)")]).await, [EffectEnd::Done]);
    let file = folder.path().join("shop.db");
    let before = std::fs::read(&file).unwrap();
    let other = folder.path().join("other.db").display().to_string();
    for attack in [
        "INSERT INTO t VALUES (1)",
        "DROP TABLE t",
        "SELECT * FROM t",
        "SELECT * FROM main.t",
        &format!("ATTACH DATABASE '{other}' AS x"),
        &format!("VACUUM INTO '{other}'"),
        "PRAGMA user_version = 7",
        "PRAGMA writable_schema = ON",
        "SELECT * FROM pragma_user_version(7)",
        "SELECT load_extension('/tmp/x')",
        "SELECT writefile('/tmp/x', 'y')",
        "SELECT readfile('/etc/passwd')",
        "SELECT edit('x')",
        "SELECT fts3_tokenizer('x', 'y')",
        "SELECT * FROM dbstat",
        "SELECT * FROM temp.sqlite_schema",
        "SELECT 1; DROP TABLE t",
        "WITH x AS (SELECT 1) DELETE FROM t",
        "BEGIN IMMEDIATE",
        "SELECT randomblob(1000000000)",
        "SELECT zeroblob(1000000000)",
        "CREATE TEMP TABLE x (a)",
        "EXPLAIN SELECT 1",
        "REINDEX",
    ] {
        let failed = ask(&server, None, attack).await.expect_err(attack);
        assert!(matches!(failed.fault.code.as_str(), "denied" | "invalid"), "{attack}: {failed:?}");
    }
    // And what gets past the judge meets a handle that cannot write.
    for text in [
        "DELETE FROM t".to_owned(),
        "INSERT INTO t VALUES (1) RETURNING a".to_owned(),
        "SELECT 1; DROP TABLE t".to_owned(),
        "PRAGMA user_version = 7".to_owned(),
        format!("ATTACH DATABASE '{other}' AS x"),
        format!("VACUUM INTO '{other}'"),
        "SELECT load_extension('/tmp/x')".to_owned(),
        "CREATE TEMP TABLE x (a)".to_owned(),
    ] {
        let unjudged = Judged { text: text.clone(), show: true };
        let answer = server.ask(None, &unjudged, &[]).await;
        assert!(answer.is_err() || text.starts_with("ATTACH"), "{text}: {answer:?}");
    }
    assert!(!std::path::Path::new(&other).exists());
    assert_eq!(std::fs::read(&file).unwrap(), before);
    let endless = "WITH RECURSIVE x (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM x) SELECT COUNT(*) FROM x";
    assert_eq!(ask(&server, None, endless).await.unwrap_err().fault.code, "timeout");
    let seen = ask(&server, None, "SELECT name, 1, 1.5, NULL FROM sqlite_schema").await.unwrap();
    assert_eq!(seen.rows, [[Value::Text("t".into()), Value::Integer(1), Value::Float(1.5), Value::Null]]);
}

#[tokio::test]
async fn a_group_on_sqlite_happens_whole_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(&folder);
    let ends = perform(
        &server,
        vec![
            execute(Verb::Create, "a", "(i)"),
            execute(Verb::Create, "b", "(i, i)"),
            execute(Verb::Create, "c", "(i)"),
        ],
    )
    .await;
    assert_eq!(
        (&ends[0], fault(&ends[1]).code.as_str(), &ends[2]),
        (&EffectEnd::NotReached, "sql", &EffectEnd::NotReached)
    );
    assert_eq!(ask(&server, None, "SELECT name FROM sqlite_schema").await.unwrap().rows.len(), 0);
    let ends = perform(&server, vec![execute(Verb::Create, "a", "(i); DROP TABLE x")]).await;
    assert!(matches!(ends[0], EffectEnd::Failed { .. }), "{ends:?}");
    // What a look saw is held until the end of the transaction.
    let absent = look(&server, None, "SELECT name FROM sqlite_schema", &["a"]).await;
    let make =
        || tidelock_model::effect::Effect { precondition: Some(absent.clone()), ..execute(Verb::Create, "a", "(i)") };
    assert_eq!(perform(&server, vec![make()]).await, [EffectEnd::Done]);
    assert_eq!(fault(&perform(&server, vec![make()]).await[0]).code, "changed");
    assert!(server.fingerprint().await.unwrap().starts_with("sqlite:"));
}
