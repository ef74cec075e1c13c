//! Each kind on a real server, by the very functions that the component exports: made, equal
//! the second time, changed by hand and healed, removed. What the host adds is tested with it.

mod server;

use serde_json::{Value, json};
use tidelock_sdk::provider::Declared;
use tidelock_sdk::testkit::{Machine, declared};
use tidelock_sdk::{Error, Observation, Step};

use crate::Postgres;
use server::{psql, server};

fn machine() -> Machine {
    Machine::postgres(server())
}

fn resource(kind: &str, name: &str, spec: Value) -> Declared {
    declared(&format!("postgres.{kind}/{name}"), spec)
}

/// Makes it so, and says what was done.
#[track_caller]
fn converge(resources: &[Declared]) -> Vec<String> {
    let machine = machine();
    let done = machine.converge::<Postgres>(resources).unwrap_or_else(|error| panic!("{}", error.message));
    let left = machine.look::<Postgres>(resources).unwrap();
    for circle in left {
        assert!(matches!(circle.observed, Observation::Present(_)), "{} is not there", circle.declared.address);
        assert_eq!(circle.fields, [""; 0], "{} is not as wanted", circle.declared.address);
    }
    assert!(machine.converge::<Postgres>(resources).unwrap().is_empty(), "the second time there is nothing to do");
    done.iter().map(|proposal| proposal.body.line()).collect()
}

#[track_caller]
fn refused(resources: &[Declared]) -> Error {
    machine().converge::<Postgres>(resources).expect_err("it is refused")
}

#[track_caller]
fn remove(resource: &Declared) -> Vec<String> {
    let done = machine().delete::<Postgres>(resource).unwrap_or_else(|error| panic!("{}", error.message));
    done.iter().map(|proposal| proposal.body.line()).collect()
}

#[test]
fn roles_with_everything() {
    psql("postgres", "CREATE ROLE r_staff; CREATE ROLE r_admins");
    let spec = |name: &str| {
        json!({
            "name": name, "login": true, "createdb": true, "connection_limit": 5, "valid_until": "2030-01-31",
            "password": { "$secret": "app" }, "member_of": { "r_staff": {}, "r_admins": { "admin": true } },
            "settings": { "work_mem": "65536kB", "search_path": ["app", "Two Words"], "log_connections": null },
            "comment": "it's \\ ours",
        })
    };
    let odd = "R \"quoted\".Näme $1; DROP";
    for name in ["r_all", odd] {
        let done = converge(&[resource("role", "a", spec(name))]);
        assert_eq!(done.len(), 6, "{done:#?}");
        assert!(
            done[0].contains("CREATEDB CONNECTION LIMIT 5 VALID UNTIL '2030-01-31T00:00:00Z' PASSWORD 'secret:app'"),
            "{done:#?}"
        );
    }
    psql(
        "postgres",
        "ALTER ROLE r_all NOLOGIN SUPERUSER CONNECTION LIMIT 1; ALTER ROLE r_all SET work_mem = '1MB'; REVOKE r_staff FROM r_all",
    );
    let done = converge(&[resource("role", "a", spec("r_all"))]);
    assert_eq!(
        done,
        [
            "ALTER ROLE \"r_all\" LOGIN NOSUPERUSER CONNECTION LIMIT 5",
            "GRANT \"r_staff\" TO \"r_all\"",
            "ALTER ROLE \"r_all\" SET \"work_mem\" TO '64MB'"
        ]
    );
    let mut all = spec("r_all");
    all["owns"] = json!("all");
    psql("postgres", "CREATE ROLE r_extra; GRANT r_extra TO r_all; ALTER ROLE r_all SET geqo = off");
    assert!(converge(&[resource("role", "a", spec("r_all"))]).is_empty(), "what is not listed is left alone");
    let done = converge(&[resource("role", "a", all)]);
    assert_eq!(done, ["REVOKE \"r_extra\" FROM \"r_all\"", "ALTER ROLE \"r_all\" RESET \"geqo\""]);

    let mut renamed = spec("r_new");
    renamed["renamed_from"] = json!("r_all");
    let done = converge(&[resource("role", "a", renamed.clone())]);
    assert_eq!(done[0], "ALTER ROLE \"r_all\" RENAME TO \"r_new\"");
    assert!(!done.iter().any(|line| line.contains("CREATE ROLE")), "{done:#?}");
    assert_eq!(remove(&resource("role", "a", renamed)), ["DROP ROLE \"r_new\""]);
}

