//! MariaDB: reads that change nothing, and statements one by one.

use std::time::Duration;

use tidelock_model::config::{Given, Hosts, Kept, ServerDecl, TlsDecl, TlsMode};
use tidelock_model::effect::Effect;
use tidelock_model::observation::SecretProbe;
use tidelock_model::port::{Target as _, Until};
use tidelock_model::run::EffectEnd;
use tidelock_model::secret::SecretValue;
use tidelock_model::sql::{Act, Dialect, Grant, Granted, Grantee, Part, Privilege, SecretForm, Statement, Verb};
use tidelock_target::sql::guard::Judged;
use tidelock_target::sql::{Limits, Server, Value};
use tidelock_tests::MariaDb;

use crate::support::{NoBlobs, SECRET, ask, effect_in, fault, grant, group, look, name, object, perform, private};

struct Bed {
    mariadb: MariaDb,
    folder: tempfile::TempDir,
}

impl Bed {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mariadb = MariaDb::start(&folder.path().join("server"));
        private(&folder.path().join("password"), tidelock_tests::mariadb::PASSWORD);
        Self { mariadb, folder }
    }

    fn decl(&self) -> ServerDecl {
        ServerDecl {
            host: Hosts::One(Given::Literal("localhost".into())),
            port: Some(self.mariadb.port()),
            user: Some(Given::Literal(tidelock_tests::mariadb::USER.into())),
            password: Some(Kept::File("password".into())),
            tls: TlsDecl { ca: Some("server/ca.pem".into()), ..TlsDecl::default() },
            ..ServerDecl::default()
        }
    }

    fn server(&self) -> Server {
        self.server_with(self.decl())
    }

    fn server_with(&self, decl: ServerDecl) -> Server {
        let limits = Limits { lock_ms: 1_000, statement_ms: 5_000, ..Limits::default() };
        Server::mysql(&name("db"), decl, self.folder.path().to_owned(), vec![grant(&["**"], &["*"])], limits)
    }
}

fn effect(database: Option<&str>, act: Act) -> Effect {
    effect_in(Dialect::MariaDb, database, act)
}

fn execute(verb: Verb, class: &str, name: &[&str], parts: Vec<Part>) -> Effect {
    effect(None, Act::Execute(Statement { verb, object: object(class, name), parts }))
}

fn granting(database: &str, privilege: &str, user: &str) -> Effect {
    let privileges = vec![Privilege { name: privilege.into(), columns: vec![] }];
    let grant = Grant {
        revoke: false,
        granted: Granted::Privileges(privileges, object("table", &["*"])),
        grantee: Grantee::User(user.into(), "%".into()),
        with_option: false,
        options: vec![],
        granted_by: None,
        cascade: false,
    };
    effect(Some(database), Act::Grant(grant))
}

#[tokio::test]
async fn reads_change_nothing_on_mariadb_either() {
    let bed = Bed::new();
    bed.mariadb.sql("CREATE DATABASE app; CREATE TABLE app.t (a int); INSERT INTO app.t VALUES (1)");
    let server = bed.server();
    let facts = server.facts().await.unwrap();
    assert!(facts.encrypted && facts.superuser && facts.dialect == Dialect::MariaDb, "{facts:?}");
    assert!(facts.number >= 101_100, "{facts:?}");
    assert_eq!(server.fingerprint().await.unwrap(), format!("mariadb:{}", bed.mariadb.sql("SELECT @@server_uid")));
    let before = bed.mariadb.state();
    let file = bed.folder.path().join("server/touched");
    let outfile = format!("SELECT 1 INTO OUTFILE '{}'", file.display());
    for attack in [
        "INSERT INTO app.t VALUES (2)",
        "DROP DATABASE app",
        "SELECT SLEEP(20)",
        "SELECT GET_LOCK('tidelock', 1)",
        "SELECT LOAD_FILE('/etc/passwd')",
        "SET GLOBAL general_log = OFF",
        "SELECT * FROM app.t",
        "SELECT 1; DROP DATABASE app",
        "/*! DROP DATABASE app */",
        "KILL 1",
        "CALL mysql.x()",
        "SHOW GRANTS",
        &outfile,
    ] {
        let failed = ask(&server, None, attack).await.expect_err(attack);
        assert!(matches!(failed.fault.code.as_str(), "denied" | "invalid"), "{attack}: {failed:?}");
    }
    for text in ["DELETE FROM app.t", "SELECT 1; DROP DATABASE app"] {
        let unjudged = Judged { text: text.into(), show: true };
        assert!(server.ask(None, &unjudged, &[]).await.is_err(), "{text}");
    }
    assert_eq!(bed.mariadb.sql("SELECT COUNT(*) FROM app.t"), "1");
    // Accounts are readable, and what proves their passwords is not.
    let accounts = ask(&server, None, "SELECT * FROM mysql.global_priv").await.unwrap();
    let users = ask(&server, None, "SELECT * FROM mysql.user").await.unwrap();
    let told = format!("{accounts:?}{users:?}");
    assert!(told.contains("admin") && !told.contains("authentication_string") && !told.contains('*'), "{told}");
    assert_eq!(bed.mariadb.state(), before);
    assert!(!file.exists());
}

