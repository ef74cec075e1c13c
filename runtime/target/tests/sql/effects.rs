//! Performing on a real server: transactions, preconditions, who is in the way, and grants.

use tidelock_model::config::{Given, Kept, ServerDecl};
use tidelock_model::effect::{Effect, EffectBody};
use tidelock_model::port::{Target as _, Until};
use tidelock_model::run::EffectEnd;
use tidelock_model::sql::{Act, Grant, Granted, Grantee, Part, Privilege, Statement, Verb};

use crate::support::{Bed, NoBlobs, effect, execute, fault, grant, group, look, object, perform, private};

fn create_role(name: &str) -> Effect {
    execute(Verb::Create, "role", &[name], None, "LOGIN")
}

fn granting(database: &str, privilege: &str, class: &str, name: &[&str], role: &str) -> Effect {
    let privileges = vec![Privilege { name: privilege.into(), columns: vec![] }];
    let granted = Granted::Privileges(privileges, object(class, name));
    let grant = Grant {
        revoke: false,
        granted,
        grantee: Grantee::Role(role.into()),
        with_option: false,
        options: vec![],
        granted_by: None,
        cascade: false,
    };
    effect(Some(database), Act::Grant(grant))
}

#[tokio::test]
async fn a_group_is_one_transaction_and_its_culprit_is_named() {
    let bed = Bed::new();
    let server = bed.server();
    bed.postgres.psql("postgres", "CREATE DATABASE app");
    let weird = "we\"ird Ünï.code;--";
    let good = vec![
        create_role(weird),
        execute(Verb::Create, "schema", &["s p"], Some("app"), ""),
        granting("app", "usage", "schema", &["s p"], weird),
    ];
    assert_eq!(perform(&server, good).await, vec![EffectEnd::Done; 3]);
    let usage = format!("SELECT has_schema_privilege('{weird}', 's p', 'USAGE')");
    assert_eq!(bed.postgres.psql("app", &usage), "t");

    let before = bed.postgres.dump();
    let bad = vec![create_role("half"), granting("app", "usage", "schema", &["nowhere"], "half"), create_role("after")];
    let ends = perform(&server, bad).await;
    assert!(fault(&ends[1]).message.contains("nowhere"), "{ends:?}");
    assert_eq!((&ends[0], &ends[2]), (&EffectEnd::NotReached, &EffectEnd::NotReached));
    assert_eq!(bed.postgres.dump(), before, "nothing of it happened");
}

#[tokio::test]
async fn what_takes_no_transaction_is_done_alone_and_in_order() {
    let bed = Bed::new();
    let server = bed.server();
    let effects = vec![
        create_role("owner"),
        execute(Verb::Create, "database", &["App DB"], None, "ENCODING DEFAULT"),
        execute(Verb::Create, "schema", &["inner"], Some("App DB"), ""),
        granting("App DB", "connect", "database", &["App DB"], "owner"),
    ];
    assert_eq!(perform(&server, effects).await, vec![EffectEnd::Done; 4]);
    assert_eq!(bed.postgres.psql("App DB", "SELECT nspname FROM pg_namespace WHERE nspname = 'inner'"), "inner");
    let dropped = vec![execute(Verb::Drop, "database", &["App DB"], None, "WITH (FORCE)")];
    assert_eq!(perform(&server, dropped).await, [EffectEnd::Done]);
}