#[test]
fn a_role_that_owns_objects_is_not_dropped() {
    psql("postgres", "CREATE ROLE o_owner; CREATE ROLE o_heir; CREATE DATABASE o_db");
    psql(
        "o_db",
        "CREATE SCHEMA o_s AUTHORIZATION o_owner; CREATE TABLE o_s.t (i int); ALTER TABLE o_s.t OWNER TO o_owner",
    );
    psql("o_db", "CREATE TABLE read (i int); GRANT SELECT ON read TO o_owner");
    let role = |more: Value| {
        let mut spec = json!({ "name": "o_owner" });
        spec.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
        resource("role", "o", spec)
    };
    let error = machine().delete::<Postgres>(&role(json!({}))).unwrap_err();
    assert!(error.message.contains("in o_db: schema o_s, table o_s.t"), "{error}");
    assert!(error.message.contains("reassign_owned_to"), "{error}");
    let given = role(json!({ "reassign_owned_to": "o_heir", "drop_owned": true }));
    assert_eq!(
        remove(&given),
        ["REASSIGN OWNED BY \"o_owner\" TO \"o_heir\"", "DROP OWNED BY \"o_owner\"", "DROP ROLE \"o_owner\""]
    );
    assert_eq!(psql("o_db", "SELECT tableowner FROM pg_tables WHERE schemaname = 'o_s'"), "o_heir");
}

#[test]
fn databases_are_made_changed_and_renamed() {
    psql("postgres", "CREATE ROLE d_owner");
    let odd = "D \"b\".ä'x y";
    let spec = |name: &str| {
        json!({
            "name": name, "owner": "d_owner", "encoding": "utf-8", "locale": "C.utf8", "connection_limit": 7,
            "settings": { "statement_timeout": "90s" }, "comment": "ours",
        })
    };
    for name in ["d_one", odd] {
        let done = converge(&[resource("database", "d", spec(name))]);
        assert!(done[0].contains("LC_COLLATE 'C.UTF-8'") && done[0].contains("TEMPLATE \"template0\""), "{done:#?}");
        assert_eq!(done.len(), 3);
    }
    psql("postgres", "ALTER DATABASE d_one OWNER TO postgres; ALTER DATABASE d_one CONNECTION LIMIT 1");
    assert_eq!(converge(&[resource("database", "d", spec("d_one"))]).len(), 2);
    let mut other = spec("d_one");
    other["encoding"] = json!("LATIN1");
    assert!(refused(&[resource("database", "d", other)]).message.contains("cannot change"));
    let mut renamed = spec("d_two");
    renamed["renamed_from"] = json!("d_one");
    assert_eq!(
        converge(&[resource("database", "d", renamed.clone())]),
        ["ALTER DATABASE \"d_one\" RENAME TO \"d_two\""]
    );

    let mut shut = spec("d_two");
    shut["allow_connections"] = json!(false);
    converge(&[resource("database", "d", shut)]);
    let schema = resource("schema", "s", json!({ "database": "d_two", "name": "s" }));
    assert!(refused(&[schema]).message.contains("refuses connections"));
    assert_eq!(remove(&resource("database", "d", renamed)), ["DROP DATABASE \"d_two\""]);
}

