//! Signing in, and what comes of a query.

use tidelock_model::config::{Given, Hosts, Kept, Require, ServerDecl, TlsDecl, TlsMode};
use tidelock_model::port::Target as _;
use tidelock_target::sql::Value;
use tidelock_tests::Postgres;

use crate::support::{Bed, ask, grant, private};

#[tokio::test]
async fn values_come_as_what_they_are_and_the_rest_as_the_server_writes_it() {
    let bed = Bed::new();
    let server = bed.server();
    let answer = ask(
        &server,
        None,
        "SELECT true, 1, 2::bigint, 3::oid, 1.5::float8, 'x'::name, 'c'::\"char\", NULL, ARRAY['a', 'b,\"'], \
         1.50::numeric, '2026-01-02 03:04:05+00'::timestamptz, 'postgres'::regrole, decode('00ff', 'hex'), \
         '{\"a\": 1}'::jsonb, acldefault('d', 10)",
    )
    .await
    .unwrap();
    let other = |type_name: &str, text: &str| Value::Other { type_name: type_name.into(), text: text.into() };
    assert_eq!(
        answer.rows[0],
        [
            Value::Boolean(true),
            Value::Integer(1),
            Value::Integer(2),
            Value::Integer(3),
            Value::Float(1.5),
            Value::Text("x".into()),
            other("char", "c"),
            Value::Null,
            Value::Texts(vec!["a".into(), "b,\"".into()]),
            other("numeric", "1.50"),
            other("timestamptz", "2026-01-02 03:04:05+00"),
            other("regrole", "postgres"),
            Value::Bytes(vec![0, 255]),
            other("jsonb", "{\"a\": 1}"),
            other("_aclitem", "{=Tc/postgres,postgres=CTc/postgres}"),
        ]
    );
    let facts = server.facts().await.unwrap();
    assert!(facts.encrypted && facts.superuser && facts.number >= 150_000, "{facts:?}");
    assert_eq!((facts.acts_as.as_str(), facts.database.as_str()), ("postgres", "postgres"));
    let fingerprint = server.fingerprint().await.unwrap();
    let identifier = bed.postgres.psql("postgres", "SELECT system_identifier FROM pg_control_system()");
    assert_eq!(fingerprint, format!("postgres:{identifier}"));
}

#[tokio::test]
async fn errors_say_what_the_server_said_and_never_a_password() {
    let bed = Bed::new();
    let server = bed.server();
    let failed = ask(&server, None, "SELECT rolnam FROM pg_roles").await.unwrap_err();
    assert_eq!(failed.sqlstate.as_deref(), Some("42703"));
    assert!(failed.fault.message.contains("rolnam") && failed.position.is_some() && !failed.fault.retryable);
    let gone = ask(&server, Some("nowhere"), "SELECT 1").await.unwrap_err();
    assert_eq!(gone.fault.code, "not-found");

    let secret = "not the right one";
    private(&bed.folder.path().join("wrong"), secret);
    let mut decl = bed.decl();
    decl.password = Some(Kept::File("wrong".into()));
    let refused = ask(&bed.server_with(decl, grant(&[], &["*"])), None, "SELECT 1").await.unwrap_err();
    assert_eq!(refused.fault.code, "auth", "{refused:?}");
    assert!(refused.fault.message.contains("localhost") && !format!("{refused:?}").contains(secret));

    let mut decl = bed.decl();
    decl.password = Some(Kept::Env("TIDELOCK_TEST_UNSET".into()));
    let unset = ask(&bed.server_with(decl, grant(&[], &["*"])), None, "SELECT 1").await.unwrap_err();
    assert!(unset.fault.message.contains("TIDELOCK_TEST_UNSET"), "{unset}");

    std::fs::write(bed.folder.path().join("open"), secret).unwrap();
    let mut decl = bed.decl();
    decl.password = Some(Kept::File("open".into()));
    let open = ask(&bed.server_with(decl, grant(&[], &["*"])), None, "SELECT 1").await.unwrap_err();
    assert!(open.fault.message.contains("is open to others") && open.fault.hint.unwrap().contains("chmod"));

    let mut decl = bed.decl();
    decl.port = Some(1);
    let nobody = ask(&bed.server_with(decl, grant(&[], &["*"])), None, "SELECT 1").await.unwrap_err();
    assert!(nobody.fault.retryable && nobody.fault.code == "unavailable", "{nobody:?}");
    assert!(nobody.fault.message.contains("localhost port 1"), "{nobody}");
}