#[tokio::test]
async fn what_changed_since_the_look_is_not_touched() {
    let bed = Bed::new();
    let server = bed.server();
    bed.postgres.psql("postgres", "CREATE ROLE app; CREATE ROLE bystander");
    let roles = "SELECT rolname, rolcreatedb, rolcanlogin FROM pg_roles";
    let rests_on = |precondition| Effect {
        precondition: Some(precondition),
        ..execute(Verb::Alter, "role", &["app"], None, "CREATEDB")
    };
    let seen = rests_on(look(&server, None, roles, &["app"]).await);
    let stale = rests_on(look(&server, None, roles, &["app"]).await);
    bed.postgres.psql("postgres", "ALTER ROLE bystander LOGIN");
    assert_eq!(perform(&server, vec![seen]).await, [EffectEnd::Done], "others may change");
    let ends = perform(&server, vec![stale]).await;
    assert_eq!(fault(&ends[0]).code, "changed");
    // Absence is a look too.
    let absent = look(&server, None, roles, &["new"]).await;
    bed.postgres.psql("postgres", "CREATE ROLE new");
    let ends = perform(&server, vec![Effect { precondition: Some(absent), ..create_role("new") }]).await;
    assert_eq!(fault(&ends[0]).code, "changed");
    // A look cannot bring in what a query may not do.
    let tidelock_model::effect::Precondition::Rows { mut looks } = look(&server, None, roles, &["new"]).await else {
        panic!()
    };
    looks[0].query = "SELECT pg_reload_conf()".into();
    let forged = Some(tidelock_model::effect::Precondition::Rows { looks });
    let ends = perform(&server, vec![Effect { precondition: forged, ..create_role("other") }]).await;
    assert_eq!(fault(&ends[0]).code, "denied");
}

#[tokio::test]
async fn grants_count_again_when_it_is_performed() {
    let bed = Bed::new();
    let server = bed.server_with(bed.decl(), grant(&["role:app*", "schema:app/**"], &["app"]));
    for (effect, what) in [
        (create_role("other"), "role:other"),
        (execute(Verb::Create, "schema", &["s"], Some("postgres"), ""), "the database postgres"),
        (granting("app", "usage", "schema", &["public"], "app"), "grant:app/app/schema/public"),
    ] {
        let ends = perform(&server, vec![effect]).await;
        let fault = fault(&ends[0]);
        assert!(fault.code == "denied" && fault.message.contains(what), "{fault}");
    }
    assert_eq!(perform(&server, vec![create_role("app_1")]).await, [EffectEnd::Done]);
}

#[tokio::test]
async fn under_a_lease_that_is_over_nothing_is_begun() {
    let bed = Bed::new();
    let server = bed.server();
    let groups = [group(1, vec![create_role("late")])];
    let ends = server.perform("run", &groups, &NoBlobs, &Until::at(0)).await.remove(0).effects;
    assert_eq!(ends, [EffectEnd::NotReached]);
    assert_eq!(bed.postgres.psql("postgres", "SELECT count(*) FROM pg_roles WHERE rolname = 'late'"), "0");
}

/// Rounds of four writers; `TIDELOCK_SOAK_WRITERS` says another number.
const ROUNDS: usize = 10;

#[tokio::test]
async fn several_writers_take_turns() {
    let rounds = std::env::var("TIDELOCK_SOAK_WRITERS").ok().and_then(|text| text.parse().ok()).unwrap_or(ROUNDS);
    let bed = Bed::new();
    bed.postgres.psql("postgres", "CREATE ROLE r; CREATE TABLE public.t (a int)");
    // Four targets of one server, as four installations of Tidelock would have.
    let servers: Vec<_> = (0..4).map(|_| bed.server()).collect();
    for round in 0..rounds {
        let work = servers.iter().enumerate().map(|(i, server)| {
            let privilege = ["SELECT", "INSERT", "UPDATE", "DELETE"][i];
            let effects = vec![
                granting("postgres", privilege, "table", &["public", "t"], "r"),
                create_role(&format!("w{i}_{round}")),
                granting("postgres", "USAGE", "schema", &["public"], "r"),
            ];
            async move {
                server.perform("run", &[group(1, effects)], &NoBlobs, &Until::at(u64::MAX)).await.remove(0).effects
            }
        });
        for ends in futures::future::join_all(work).await {
            assert_eq!(ends, vec![EffectEnd::Done; 3]);
        }
        let granted = bed.postgres.psql("postgres", "SELECT relacl FROM pg_class WHERE relname = 't'");
        assert!(granted.contains("r=arwd/postgres"), "{granted}");
        bed.postgres.psql("postgres", "REVOKE ALL ON public.t FROM r");
    }
}