#[tokio::test]
async fn values_of_mariadb_come_as_what_they_are() {
    let bed = Bed::new();
    let server = bed.server();
    let query = "SELECT schema_name, 5, NULL, CAST(1.50 AS decimal(4,2)), ? FROM information_schema.schemata \
        WHERE schema_name = ?";
    let judged = server.judge(query).await.unwrap();
    let answer = server.ask(None, &judged, &[Some("x".into()), Some("mysql".into())]).await.unwrap();
    let decimal = Value::Other { type_name: "decimal".into(), text: "1.50".into() };
    assert_eq!(
        answer.rows,
        [[Value::Text("mysql".into()), Value::Integer(5), Value::Null, decimal, Value::Text("x".into())]]
    );
    let slow = "SELECT COUNT(*) FROM information_schema.collations a, information_schema.collations b, \
        information_schema.collations c, information_schema.collations d";
    assert_eq!(ask(&server, None, slow).await.unwrap_err().fault.code, "timeout");
}

#[tokio::test]
async fn certificates_and_passwords_of_mariadb_are_checked() {
    let bed = Bed::new();
    let with = |change: &dyn Fn(&mut ServerDecl)| {
        let mut decl = bed.decl();
        change(&mut decl);
        bed.server_with(decl)
    };
    let unknown = with(&|decl| decl.tls = TlsDecl::default()).facts().await.unwrap_err();
    assert_eq!(unknown.fault.code, "tls", "{unknown:?}");
    let other = with(&|decl| decl.host = Hosts::One(Given::Literal("127.0.0.1".into()))).facts().await.unwrap_err();
    assert_eq!(other.fault.code, "tls", "{other:?}");
    private(&bed.folder.path().join("wrong"), "a wrong one");
    let wrong = with(&|decl| decl.password = Some(Kept::File("wrong".into()))).facts().await.unwrap_err();
    assert!(wrong.fault.code == "auth" && !format!("{wrong:?}").contains("a wrong one"), "{wrong:?}");
    bed.mariadb.sql("SET GLOBAL read_only = ON");
    let standby = bed.server().facts().await.unwrap_err();
    assert!(standby.fault.code == "standby" && standby.fault.retryable, "{standby:?}");
}

#[tokio::test]
async fn statements_go_one_by_one_and_the_first_that_fails_ends_the_group() {
    let bed = Bed::new();
    let server = bed.server();
    let effects = vec![
        execute(
            Verb::Create,
            "database",
            &["my_app`x"],
            vec![Part::Text("CHARACTER SET".into()), Part::Literal("utf8mb4".into())],
        ),
        execute(Verb::Create, "user", &["app", "%"], vec![Part::Text("REQUIRE SSL".into())]),
        granting("my_app`x", "SELECT", "app"),
        granting("my_app`x", "NONSENSE", "app"),
        granting("my_app`x", "INSERT", "app"),
    ];
    let ends = perform(&server, effects).await;
    assert_eq!(ends[..3], [EffectEnd::Done, EffectEnd::Done, EffectEnd::Done]);
    assert_eq!((fault(&ends[3]).code.as_str(), &ends[4]), ("sql", &EffectEnd::NotReached));
    let grants = bed.mariadb.sql("SHOW GRANTS FOR app@'%'");
    assert!(grants.contains(r"GRANT SELECT ON `my\_app``x`.*") && grants.contains("REQUIRE SSL"), "{grants}");
}