#[test]
fn one_first_plan_makes_it_all() {
    let database = "f \"one\"/50%";
    let schema = "S.a les";
    let all = [
        resource("role", "owner", json!({ "name": "F owner" })),
        resource("role", "web", json!({ "name": "f_web", "login": true })),
        resource("database", "app", json!({ "name": database, "owner": "F owner" })),
        resource(
            "schema",
            "sales",
            json!({ "database": database, "name": schema, "owner": "F owner", "comment": "x" }),
        ),
        resource(
            "extension",
            "crypto",
            json!({ "database": database, "name": "pgcrypto", "schema": schema, "version": "latest" }),
        ),
        resource(
            "grant",
            "connect",
            json!({ "role": "f_web", "database": database, "on": "database", "privileges": ["CONNECT", "TEMP"] }),
        ),
        resource(
            "grant",
            "nobody",
            json!({ "role": "public", "database": database, "on": "database", "privileges": [], "owns": "all" }),
        ),
        resource(
            "grant",
            "usage",
            json!({ "role": "f_web", "database": database, "on": "schema", "schema": schema, "privileges": ["USAGE"] }),
        ),
        resource(
            "grant",
            "read",
            json!({ "role": "f_web", "database": database, "on": "table", "schema": schema, "all": true, "privileges": ["SELECT"] }),
        ),
        resource(
            "default-privileges",
            "later",
            json!({
                "database": database, "owner": "F owner", "schema": schema, "on": "tables", "role": "f_web", "privileges": ["SELECT"],
            }),
        ),
        resource(
            "default-privileges",
            "functions",
            json!({
                "database": database, "owner": "F owner", "on": "functions", "role": "public", "privileges": [], "owns": "all",
            }),
        ),
        resource(
            "setting",
            "path",
            json!({ "role": "f_web", "database": database, "name": "search_path", "value": [schema] }),
        ),
        resource("setting", "mem", json!({ "database": database, "name": "work_mem", "value": "0.0625GB" })),
    ];
    // Privileges of everybody on a database that is not there are those of the server: taken
    // back once it is.
    let done = machine().converge::<Postgres>(&all);
    if let Err(error) = done {
        assert!(error.message.contains("nobody"), "{error}");
    }
    converge(&all);
    psql(database, "CREATE TABLE \"S.a les\".orders (id int)");
    let done = converge(&all);
    assert_eq!(done, ["GRANT SELECT ON ALL TABLES IN SCHEMA \"S.a les\" TO \"f_web\""]);
    for resource in all.iter().rev().filter(|resource| !resource.address.ends_with("nobody")) {
        if resource.kind == "postgres.schema" {
            let error = machine().delete::<Postgres>(resource).unwrap_err();
            assert!(error.message.contains("holds orders;"), "{error}");
            psql(database, "DROP TABLE \"S.a les\".orders");
        }
        remove(resource);
    }
    assert_eq!(psql("postgres", "SELECT count(*) FROM pg_roles WHERE rolname IN ('F owner', 'f_web')"), "0");
}