#[tokio::test]
async fn a_lock_on_an_object_is_not_waited_for_long() {
    let bed = Bed::new();
    bed.postgres.psql("postgres", "CREATE ROLE r; CREATE TABLE public.t (a int)");
    let server = bed.server();
    let mut holder = std::process::Command::new("psql")
        .args(["-X", "-U", "postgres", "-d", "postgres", "-c"])
        .arg("BEGIN; LOCK TABLE public.t IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(1)")
        .arg("-p")
        .arg(bed.postgres.port().to_string())
        .arg("-h")
        .arg(bed.postgres.socket())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    while bed.postgres.psql("postgres", "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted AND relation = 'public.t'::regclass") == "0" {}
    let owner = execute(Verb::Alter, "table", &["public", "t"], Some("postgres"), "OWNER TO");
    let mut owner = owner;
    if let tidelock_model::effect::EffectBody::Sql(statement) = &mut owner.body
        && let Act::Execute(statement) = &mut statement.act
    {
        statement.parts.push(tidelock_model::sql::Part::Identifier(vec!["r".into()]));
    }
    // The first tries time out; one of the later ones finds the table free.
    assert_eq!(perform(&server, vec![owner]).await, [EffectEnd::Done]);
    holder.wait().unwrap();
}

#[tokio::test]
async fn a_server_that_dies_leaves_nothing_half_done() {
    let mut bed = Bed::new();
    bed.postgres.psql("postgres", "CREATE TABLE public.t (a int)");
    let server = bed.server();
    let mut effects: Vec<Effect> = (0..2_000).map(|i| create_role(&format!("r{i}"))).collect();
    effects.push(granting("postgres", "SELECT", "table", &["public", "t"], "r0"));
    let work = tokio::spawn({
        let server = server.clone();
        async move { server.perform("run", &[group(1, effects)], &NoBlobs, &Until::at(u64::MAX)).await.remove(0).effects }
    });
    while !bed.postgres.log().contains("CREATE ROLE \"r100\"") {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    bed.postgres.kill();
    let ends = work.await.unwrap();
    assert!(ends.iter().all(|end| !matches!(end, EffectEnd::Done)), "{:?}", ends[0]);
    bed.postgres.restart();
    assert_eq!(bed.postgres.psql("postgres", "SELECT count(*) FROM pg_roles WHERE rolname LIKE 'r%'"), "0");
    assert_eq!(perform(&server, vec![create_role("r0")]).await, [EffectEnd::Done], "and goes on with it");
}

fn joining(role: &str, of: &str) -> Effect {
    let grant = Grant {
        revoke: false,
        granted: Granted::Membership(of.into()),
        grantee: Grantee::Role(role.into()),
        with_option: false,
        options: vec![],
        granted_by: None,
        cascade: false,
    };
    effect(None, Act::Grant(grant))
}

#[tokio::test]
async fn nobody_comes_to_act_as_a_role_beyond_the_grant() {
    let bed = Bed::new();
    bed.postgres.psql("postgres", "CREATE ROLE boss SUPERUSER; CREATE ROLE runs; CREATE ROLE deep; CREATE ROLE fine");
    bed.postgres.psql("postgres", "GRANT pg_execute_server_program TO runs; GRANT runs TO deep");
    bed.postgres.psql("postgres", "CREATE ROLE web; CREATE ROLE secret; CREATE ROLE nested; GRANT secret TO nested");
    let server = bed.server_with(bed.decl(), grant(&["role:[!s]*", "membership:*/*"], &["*"]));
    let alter = |role: &str, words: &str| execute(Verb::Alter, "role", &[role], None, words);
    let renamed = |role: &str, to: &str| effect(None, Act::Rename { object: object("role", &[role]), to: to.into() });
    let heir = || {
        let parts = vec![Part::Text("TO".into()), Part::Identifier(vec!["boss".into()])];
        effect(None, Act::Execute(Statement { verb: Verb::Reassign, object: object("owned", &["web"]), parts }))
    };
    let before = bed.postgres.dump();
    for (effects, at, says) in [
        (vec![joining("web", "boss")], 0, "superuser"),
        (vec![joining("web", "deep")], 0, "pg_execute_server_program"),
        (vec![joining("web", "nested")], 0, "a member of secret"),
        (vec![alter("boss", "LOGIN")], 0, "superuser"),
        (vec![alter("nested", "LOGIN")], 0, "a member of secret"),
        // Another name is the same role.
        (vec![renamed("boss", "chief"), alter("chief", "LOGIN")], 1, "superuser"),
        (vec![alter("boss", "LOGIN"), renamed("boss", "chief")], 0, "superuser"),
        (vec![create_role("new"), joining("new", "runs")], 0, "pg_execute_server_program"),
        (vec![heir()], 0, "superuser"),
    ] {
        let ends = perform(&server, effects).await;
        let fault = fault(&ends[at]);
        assert!(fault.code == "denied" && fault.message.contains(says), "{says}: {ends:?}");
        assert_eq!(bed.postgres.dump(), before, "{says}");
    }
    // What is taken in the same transaction is not lent.
    for effects in [vec![joining("web", "fine")], vec![alter("boss", "NOSUPERUSER LOGIN")]] {
        let ends = perform(&server, effects).await;
        assert!(ends.iter().all(|end| *end == EffectEnd::Done), "{ends:?}");
    }
}

#[tokio::test]
async fn settings_of_the_role_that_performs_stop_nothing() {
    let bed = Bed::new();
    bed.postgres.psql("postgres", "CREATE ROLE weak; CREATE ROLE boss SUPERUSER LOGIN PASSWORD 'the boss''s'");
    bed.postgres.psql("postgres", "ALTER ROLE boss SET role TO weak; ALTER ROLE boss SET search_path TO public");
    bed.postgres.psql("postgres", "ALTER ROLE boss SET default_transaction_read_only TO on");
    private(&bed.folder.path().join("boss"), "the boss's");
    let decl = ServerDecl {
        user: Some(Given::Literal("boss".into())),
        password: Some(Kept::File("boss".into())),
        ..bed.decl()
    };
    let server = bed.server_with(decl, grant(&["**"], &["*"]));
    assert_eq!(server.facts().await.unwrap().acts_as, "boss");
    for _ in 0..2 {
        let effects = vec![
            create_role("owner"),
            execute(Verb::Create, "database", &["app"], None, ""),
            execute(Verb::Create, "schema", &["inner"], Some("app"), ""),
        ];
        assert_eq!(perform(&server, effects).await, vec![EffectEnd::Done; 3]);
        bed.postgres.psql("postgres", "DROP ROLE owner");
        let gone = vec![execute(Verb::Drop, "database", &["app"], None, "")];
        assert_eq!(perform(&server, gone).await, [EffectEnd::Done]);
    }
}

#[tokio::test]
async fn our_own_sessions_are_in_the_way_of_no_rename_and_no_copy() {
    let bed = Bed::new();
    bed.postgres.psql("postgres", "CREATE DATABASE app");
    let server = bed.server();
    let mut copy = execute(Verb::Create, "database", &["copy"], None, "");
    let EffectBody::Sql(statement) = &mut copy.body else { panic!("no statement") };
    let Act::Execute(create) = &mut statement.act else { panic!("not executed") };
    create.parts = vec![Part::Text("TEMPLATE".into()), Part::Identifier(vec!["app".into()])];
    copy.precondition = Some(look(&server, Some("app"), "SELECT nspname FROM pg_namespace", &[]).await);
    let renamed = effect(None, Act::Rename { object: object("database", &["app"]), to: "shop".into() });
    let since = std::time::Instant::now();
    assert_eq!(perform(&server, vec![copy, renamed]).await, vec![EffectEnd::Done; 2]);
    assert!(since.elapsed() < std::time::Duration::from_secs(4), "{:?}", since.elapsed());
}