#[tokio::test]
async fn a_password_of_mariadb_becomes_a_hash() {
    let bed = Bed::new();
    let server = bed.server();
    let secret = Part::Secret { name: "app/password".into(), form: SecretForm::Verifier };
    let parts = vec![Part::Text("IDENTIFIED VIA mysql_native_password USING".into()), secret];
    let create = execute(Verb::Create, "user", &["app", "%"], parts);
    assert_eq!(perform(&server, vec![create]).await, [EffectEnd::Done]);
    let probe =
        SecretProbe { field: "/password".into(), method: "sql-password".into(), material: "user:app@%25".into() };
    for (password, fits) in [(SECRET, true), ("another", false)] {
        let value = SecretValue::new(password.into());
        assert_eq!(server.matches(&[(&probe, &value)]).await.remove(0).unwrap(), Some(fits));
    }
    assert!(!bed.mariadb.log().contains("eheim"));
}

#[tokio::test]
async fn what_changed_on_mariadb_since_the_look_is_not_touched() {
    let bed = Bed::new();
    let server = bed.server();
    let schemata = "SELECT schema_name FROM information_schema.schemata";
    let create = || execute(Verb::Create, "database", &["app"], vec![]);
    let absent = look(&server, None, schemata, &["app"]).await;
    bed.mariadb.sql("CREATE DATABASE other");
    let fresh = Effect { precondition: Some(absent.clone()), ..create() };
    assert_eq!(perform(&server, vec![fresh]).await, [EffectEnd::Done]);
    let stale = Effect { precondition: Some(absent), ..execute(Verb::Drop, "database", &["app"], vec![]) };
    assert_eq!(fault(&perform(&server, vec![stale]).await[0]).code, "changed");
}

#[tokio::test]
async fn several_writers_take_turns_on_mariadb() {
    let bed = Bed::new();
    bed.mariadb.sql("CREATE DATABASE app; CREATE USER app@'%'");
    let servers: Vec<_> = (0..4).map(|_| bed.server()).collect();
    for _ in 0..10 {
        let work = servers.iter().enumerate().map(|(i, server)| {
            let effects = vec![granting("app", ["SELECT", "INSERT", "UPDATE", "DELETE"][i], "app")];
            async move {
                server.perform("run", &[group(1, effects)], &NoBlobs, &Until::at(u64::MAX)).await.remove(0).effects
            }
        });
        for ends in futures::future::join_all(work).await {
            assert_eq!(ends, [EffectEnd::Done]);
        }
        let grants = bed.mariadb.sql("SHOW GRANTS FOR app@'%'");
        assert!(grants.contains("GRANT SELECT, INSERT, UPDATE, DELETE ON `app`.*"), "{grants}");
        bed.mariadb.sql("REVOKE ALL ON app.* FROM app@'%'");
    }
}

/// An account of its own, which may do anything, and the files of two passwords.
fn own() -> Bed {
    let bed = Bed::new();
    bed.mariadb.sql(
        "CREATE USER own@'127.0.0.1' IDENTIFIED BY 'the first one' REQUIRE SSL WITH MAX_USER_CONNECTIONS 9; \
         CREATE USER own@'10.0.0.1'; GRANT ALL ON *.* TO own@'127.0.0.1' WITH GRANT OPTION",
    );
    private(&bed.folder.path().join("first"), "the first one");
    private(&bed.folder.path().join("second"), SECRET);
    bed
}

/// Signs in as `own` with what files hold.
fn as_own(bed: &Bed, password: &str, next: Option<&str>) -> Server {
    bed.server_with(ServerDecl {
        user: Some(Given::Literal("own".into())),
        password: Some(Kept::File(password.into())),
        next_password: next.map(|file| Kept::File(file.into())),
        ..bed.decl()
    })
}

fn altered(host: &str, parts: Vec<Part>) -> Effect {
    execute(Verb::Alter, "user", &["own", host], parts)
}

fn own_password(host: &str) -> Effect {
    let secret = Part::Secret { name: "app/password".into(), form: SecretForm::Verifier };
    let plugin = Part::Identifier(vec!["mysql_native_password".into()]);
    altered(host, vec![Part::Text("IDENTIFIED VIA".into()), plugin, Part::Text("USING".into()), secret])
}