#[test]
fn grants_on_named_things() {
    psql("postgres", "CREATE ROLE g_web; CREATE ROLE g_other; CREATE DATABASE g_db");
    psql(
        "g_db",
        "CREATE TABLE orders (id int, price int, \"a (b)\" int); CREATE VIEW v AS SELECT 1; CREATE SEQUENCE s; \
         CREATE FUNCTION add(a int, b varchar) RETURNS int LANGUAGE sql AS 'SELECT 1'; \
         CREATE PROCEDURE run(a int[]) LANGUAGE sql AS 'SELECT 1'; CREATE TYPE mood AS ENUM ('ok'); CREATE DOMAIN d AS int; \
         CREATE EXTENSION postgres_fdw; CREATE SERVER srv FOREIGN DATA WRAPPER postgres_fdw",
    );
    let grant = |on: &str, names: &[&str], privileges: Value| {
        let mut spec =
            json!({ "role": "g_web", "database": "g_db", "on": on, "names": names, "privileges": privileges });
        if !matches!(on, "language" | "foreign-server" | "foreign-data-wrapper") {
            spec["schema"] = json!("public");
        }
        spec
    };
    let columns = json!(["SELECT", { "UPDATE": ["price", "a (b)"] }]);
    let all = [
        resource("grant", "one", grant("table", &["orders"], columns.clone())),
        resource("grant", "seq", grant("sequence", &["s"], json!(["ALL"]))),
        resource("grant", "fn", grant("function", &["add(int, varchar)"], json!(["EXECUTE"]))),
        resource("grant", "proc", grant("procedure", &["run(int4[])"], json!(["execute"]))),
        resource("grant", "type", grant("type", &["mood", "d"], json!(["USAGE"]))),
        resource("grant", "lang", grant("language", &["plpgsql"], json!(["USAGE"]))),
        resource("grant", "server", grant("foreign-server", &["srv"], json!(["USAGE"]))),
        resource("grant", "fdw", grant("foreign-data-wrapper", &["postgres_fdw"], json!(["USAGE"]))),
    ];
    let done = converge(&all);
    assert!(
        done.contains(
            &"GRANT SELECT, UPDATE (\"a (b)\", \"price\") ON TABLE \"public\".\"orders\" TO \"g_web\"".to_owned()
        ),
        "{done:#?}"
    );
    psql("g_db", "REVOKE SELECT ON orders FROM g_web; GRANT DELETE ON orders TO g_web");
    let done = converge(&all);
    // Taking a privilege from the table takes it from its columns as well, but not another one.
    assert_eq!(done, ["GRANT SELECT ON TABLE \"public\".\"orders\" TO \"g_web\""], "DELETE is another's");
    let mut owns = grant("table", &["orders"], columns);
    owns["owns"] = json!("all");
    assert_eq!(
        converge(&[resource("grant", "one", owns)]),
        ["REVOKE DELETE ON TABLE \"public\".\"orders\" FROM \"g_web\""]
    );

    let mut option = grant("table", &["v", "orders"], json!(["SELECT"]));
    option["grant_option"] = json!(true);
    option["role"] = json!("g_other");
    let many = resource("grant", "many", option);
    assert_eq!(converge(std::slice::from_ref(&many)).len(), 2);
    assert_eq!(remove(&many).len(), 2);
    assert_eq!(psql("g_db", "SELECT has_table_privilege('g_other', 'v', 'SELECT')"), "f");

    let missing = resource("grant", "no", grant("table", &["nowhere"], json!(["SELECT"])));
    assert!(refused(&[missing]).message.contains("there is no table nowhere"));
    for resource in &all {
        remove(resource);
    }
    // What everybody may do with functions and types from the start is seen and can go.
    let mut public = grant("function", &["add(int, varchar)"], json!([]));
    public["role"] = json!("public");
    public["owns"] = json!("all");
    let done = converge(&[resource("grant", "pub", public)]);
    assert_eq!(done, ["REVOKE EXECUTE ON FUNCTION \"public\".\"add\"(integer, character varying) FROM PUBLIC"]);
}

#[test]
fn extensions_have_versions_and_schemas() {
    psql("postgres", "CREATE DATABASE e_db");
    psql("e_db", "CREATE SCHEMA ext; CREATE SCHEMA other");
    let extension = |name: &str, more: Value| {
        let mut spec = json!({ "database": "e_db", "name": name });
        spec.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
        resource("extension", "e", spec)
    };
    let old = extension("pg_trgm", json!({ "schema": "ext", "version": "1.3" }));
    converge(std::slice::from_ref(&old));
    let new = extension("pg_trgm", json!({ "schema": "other", "version": "latest" }));
    let done = converge(std::slice::from_ref(&new));
    assert_eq!(done.len(), 2, "{done:#?}");
    let back = refused(&[extension("pg_trgm", json!({ "version": "1.3" }))]);
    assert!(back.message.contains("cannot be updated from"), "{back}");
    assert!(refused(&[extension("nowhere", json!({}))]).message.contains("install the package"));
    assert_eq!(remove(&new), ["DROP EXTENSION \"pg_trgm\""]);
    let plain = extension("hstore", json!({}));
    assert_eq!(converge(&[plain]), ["CREATE EXTENSION \"hstore\" SCHEMA \"public\""]);
}

