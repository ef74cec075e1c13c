use super::*;
use crate::sql::SqlEffect;

fn names(parts: &[&str]) -> Vec<String> {
    parts.iter().map(ToString::to_string).collect()
}

fn object(class: &str, name: &[&str]) -> Object {
    Object { class: class.into(), name: names(name) }
}

fn effect(dialect: Dialect, database: Option<&str>, act: Act) -> SqlEffect {
    SqlEffect { dialect, database: database.map(ToOwned::to_owned), act, unread: false }
}

fn execute(verb: Verb, object: Object, parts: Vec<Part>) -> SqlEffect {
    let database = (!object.global()).then_some("app");
    effect(Dialect::Postgres, database, Act::Execute(Statement { verb, object, parts }))
}

fn text(text: &str) -> Part {
    Part::Text(text.into())
}

fn touches(effect: &SqlEffect) -> Vec<String> {
    effect.touches().iter().map(ToString::to_string).collect()
}

#[test]
fn statements_are_quoted_and_their_secrets_are_named() {
    let name = "we\"ird; DROP";
    let role = execute(
        Verb::Create,
        object("role", &[name]),
        vec![
            text("LOGIN CONNECTION LIMIT"),
            Part::Integer(5),
            text("VALID UNTIL"),
            Part::Literal("it's \\ infinity".into()),
            text("PASSWORD"),
            Part::Secret { name: "app-db".into(), form: SecretForm::Verifier },
        ],
    );
    let shown = r#"CREATE ROLE "we""ird; DROP" LOGIN CONNECTION LIMIT 5 VALID UNTIL E'it''s \\ infinity' PASSWORD <secret app-db>"#;
    assert_eq!(role.shown(), shown);
    assert_eq!(touches(&role), ["role:we\"ird; DROP"]);
    assert_eq!(role.secrets().collect::<Vec<_>>(), ["app-db"]);
    assert!(!role.destructive() && !role.alone());
}

#[test]
fn words_cannot_make_another_statement_of_it() {
    for bad in [
        "IN ROLE postgres",
        "ADMIN postgres",
        "; DROP ROLE x",
        "LOGIN -- x",
        "LOGIN /* x */",
        "SET search_path = x",
        "RENAME TO x",
        "\"x\"",
    ] {
        let effect = execute(Verb::Alter, object("role", &["app"]), vec![text(bad)]);
        assert!(effect.pieces().is_err(), "{bad}: {}", effect.shown());
    }
    for (class, name) in [("schema", &["s"][..]), ("database", &["d"]), ("extension", &["e"])] {
        let create = execute(Verb::Create, object(class, name), vec![text("CREATE TABLE t AS SELECT pg_sleep(1)")]);
        assert!(create.pieces().is_err(), "{class}");
    }
    let plain = Part::Secret { name: "x".into(), form: SecretForm::Plain };
    let plain = execute(Verb::Alter, object("role", &["app"]), vec![text("PASSWORD"), plain]);
    assert!(plain.pieces().unwrap_err().contains("verifier"));
}