#[tokio::test]
async fn a_change_that_would_keep_us_out_of_mariadb_is_put_back() {
    let bed = own();
    let server = as_own(&bed, "first", None);
    let shown = server.preview(&own_password("127.0.0.1"), &NoBlobs).await.unwrap().text;
    assert!(shown.starts_with("own-access: Tidelock itself signs in as own@127.0.0.1"), "{shown}");
    let other = server.preview(&own_password("10.0.0.1"), &NoBlobs).await.unwrap().text;
    assert_eq!(other, "", "another account of that name is none of ours");
    let said = || bed.mariadb.sql("SHOW CREATE USER own@'127.0.0.1'");
    let before = said();
    let text = |words: &str| altered("127.0.0.1", vec![Part::Text(words.into())]);
    for (effect, of_password) in
        [(own_password("127.0.0.1"), true), (text("ACCOUNT LOCK"), false), (text("REQUIRE X509"), false)]
    {
        let ends = perform(&server, vec![effect]).await;
        let fault = fault(&ends[0]);
        assert!(fault.code == "own-access" && fault.message.contains("tried and put back"), "{fault}");
        let hinted = fault.hint.as_ref().is_some_and(|hint| hint.contains("next_password"));
        assert_eq!(hinted, of_password, "{fault:?}");
        assert_eq!(said(), before);
        assert_eq!(as_own(&bed, "first", None).facts().await.unwrap().acts_as, "own@127.0.0.1");
    }
    // What cannot be put back is not begun.
    let ends = perform(&server, vec![execute(Verb::Drop, "user", &["own", "127.0.0.1"], vec![])]).await;
    assert!(fault(&ends[0]).message.contains("it is left as it is"), "{ends:?}");
    assert_eq!(said(), before);
    // Others, and what keeps nobody out, go as ever.
    let fine = vec![own_password("10.0.0.1"), text("REQUIRE SSL")];
    assert_eq!(perform(&server, fine).await, [EffectEnd::Done, EffectEnd::Done]);
}

#[tokio::test]
async fn what_our_account_could_not_give_back_is_not_taken_from_it() {
    let bed = own();
    bed.mariadb.sql(
        "CREATE ROLE used; CREATE ROLE spare; GRANT used TO own@'127.0.0.1' WITH ADMIN OPTION; GRANT spare TO own@'127.0.0.1' WITH ADMIN OPTION; \
         GRANT SELECT ON app.* TO used; SET DEFAULT ROLE used FOR own@'127.0.0.1'; GRANT SELECT ON app.* TO own@'127.0.0.1'",
    );
    let server = as_own(&bed, "first", None);
    let ours = || Grantee::User("own".into(), "127.0.0.1".into());
    let privileges = |on: &str, names: &[&str], privilege: &str| {
        let list = vec![Privilege { name: privilege.into(), columns: vec![] }];
        Granted::Privileges(list, object(on, names))
    };
    let taken = |database: Option<&str>, granted: Granted, grantee: Grantee, with_option: bool| {
        let grant =
            Grant { revoke: true, granted, grantee, with_option, options: vec![], granted_by: None, cascade: false };
        effect(database, Act::Grant(grant))
    };
    let said = || bed.mariadb.sql("SHOW GRANTS FOR own@'127.0.0.1'; SHOW GRANTS FOR used");
    let before = said();
    for (refused, says) in [
        (taken(None, privileges("system", &[], "SELECT"), ours(), false), "takes SELECT from it"),
        (taken(None, privileges("system", &[], "USAGE"), ours(), true), "takes GRANT OPTION from it"),
        (taken(None, Granted::Membership("used".into()), ours(), false), "takes the role used from it"),
        (execute(Verb::Drop, "role", &["used"], vec![]), "takes the role used from it"),
    ] {
        let shown = server.preview(&refused, &NoBlobs).await.unwrap().text;
        assert!(shown.starts_with("own-access: Tidelock signs in as own@127.0.0.1") && shown.contains(says), "{shown}");
        let ends = perform(&server, vec![refused]).await;
        let fault = fault(&ends[0]);
        assert!(fault.code == "own-access" && fault.message.contains(says), "{fault}");
        assert_eq!(said(), before);
    }
    // What it has everywhere by itself, and what its sessions do not use, may go.
    let app = || privileges("table", &["*"], "SELECT");
    let fine = vec![
        taken(Some("app"), app(), ours(), false),
        taken(Some("app"), app(), Grantee::Role("used".into()), false),
        taken(None, Granted::Membership("spare".into()), ours(), false),
        taken(None, privileges("system", &[], "SELECT"), Grantee::User("own".into(), "10.0.0.1".into()), false),
    ];
    for effect in &fine {
        assert_eq!(server.preview(effect, &NoBlobs).await.unwrap().text, "");
    }
    let ends = perform(&server, fine).await;
    assert!(ends.iter().take(3).all(|end| *end == EffectEnd::Done), "{ends:?}");
}