#[test]
fn settings_of_the_server() {
    let setting = |name: &str, value: Value| resource("setting", "s", json!({ "name": name, "value": value }));
    let log = setting("log_min_duration_statement", json!("1500ms"));
    let machine = machine();
    let done = machine.take_steps::<Postgres>(change(&machine, &log)).unwrap();
    let lines: Vec<String> = done.iter().map(|proposal| proposal.body.line()).collect();
    assert_eq!(lines, ["ALTER SYSTEM SET \"log_min_duration_statement\" TO '1500ms'", "SELECT pg_reload_conf()"]);
    assert!(machine.look::<Postgres>(std::slice::from_ref(&log)).unwrap()[0].fields.is_empty());
    // What waits for a restart is there: it is written.
    let buffers = setting("shared_buffers", json!("65536kB"));
    converge(std::slice::from_ref(&buffers));
    remove(&log);
    remove(&buffers);
    let looked = machine.look::<Postgres>(&[log, buffers]).unwrap();
    assert!(looked.iter().all(|circle| matches!(circle.observed, Observation::Absent(_))));
    let wrong = machine.look::<Postgres>(&[setting("work_men", json!(1))]).unwrap_err();
    assert!(wrong.message.contains("did you mean work_mem?"), "{wrong}");
}

/// The change that would make a resource, and no look afterwards.
fn change(machine: &Machine, resource: &Declared) -> Vec<tidelock_sdk::provider::AnyChange> {
    let circle = machine.look::<Postgres>(std::slice::from_ref(resource)).unwrap().remove(0);
    vec![tidelock_sdk::provider::AnyChange {
        id: 1,
        address: circle.declared.address,
        identity: circle.checked.identity,
        kind: circle.declared.kind,
        action: tidelock_sdk::Action::Create,
        desired: Some(circle.desired.to_string()),
        observed: None,
        last: None,
        handle: None,
        fields: circle.fields,
        seen: Vec::new(),
        trigger: None,
        part: false,
    }]
}

#[test]
fn names_that_cannot_be_are_refused_before_anything_is_asked() {
    let check = |kind: &str, spec: Value| {
        let checked = tidelock_sdk::provider::check::<Postgres>(&[resource(kind, "x", spec)]).remove(0);
        checked.diagnostics.into_iter().map(|remark| remark.message).collect::<Vec<_>>().join("\n")
    };
    assert!(check("role", json!({ "name": "x".repeat(64) })).contains("64 bytes"));
    assert!(check("role", json!({ "name": "x".repeat(63) })).is_empty());
    assert!(check("role", json!({ "name": "pg_x" })).contains("belong to the server"));
    assert!(check("role", json!({ "name": "a", "member_of": ["a"] })).contains("member of itself"));
    assert!(check("role", json!({ "name": "a", "connection_limit": -5 })).contains("-1 for any number"));
    assert!(check("database", json!({ "name": "a", "connection_limit": -2 })).contains("-1 for any number"));
    assert!(check("database", json!({ "name": "a", "connection_limit": -1, "encoding": "utf-8" })).is_empty());
    assert!(check("database", json!({ "name": "a", "encoding": "UTF9" })).contains("no encoding UTF9"));
    assert!(check("setting", json!({ "name": "role", "value": "a" })).contains("the server has none"));
    let grant = json!({ "role": "a", "database": "d", "on": "table", "privileges": ["SELECT"] });
    let remarks = check("grant", grant);
    assert!(remarks.contains("is in a schema") && remarks.contains("in `names`"), "{remarks}");
    assert!(
        check("grant", json!({ "role": "a", "database": "d", "on": "database", "privileges": [] }))
            .contains("does nothing")
    );
    let _ = Step::Proposed;
}