#[test]
fn grants_are_written_whole_and_touch_what_they_name() {
    let select = |columns: &[&str]| Privilege { name: "select".into(), columns: names(columns) };
    let grant = |granted, grantee| Grant {
        revoke: false,
        granted,
        grantee,
        with_option: true,
        options: vec![],
        granted_by: None,
        cascade: false,
    };
    let web = || Grantee::Role("web".into());
    let table = || object("table", &["public", "or.ders"]);
    let cases = [
        (
            grant(Granted::Privileges(vec![select(&["id", "No"])], table()), web()),
            r#"GRANT SELECT ("id", "No") ON TABLE "public"."or.ders" TO "web" WITH GRANT OPTION"#,
            "grant:web/app/table/public/or.ders",
        ),
        (
            Grant { revoke: true, ..grant(Granted::Privileges(vec![select(&[])], table()), Grantee::Public) },
            r#"REVOKE GRANT OPTION FOR SELECT ON TABLE "public"."or.ders" FROM PUBLIC"#,
            "grant:public/app/table/public/or.ders",
        ),
        (
            Grant {
                with_option: false,
                ..grant(Granted::AllInSchema(vec![select(&[])], object("table", &["public"])), web())
            },
            r#"GRANT SELECT ON ALL TABLES IN SCHEMA "public" TO "web""#,
            "grant:web/app/table/public",
        ),
        (
            Grant { options: vec![("INHERIT".into(), false)], ..grant(Granted::Membership("staff".into()), web()) },
            r#"GRANT "staff" TO "web" WITH ADMIN TRUE, INHERIT FALSE"#,
            "membership:web/staff",
        ),
        (
            Grant {
                with_option: false,
                ..grant(
                    Granted::Defaults(Defaults {
                        owner: "own/er".into(),
                        schema: Some("public".into()),
                        class: "table".into(),
                        privileges: vec![select(&[])],
                    }),
                    web(),
                )
            },
            r#"ALTER DEFAULT PRIVILEGES FOR ROLE "own/er" IN SCHEMA "public" GRANT SELECT ON TABLES TO "web""#,
            "default-privileges:own%2Fer/app/public/table/web",
        ),
    ];
    for (grant, shown, identity) in cases {
        let effect = effect(Dialect::Postgres, Some("app"), Act::Grant(grant));
        assert_eq!(effect.shown(), shown);
        assert_eq!(touches(&effect)[0], identity);
    }
    let member = effect(Dialect::Postgres, None, Act::Grant(grant(Granted::Membership("staff".into()), web())));
    assert_eq!(touches(&member), ["membership:web/staff", "role:web"]);
}

#[test]
fn what_destroys_is_told_from_the_statement() {
    let table = || object("table", &["public", "t"]);
    for (effect, destructive) in [
        (execute(Verb::Drop, object("role", &["app"]), vec![]), true),
        (execute(Verb::Drop, object("owned", &["app"]), vec![]), true),
        (execute(Verb::Drop, object("schema", &["s"]), vec![text("CASCADE")]), true),
        (execute(Verb::Alter, table(), vec![text("drop column"), Part::Identifier(names(&["a"]))]), true),
        (execute(Verb::Alter, table(), vec![text("OWNER TO"), Part::Identifier(names(&["a"]))]), false),
        (execute(Verb::Reassign, object("owned", &["app"]), vec![text("TO"), Part::Identifier(names(&["x"]))]), false),
        (SqlEffect { unread: true, ..execute(Verb::Create, table(), vec![text("(id int)")]) }, true),
        (execute(Verb::Create, table(), vec![text("(of int REFERENCES o on delete cascade)")]), false),
        (execute(Verb::Alter, table(), vec![text("ADD of int REFERENCES o ON DELETE CASCADE, DROP COLUMN x")]), true),
        (execute(Verb::Alter, table(), vec![text("DROP CONSTRAINT x CASCADE")]), true),
        (execute(Verb::Alter, table(), vec![text("CASCADE")]), true),
    ] {
        assert_eq!(effect.destructive(), destructive, "{}", effect.shown());
    }
    assert_eq!(touches(&execute(Verb::Drop, object("owned", &["app"]), vec![])), ["role:app"]);
    assert!(execute(Verb::Create, object("database", &["x"]), vec![]).alone());
}