#[tokio::test]
async fn a_target_that_has_the_next_password_of_mariadb_is_let_in_before_and_after() {
    let bed = own();
    let server = as_own(&bed, "first", Some("second"));
    assert_eq!(perform(&server, vec![own_password("127.0.0.1")]).await, [EffectEnd::Done]);
    for (password, next) in [("first", Some("second")), ("second", Some("first")), ("second", None)] {
        let facts = as_own(&bed, password, next).facts().await.unwrap();
        assert_eq!(facts.acts_as, "own@127.0.0.1", "{password}, {next:?}");
    }
    assert_eq!(as_own(&bed, "first", None).facts().await.unwrap_err().fault.code, "auth");
}

#[tokio::test]
async fn a_password_of_mariadb_is_given_to_nobody_who_asks_for_it() {
    use std::io::{Read as _, Write as _};
    let folder = tempfile::tempdir().unwrap();
    private(&folder.path().join("password"), "given to nobody");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let served = std::thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        // Who is refused may hang up late, as this test waits for what it got.
        client.set_read_timeout(Some(std::time::Duration::from_secs(2))).unwrap();
        let packet = |number: u8, body: &[u8]| {
            let length = u32::try_from(body.len()).unwrap().to_le_bytes();
            [&length[..3], &[number], body].concat()
        };
        let capabilities = 0x0008_8201_u32.to_le_bytes();
        let greeting = [
            &b"\x0a10.11.6-MariaDB\0\x01\0\0\0abcdefgh\0"[..],
            &capabilities[..2],
            &[45, 2, 0],
            &capabilities[2..],
            &[21],
            &[0; 10],
            b"ijklmnopqrst\0mysql_native_password\0",
        ]
        .concat();
        client.write_all(&packet(0, &greeting)).unwrap();
        let mut got = vec![];
        let mut bytes = [0; 1_000];
        let size = client.read(&mut bytes).unwrap();
        got.extend_from_slice(&bytes[..size]);
        client.write_all(&packet(2, b"\xfemysql_clear_password\0")).unwrap();
        while let Ok(size @ 1..) = client.read(&mut bytes) {
            got.extend_from_slice(&bytes[..size]);
        }
        got
    });
    let with = |mode, plain_password| {
        let decl = ServerDecl {
            host: Hosts::One(Given::Literal("127.0.0.1".into())),
            port: Some(port),
            user: Some(Given::Literal("admin".into())),
            password: Some(Kept::File("password".into())),
            tls: TlsDecl { mode, plain_password, ..TlsDecl::default() },
            ..ServerDecl::default()
        };
        Server::mysql(&name("db"), decl, folder.path().to_owned(), vec![grant(&[], &["*"])], Limits::default())
    };
    // The server's word would decide how the password is proved, so nobody is spoken to at all.
    for mode in [TlsMode::Off, TlsMode::Require] {
        let refused = with(mode, false).facts().await.unwrap_err();
        assert!(refused.fault.code == "denied" && refused.fault.message.contains("whoever answers as"), "{refused:?}");
    }
    let refused = with(TlsMode::Off, true).facts().await.unwrap_err();
    assert!(refused.fault.code == "auth" && refused.fault.message.contains("the password itself"), "{refused:?}");
    let got = served.join().unwrap();
    let got = String::from_utf8_lossy(&got);
    assert!(got.contains("admin") && !got.contains("given to nobody"), "{got:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_in_the_way_is_not_tried_again_once_the_lease_is_over() {
    let bed = Bed::new();
    bed.mariadb.sql("CREATE DATABASE app; CREATE TABLE app.t (a int)");
    let server = bed.server();
    server.facts().await.unwrap();
    std::thread::scope(|scope| {
        let holds = "LOCK TABLES app.t READ; SELECT SLEEP(4)";
        let holder = scope.spawn(|| bed.mariadb.sql(holds));
        let listed = "SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE 'SELECT SLEEP%'";
        while bed.mariadb.sql(listed) == "0" {
            std::thread::sleep(Duration::from_millis(20));
        }
        let effect = execute(Verb::Alter, "table", &["app", "t"], vec![Part::Text("ADD COLUMN b int".into())]);
        let until = Until::at(u64::MAX);
        let lease = until.clone();
        let performed = tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(async {
                let ends = async {
                    tokio::time::sleep(Duration::from_millis(500)).await;
                    lease.set(0);
                };
                let groups = [group(1, vec![effect])];
                tokio::join!(server.perform("run", &groups, &NoBlobs, &until), ends).0
            })
        });
        assert!(matches!(performed[0].effects[..], [EffectEnd::Failed { .. }]), "{performed:?}");
        holder.join().unwrap();
    });
    assert_eq!(bed.mariadb.sql("SELECT COUNT(*) FROM information_schema.columns WHERE table_schema = 'app'"), "1");
}