#[test]
fn one_setting_in_two_resources_is_refused_with_both() {
    let setting = |name: &str, spec: Value| resource("setting", name, spec);
    let all = [
        resource("role", "web", json!({ "name": "web", "settings": { "Work_Mem": "8MB", "geqo": null } })),
        resource("database", "app", json!({ "name": "app", "settings": { "geqo": false } })),
        setting("mem", json!({ "role": "web", "name": "work_mem", "value": "9MB" })),
        setting("geqo", json!({ "database": "app", "name": "GEQO", "value": "on" })),
        setting("in-app", json!({ "role": "web", "database": "app", "name": "work_mem", "value": "9MB" })),
        setting("other", json!({ "role": "other", "name": "work_mem", "value": "9MB" })),
        setting("server", json!({ "name": "geqo", "value": "on" })),
    ];
    let checked = tidelock_sdk::provider::check::<Postgres>(&all);
    let said =
        |at: usize| checked[at].diagnostics.iter().map(|remark| remark.message.as_str()).collect::<Vec<_>>().join("\n");
    assert!(said(2).contains("work_mem of web") && said(2).contains("postgres.role/web"), "{}", said(2));
    assert!(said(2).contains("postgres.setting/mem"), "{}", said(2));
    assert!(said(3).contains("postgres.database/app"), "{}", said(3));
    for fine in [0, 1, 4, 5, 6] {
        assert_eq!(said(fine), "", "{}", all[fine].address);
    }
}

#[test]
fn a_role_that_owns_all_settings_leaves_those_that_are_resources() {
    psql("postgres", "CREATE ROLE s_web; ALTER ROLE s_web SET geqo = off; ALTER ROLE s_web SET jit = off");
    let role = resource("role", "r", json!({ "name": "s_web", "settings": { "work_mem": "8MB" }, "owns": "all" }));
    let setting = resource("setting", "s", json!({ "role": "s_web", "name": "geqo", "value": false }));
    let done = converge(&[role.clone(), setting.clone()]);
    assert_eq!(done, ["ALTER ROLE \"s_web\" RESET \"jit\"", "ALTER ROLE \"s_web\" SET \"work_mem\" TO '8MB'"]);
    assert_eq!(converge(&[role]), ["ALTER ROLE \"s_web\" RESET \"geqo\""]);
}

#[test]
fn what_rests_on_nothing_waits_and_says_what_is_missing() {
    psql("postgres", "CREATE ROLE m_reader; CREATE DATABASE m_db");
    psql("m_db", "CREATE SCHEMA m_sales");
    let grant = |more: Value| {
        let mut spec = json!({ "role": "m_reader", "database": "m_db", "on": "table", "schema": "m_sales", "all": true,
            "privileges": ["SELECT"] });
        spec.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
        resource("grant", "g", spec)
    };
    converge(&[grant(json!({}))]);
    let nothing = json!({ "role": "m_raeder", "privileges": [], "owns": "all" });
    for (resource, says) in [
        (
            grant(json!({ "role": "m_raeder" })),
            "there is no role m_raeder, and nothing in this plan makes it; did you mean m_reader?",
        ),
        (grant(nothing), "did you mean m_reader?"),
        (
            grant(json!({ "schema": "m_slaes" })),
            "there is no schema m_slaes in m_db, and nothing in this plan makes it; did you mean m_sales?",
        ),
        (grant(json!({ "database": "m_bd" })), "there is no database m_bd"),
        (resource("role", "r", json!({ "name": "m_new", "member_of": ["m_nobody"] })), "there is no role m_nobody"),
        (resource("database", "d", json!({ "name": "m_other", "owner": "m_nobody" })), "there is no role m_nobody"),
        (resource("schema", "s", json!({ "database": "m_nowhere", "name": "s" })), "there is no database m_nowhere"),
        (
            resource("setting", "s", json!({ "role": "m_nobody", "name": "geqo", "value": "on" })),
            "there is no role m_nobody",
        ),
    ] {
        let error = refused(&[resource]);
        assert!(error.code == "waits" && error.message.contains(says), "{error}");
    }
    // What the same plan makes is no reason to wait.
    converge(&[
        resource("role", "late", json!({ "name": "m_late" })),
        resource("schema", "new", json!({ "database": "m_db", "name": "m_new" })),
        grant(json!({ "role": "m_late", "schema": "m_new" })),
    ]);
}