#[test]
fn settings_are_of_servers_databases_and_roles() {
    let set = |class: &str, name: &[&str], in_database: Option<&str>, value: Option<&[&str]>| {
        let setting = Setting {
            object: object(class, name),
            in_database: in_database.map(ToOwned::to_owned),
            name: "search_path".into(),
            value: value.map(names),
        };
        effect(Dialect::Postgres, None, Act::Set(setting))
    };
    let role = set("role", &["app"], Some("db"), Some(&["a", "b"]));
    assert_eq!(role.shown(), r#"ALTER ROLE "app" IN DATABASE "db" SET "search_path" TO 'a', 'b'"#);
    assert_eq!(touches(&role), ["setting:role/app/db/search_path", "role:app"]);
    let system = set("system", &[], None, None);
    assert_eq!(system.shown(), r#"ALTER SYSTEM RESET "search_path""#);
    assert_eq!(touches(&system), ["setting:server/search_path"]);
    assert!(system.alone());
    assert!(set("table", &["t"], None, None).pieces().is_err());
}

#[test]
fn accounts_have_hosts_and_names_of_databases_are_no_patterns() {
    let user = |verb, parts| {
        let object = object("user", &["app", "%"]);
        effect(Dialect::MariaDb, None, Act::Execute(Statement { verb, object, parts }))
    };
    assert_eq!(user(Verb::Create, vec![text("REQUIRE SSL")]).shown(), "CREATE USER `app`@`%` REQUIRE SSL");
    assert_eq!(touches(&user(Verb::Drop, vec![])), ["user:app@%25"]);
    let role = user(Verb::Alter, vec![text("DEFAULT ROLE"), Part::Identifier(names(&["r"]))]);
    assert_eq!(role.shown(), "SET DEFAULT ROLE `r` FOR `app`@`%`");
    let grant = Grant {
        revoke: false,
        granted: Granted::Privileges(
            vec![Privilege { name: "SELECT".into(), columns: vec![] }],
            object("table", &["*"]),
        ),
        grantee: Grantee::User("app".into(), "%".into()),
        with_option: false,
        options: vec![],
        granted_by: None,
        cascade: false,
    };
    let grant = effect(Dialect::MariaDb, Some("my_app"), Act::Grant(grant));
    assert_eq!(grant.shown(), r"GRANT SELECT ON `my\_app`.* TO `app`@`%`");
    assert_eq!(touches(&grant), ["grant:app@%25/my_app/table/*"]);
}

#[test]
fn a_rename_changes_the_name_and_not_what_stands_behind_it() {
    let rename = |dialect, database: Option<&str>, class: &str, name: &[&str]| {
        effect(dialect, database, Act::Rename { object: object(class, name), to: "new".into() })
    };
    let user = rename(Dialect::MariaDb, None, "user", &["app", "%"]);
    assert_eq!(user.shown(), "RENAME USER `app`@`%` TO `new`@`%`");
    assert_eq!(touches(&user), ["user:new@%25", "user:app@%25"]);
    let table = rename(Dialect::MariaDb, Some("app"), "table", &["old"]);
    assert_eq!(table.shown(), "RENAME TABLE `app`.`old` TO `app`.`new`", "a session is in no database");
    let function = rename(Dialect::Postgres, Some("app"), "function", &["public", "add", "integer"]);
    assert_eq!(function.shown(), r#"ALTER FUNCTION "public"."add"(integer) RENAME TO "new""#);
    assert_eq!(touches(&function), ["function:app/public/new/integer", "function:app/public/add/integer"]);
    let schema = rename(Dialect::Postgres, Some("app"), "schema", &["old"]);
    assert_eq!(touches(&schema), ["schema:app/new", "schema:app/old"]);
}

#[test]
fn what_belongs_to_the_whole_server_is_in_no_database() {
    let grant = |dialect, class: &str, name: &[&str], grantee| {
        let privileges = vec![Privilege { name: "ALL".into(), columns: vec![] }];
        let grant = Grant {
            revoke: false,
            granted: Granted::Privileges(privileges, object(class, name)),
            grantee,
            with_option: false,
            options: vec![],
            granted_by: None,
            cascade: false,
        };
        effect(dialect, Some("app"), Act::Grant(grant))
    };
    let all = grant(Dialect::MariaDb, "system", &[], Grantee::User("web".into(), "h".into()));
    assert_eq!(all.shown(), "GRANT ALL ON *.* TO `web`@`h`");
    assert_eq!(touches(&all), ["grant:web@h//system"]);
    let parameter = grant(Dialect::Postgres, "parameter", &["work_mem"], Grantee::Role("web".into()));
    assert_eq!(touches(&parameter), ["grant:web//parameter/work_mem"]);
    let tablespace = grant(Dialect::Postgres, "tablespace", &["fast"], Grantee::Role("web".into()));
    assert_eq!(touches(&tablespace), ["grant:web//tablespace/fast"]);
}

#[test]
fn secrets_stand_where_passwords_do_and_nowhere_else() {
    let secret = |form| Part::Secret { name: "s".into(), form };
    let (verifier, plain) = (SecretForm::Verifier, SecretForm::Plain);
    let on = |dialect, verb, class: &str, parts: Vec<Part>| {
        let name = if class == "user" { &["a", "%"][..] } else { &["a"] };
        effect(dialect, None, Act::Execute(Statement { verb, object: object(class, name), parts }))
    };
    let (postgres, maria) = (Dialect::Postgres, Dialect::MariaDb);
    for good in [
        on(postgres, Verb::Alter, "role", vec![text("LOGIN PASSWORD"), secret(verifier)]),
        on(maria, Verb::Create, "user", vec![text("IDENTIFIED BY PASSWORD"), secret(verifier)]),
        on(maria, Verb::Alter, "user", vec![text("IDENTIFIED VIA mysql_native_password USING"), secret(verifier)]),
        on(maria, Verb::Alter, "user", vec![text("IDENTIFIED BY"), secret(plain), text("REQUIRE SSL")]),
    ] {
        assert!(good.pieces().is_ok(), "{:?}", good.pieces());
    }
    for bad in [
        on(postgres, Verb::Comment, "role", vec![secret(verifier)]),
        on(postgres, Verb::Alter, "role", vec![text("INHERIT"), secret(verifier)]),
        on(postgres, Verb::Alter, "role", vec![text("VALID UNTIL"), secret(verifier)]),
        on(postgres, Verb::Alter, "role", vec![text("PASSWORD"), Part::Literal("x".into()), secret(verifier)]),
        on(postgres, Verb::Alter, "role", vec![text("PASSWORD"), secret(verifier), secret(verifier)]),
        on(postgres, Verb::Drop, "role", vec![secret(verifier)]),
        on(maria, Verb::Create, "database", vec![text("COMMENT"), secret(plain)]),
        on(maria, Verb::Create, "user", vec![text("COMMENT"), secret(plain)]),
        on(maria, Verb::Create, "user", vec![text("REQUIRE ISSUER"), secret(plain)]),
        on(maria, Verb::Create, "user", vec![text("IDENTIFIED VIA ed25519 USING"), secret(plain)]),
    ] {
        assert!(bad.pieces().unwrap_err().contains("the secret s"), "{:?}", bad.pieces());
    }
}

#[test]
fn nothing_leaves_a_grant_by_words_of_a_text() {
    let table = || object("table", &["public", "t"]);
    for bad in [
        vec![text("RENAME TO x")],
        vec![text("RENAME COLUMN a TO b")],
        vec![text("OWNER TO postgres")],
        vec![text("SET SCHEMA hr")],
        vec![text("ADD c int, owner/**/to postgres")],
        vec![text("ADD c int,"), text("OWNER"), text("TO postgres")],
        vec![text("ADD c int, OWNER TO"), Part::Identifier(names(&["postgres"]))],
    ] {
        let effect = execute(Verb::Alter, table(), bad);
        assert!(effect.pieces().unwrap_err().contains("in its text"), "{:?}", effect.pieces());
    }
    let given = execute(Verb::Alter, table(), vec![text("OWNER TO"), Part::Identifier(names(&["app"]))]);
    assert_eq!(given.shown(), r#"ALTER TABLE "public"."t" OWNER TO "app""#);
    for bad in ["TEMPLATE TRUE", "OWNER", "OWNER TO", "TEMPLATE OWNER"] {
        let effect = execute(Verb::Create, object("database", &["d"]), vec![text(bad)]);
        assert!(effect.pieces().unwrap_err().contains("without a name after it"), "{bad}");
    }
}