#[tokio::test]
async fn certificates_are_checked_in_full_unless_the_operator_says_otherwise() {
    let bed = Bed::new();
    let with = |change: &dyn Fn(&mut tidelock_model::config::ServerDecl)| {
        let mut decl = bed.decl();
        change(&mut decl);
        bed.server_with(decl, grant(&[], &["*"]))
    };
    // An authority that the system does not know.
    let unknown = with(&|decl| decl.tls = TlsDecl::default()).facts().await.unwrap_err();
    assert_eq!(unknown.fault.code, "tls", "{unknown:?}");
    // A name that is not the certificate's.
    let other = with(&|decl| decl.host = Hosts::One(Given::Literal("127.0.0.1".into()))).facts().await.unwrap_err();
    assert_eq!(other.fault.code, "tls", "{other:?}");
    let whoever = with(&|decl| {
        decl.host = Hosts::One(Given::Literal("127.0.0.1".into()));
        decl.tls = TlsDecl { mode: TlsMode::Require, ..TlsDecl::default() };
    });
    assert!(whoever.facts().await.unwrap().encrypted);
    // The server refuses what is not encrypted, and we refuse to try it with others.
    let plain = TlsDecl { mode: TlsMode::Off, ..TlsDecl::default() };
    let off = with(&|decl| decl.tls = plain.clone()).facts().await.unwrap_err();
    assert!(off.fault.message.contains("pg_hba.conf"), "{off}");
    let far = with(&|decl| {
        decl.tls = plain.clone();
        decl.host = Hosts::One(Given::Literal("192.0.2.1".into()));
    });
    assert_eq!(far.facts().await.unwrap_err().fault.code, "denied");
    let socket = with(&|decl| {
        decl.host = Hosts::One(Given::Literal(bed.postgres.socket().display().to_string()));
        decl.password = None;
    });
    assert!(!socket.facts().await.unwrap().encrypted);
}

#[tokio::test]
async fn a_standby_is_waited_for_and_a_primary_is_found_among_hosts() {
    let bed = Bed::new();
    let standby = Postgres::standby_of(&bed.postgres, &bed.folder.path().join("standby"));
    let socket = |server: &Postgres| Given::Literal(server.socket().display().to_string());
    let mut decl = bed.decl();
    decl.host = Hosts::One(socket(&standby));
    decl.port = Some(standby.port());
    let server = bed.server_with(decl.clone(), grant(&[], &["*"]));
    let waits = server.fingerprint().await.unwrap_err();
    assert!(waits.code == "standby" && waits.retryable && waits.message.contains("only copies"), "{waits}");
    decl.require = Require::Any;
    let any = bed.server_with(decl, grant(&[], &["*"]));
    assert_eq!(any.fingerprint().await.unwrap(), bed.server().fingerprint().await.unwrap());
}

#[tokio::test]
async fn answers_have_an_end() {
    let bed = Bed::new();
    let server = bed.server();
    let long = "SELECT g, format('%1000s', 'x') FROM generate_series(1, 100000) g";
    assert_eq!(ask(&server, None, long).await.unwrap_err().fault.code, "limit");
    // One value is refused before it is read.
    let refused = ask(&server, None, "SELECT format('%300000000s', 1)").await.unwrap_err();
    assert_eq!(refused.fault.code, "limit", "{refused:?}");
    let slow = "SELECT count(*) FROM generate_series(1, 100000) a, generate_series(1, 1000000) b";
    assert_eq!(ask(&server, None, slow).await.unwrap_err().fault.code, "timeout");
    assert_eq!(ask(&server, None, "SELECT 1").await.unwrap().rows.len(), 1, "and the server goes on");
}

/// A server that asks for the password in its own way; gives what it got for an answer.
fn asks_for_the_password(kind: u8) -> (u16, std::thread::JoinHandle<Vec<u8>>) {
    use std::io::{Read as _, Write as _};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let served = std::thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        let mut length = [0; 4];
        client.read_exact(&mut length).unwrap();
        let mut startup = vec![0; u32::from_be_bytes(length) as usize - 4];
        client.read_exact(&mut startup).unwrap();
        let salt: &[u8] = if kind == 5 { b"salt" } else { b"" };
        let length = u8::try_from(8 + salt.len()).unwrap();
        client.write_all(&[&[b'R', 0, 0, 0, length, 0, 0, 0, kind], salt].concat()).unwrap();
        let mut got = vec![0; 200];
        let size = client.read(&mut got).unwrap_or(0);
        got.truncate(size);
        got
    });
    (port, served)
}

#[tokio::test]
async fn a_password_is_given_to_nobody_who_asks_for_it() {
    let bed = Bed::new();
    let off = TlsDecl { mode: TlsMode::Off, ..TlsDecl::default() };
    let decl = |port, tls: &TlsDecl| ServerDecl {
        host: Hosts::One(Given::Literal("127.0.0.1".into())),
        port: Some(port),
        tls: tls.clone(),
        ..bed.decl()
    };
    for kind in [3, 5] {
        let (port, served) = asks_for_the_password(kind);
        let refused = ask(&bed.server_with(decl(port, &off), grant(&[], &["*"])), None, "SELECT 1").await.unwrap_err();
        assert!(refused.fault.code == "auth" && !refused.fault.retryable, "{refused:?}");
        assert!(refused.fault.message.contains("asks for the password itself"), "{refused:?}");
        assert!(refused.fault.hint.unwrap().contains("scram-sha-256"));
        assert_eq!(served.join().unwrap(), b"", "nothing was answered");
    }
    let (port, served) = asks_for_the_password(3);
    let meant = TlsDecl { plain_password: true, ..off };
    ask(&bed.server_with(decl(port, &meant), grant(&[], &["*"])), None, "SELECT 1").await.unwrap_err();
    let got = String::from_utf8_lossy(&served.join().unwrap()).into_owned();
    assert!(got.contains(tidelock_tests::postgres::PASSWORD), "where the operator says so it is: {got:?}");
}
