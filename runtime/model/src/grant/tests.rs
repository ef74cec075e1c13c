//! What grants open, and what they do not.

use super::*;

fn grant() -> Grant {
    let decl = GrantDecl {
        targets: vec!["web-1".into()],
        paths: vec!["/etc/app/**".into(), "/etc/motd".into(), "/var/lib/tidelock/**".into()],
        exec: vec![
            vec!["/usr/sbin/nginx".into(), "-t".into()],
            vec!["/bin/systemctl".into(), "reload".into(), "*".into()],
            vec!["/bin/echo".into(), "**".into()],
            vec!["/opt/scripts/*".into()],
            vec!["/bin/cat".into(), "/etc/app/*".into()],
        ],
        exec_read: vec![vec!["/bin/systemctl".into(), "is-active".into(), "*".into()]],
        env: vec!["APP_*".into()],
        databases: vec!["app*".into()],
        sql: vec!["role:app*".into(), "schema:app/**".into(), "grant:*/app/**".into()],
        ..GrantDecl::default()
    };
    Grant::new("server", "web-1", [&decl], vec!["/var/lib/tidelock".into()]).unwrap()
}

fn argv(words: &[&str]) -> Vec<String> {
    words.iter().map(ToString::to_string).collect()
}

#[test]
fn paths_are_denied_unless_granted() {
    let grant = grant();
    assert!(grant.decide(Access::Write("/etc/motd")).is_ok());
    assert!(grant.decide(Access::Write("/etc/app/a/b")).is_ok());
    let fault = grant.decide(Access::Write("/etc/shadow")).unwrap_err();
    assert_eq!(fault.code, "denied");
    assert!(fault.hint.unwrap().contains("paths = [\"/etc/shadow\"]"));
}

#[test]
fn paths_that_climb_are_refused_before_patterns_are_asked() {
    for path in ["/etc/app/../shadow", "etc/motd", "/etc//motd", "/etc/app/./x", "/etc/app/\0", ""] {
        assert_eq!(grant().decide(Access::Read(path)).unwrap_err().code, "invalid", "{path:?}");
    }
}

#[test]
fn own_files_stay_shut_whatever_is_granted() {
    let grant = grant();
    for path in ["/var/lib/tidelock", "/var/lib/tidelock/tidelock.db", "/var/lib"] {
        assert!(grant.decide(Access::Write(path)).unwrap_err().message.contains("own files"), "{path}");
    }
}

#[test]
fn what_may_be_run_may_not_be_run_while_planning() {
    let grant = grant();
    let reload = argv(&["/bin/systemctl", "reload", "nginx"]);
    let look = argv(&["/bin/systemctl", "is-active", "nginx"]);
    assert!(grant.decide(Access::Exec(&reload)).is_ok() && grant.decide(Access::Probe(&look)).is_ok());
    assert!(grant.decide(Access::Exec(&look)).is_err(), "a look is no right to run it as an effect");
    let fault = grant.decide(Access::Probe(&reload)).unwrap_err();
    assert!(fault.message.contains("while a plan is made"), "{fault}");
    let hint = fault.hint.unwrap();
    // The table is there, and the key: neither can be written twice.
    assert!(hint.starts_with("add to `exec_read` of [grants.server]"), "{hint}");
    assert!(hint.ends_with(r#"exec_read = [["/bin/systemctl", "reload", "nginx"]]"#), "{hint}");
    assert!(grant.decide(Access::Probe(&argv(&["/bin/systemctl", "is-active", "--root=/x"]))).is_err());
}

#[test]
fn statements_are_granted_by_what_they_touch_and_where() {
    use crate::sql::{Act, Dialect, Object, SqlEffect, Statement, Verb};
    let execute = |class: &str, name: &[&str], database: Option<&str>| {
        let name = name.iter().map(ToString::to_string).collect();
        let statement = Statement { verb: Verb::Drop, object: Object { class: class.into(), name }, parts: vec![] };
        let database = database.map(ToOwned::to_owned);
        let act = Act::Execute(statement);
        EffectBody::Sql(Box::new(SqlEffect { dialect: Dialect::Postgres, database, act, unread: false }))
    };
    let decide = |body: &EffectBody| grant().decide_effect(body);
    assert!(decide(&execute("role", &["app_1"], None)).is_ok());
    assert!(decide(&execute("schema", &["s"], Some("app"))).is_ok());
    for (class, name, database) in [
        ("role", "other", None),
        ("role", "app/x", Some("postgres")),
        ("schema", "s", Some("apple")),
        ("schema", "s", Some("other")),
        ("database", "app", None),
    ] {
        let fault = decide(&execute(class, &[name], database)).unwrap_err();
        assert_eq!(fault.code, "denied", "{class} {name}");
    }
    let fault = decide(&execute("database", &["a*b"], None)).unwrap_err();
    assert!(fault.hint.unwrap().ends_with("\n\nsql = [\"database:a[*]b\"]"));
    let rename = |from: &str, to: &str| {
        let object = Object { class: "role".into(), name: vec![from.into()] };
        let act = Act::Rename { object, to: to.into() };
        EffectBody::Sql(Box::new(SqlEffect { dialect: Dialect::Postgres, database: None, act, unread: false }))
    };
    assert!(decide(&rename("app", "app2")).is_ok());
    assert!(decide(&rename("other", "app")).is_err() && decide(&rename("app", "other")).is_err());
    let look = |name, maintenance| grant().decide(Access::Database { name, maintenance });
    assert!(look("apple", false).is_ok() && look("postgres", true).is_ok() && look("postgres", false).is_err());
}

#[test]
fn what_a_statement_takes_from_elsewhere_is_granted_too() {
    use crate::sql::{Act, Dialect, Granted, Grantee, Object, Part, SqlEffect, Statement, Verb};
    let decl = |privileges: &[&str], sql: &[&str]| GrantDecl {
        databases: vec!["shop*".into()],
        sql: sql.iter().map(ToString::to_string).collect(),
        privileges: privileges.iter().map(ToString::to_string).collect(),
        ..GrantDecl::default()
    };
    let sql =
        ["role:shop*", "database:shop*", "schema:shop*/**", "table:shop/sales/*", "membership:shop*/*", "user:shop*"];
    let grant = Grant::new("postgres", "db", [&decl(&[], &sql)], vec![]).unwrap();
    let text = |text: &str| Part::Text(text.into());
    let name = |name: &str| Part::Identifier(vec![name.into()]);
    let body = |dialect, database: Option<&str>, act| {
        let database = database.map(ToOwned::to_owned);
        EffectBody::Sql(Box::new(SqlEffect { dialect, database, act, unread: false }))
    };
    let execute = |verb, class: &str, on: &[&str], parts: Vec<Part>| {
        let object = Object { class: class.into(), name: on.iter().map(ToString::to_string).collect() };
        let database = matches!(class, "schema" | "table").then_some("shop");
        body(Dialect::Postgres, database, Act::Execute(Statement { verb, object, parts }))
    };
    let member = |of: &str, who: &str| {
        let grant = crate::sql::Grant {
            revoke: false,
            granted: Granted::Membership(of.into()),
            grantee: Grantee::Role(who.into()),
            with_option: false,
            options: vec![],
            granted_by: None,
            cascade: false,
        };
        body(Dialect::Postgres, None, Act::Grant(grant))
    };
    let (create, alter) = (Verb::Create, Verb::Alter);
    let copy = |parts| execute(create, "database", &["shop_copy"], parts);
    for good in [
        copy(vec![text("TEMPLATE"), name("shop"), text("OWNER"), name("shop_web")]),
        copy(vec![text("TEMPLATE"), name("template0"), text("TABLESPACE"), name("pg_default")]),
        copy(vec![text("TEMPLATE DEFAULT OWNER ="), Part::Literal("shop_web".into())]),
        execute(Verb::Reassign, "owned", &["shop_web"], vec![text("TO"), name("shop_owner")]),
        execute(alter, "role", &["shop_web"], vec![text("LOGIN NOSUPERUSER NOCREATEROLE")]),
        execute(create, "schema", &["s"], vec![text("AUTHORIZATION"), name("shop_web")]),
        member("shop_owner", "shop_web"),
    ] {
        grant.decide_effect(&good).unwrap_or_else(|fault| panic!("{}: {fault}", good.summary()));
    }
    for (bad, hint) in [
        (copy(vec![text("TEMPLATE"), name("payroll")]), r#"sql = ["database:payroll"]"#),
        (copy(vec![text("TEMPLATE ="), Part::Literal("payroll".into())]), r#"sql = ["database:payroll"]"#),
        (copy(vec![text("OWNER"), name("shop_web"), text("TEMPLATE"), name("payroll")]), "database:payroll"),
        (copy(vec![text("TEMPLATE"), name("shop"), name("payroll")]), "database:payroll"),
        (copy(vec![text("TABLESPACE"), name("fast")]), "tablespace:fast"),
        (copy(vec![text("owner to"), name("postgres")]), r#"sql = ["role:postgres"]"#),
        (execute(alter, "database", &["shop"], vec![text("OWNER TO"), name("postgres")]), "role:postgres"),
        (execute(create, "schema", &["s"], vec![text("AUTHORIZATION"), name("other")]), "role:other"),
        (execute(alter, "table", &["sales", "t"], vec![text("OWNER TO"), name("postgres")]), "role:postgres"),
        (execute(alter, "table", &["sales", "t"], vec![text("SET SCHEMA"), name("hr")]), "table:shop/hr/t"),
        (execute(Verb::Reassign, "owned", &["shop_web"], vec![text("TO"), name("postgres")]), "role:postgres"),
        (execute(alter, "role", &["shop_web"], vec![text("login SuperUser")]), r#"privileges = ["superuser"]"#),
        (execute(create, "role", &["shop_web"], vec![text("REPLICATION")]), r#"privileges = ["replication"]"#),
        (execute(create, "role", &["shop_web"], vec![text("BYPASSRLS")]), r#"privileges = ["bypassrls"]"#),
        (execute(create, "role", &["shop_web"], vec![text("CREATEROLE")]), r#"privileges = ["createrole"]"#),
        (member("postgres", "shop_web"), r#"sql = ["membership:shop_web/postgres"]"#),
        (member("pg_execute_server_program", "shop_web"), r#"privileges = ["pg_execute_server_program"]"#),
    ] {
        let fault = grant.decide_effect(&bad).expect_err(&bad.summary());
        assert!(fault.code == "denied" && fault.hint.as_ref().unwrap().contains(hint), "{}: {fault:?}", bad.summary());
    }
    let maria = |class: &str, on: &[&str], parts| {
        let object = Object { class: class.into(), name: on.iter().map(ToString::to_string).collect() };
        body(Dialect::MariaDb, None, Act::Execute(Statement { verb: create, object, parts }))
    };
    let admin = Part::Identifier(vec!["root".into(), "localhost".into()]);
    let fault = grant.decide_effect(&maria("role", &["shop_r"], vec![text("WITH ADMIN"), admin])).unwrap_err();
    assert!(fault.hint.unwrap().contains("user:root@localhost"));
    let role = maria("user", &["shop", "%"], vec![text("DEFAULT ROLE"), name("dba")]);
    assert!(grant.decide_effect(&role).unwrap_err().hint.unwrap().contains("role:dba"));
    // What names the role in full opens it; of the server's own, `privileges` does.
    let sql = ["role:**", "membership:shop*/staff", "membership:shop*/*"];
    let wide = Grant::new("postgres", "db", [&decl(&["superuser", "pg_monitor"], &sql)], vec![]).unwrap();
    assert!(wide.decide_effect(&member("pg_monitor", "shop_web")).is_ok());
    let fault = wide.decide_effect(&member("pg_read_server_files", "shop_web")).unwrap_err();
    assert!(fault.hint.unwrap().contains(r#"privileges = ["pg_read_server_files"]"#));
    assert!(wide.decide_effect(&execute(alter, "role", &["x"], vec![text("SUPERUSER")])).is_ok());
    let narrow = Grant::new("postgres", "db", [&decl(&[], &sql[1..])], vec![]).unwrap();
    assert!(narrow.decide_effect(&member("staff", "shop_web")).is_ok());
    assert!(narrow.decide_effect(&member("postgres", "shop_web")).is_err());
    // Verifiers of passwords and functions that read files lie beside what everybody may see.
    let on = |class: &str, on: &[&str], revoke| {
        let object = Object { class: class.into(), name: on.iter().map(ToString::to_string).collect() };
        let privileges = vec![crate::sql::Privilege { name: "SELECT".into(), columns: vec![] }];
        let grant = crate::sql::Grant {
            revoke,
            granted: Granted::Privileges(privileges, object),
            grantee: Grantee::Role("shop_web".into()),
            with_option: false,
            options: vec![],
            granted_by: None,
            cascade: false,
        };
        body(Dialect::Postgres, Some("shop"), Act::Grant(grant))
    };
    let sql = ["grant:*/shop/**"];
    let closed = Grant::new("postgres", "db", [&decl(&[], &sql)], vec![]).unwrap();
    let open = Grant::new("postgres", "db", [&decl(&["pg_catalog"], &sql)], vec![]).unwrap();
    for (class, name) in [("table", "pg_authid"), ("function", "pg_read_file(text)")] {
        let granted = on(class, &["pg_catalog", name], false);
        let hint = closed.decide_effect(&granted).unwrap_err().hint.unwrap();
        assert!(hint.contains(r#"privileges = ["pg_catalog"]"#), "{hint}");
        open.decide_effect(&granted).unwrap();
        closed.decide_effect(&on(class, &["pg_catalog", name], true)).unwrap();
    }
    closed.decide_effect(&on("table", &["sales", "pg_orders"], false)).unwrap();
    closed.decide_effect(&on("foreign server", &["pg_other"], false)).unwrap();
    for wrong in ["SUPERUSER", "postgres", "login", "*"] {
        let fault = Grant::new("postgres", "db", [&decl(&[wrong], &[])], vec![]).unwrap_err();
        assert!(fault.message.contains("grants.postgres.privileges"), "{fault}");
    }
}

#[test]
fn variables_are_granted_by_name() {
    let exec = |name: &str| EffectBody::Exec {
        argv: argv(&["/usr/sbin/nginx", "-t"]),
        cwd: None,
        env: vec![(name.to_owned(), "x".to_owned())],
        timeout_ms: 1,
    };
    for name in ["LD_PRELOAD", "PATH", "PERL5OPT", "BASH_FUNC_ls%%", "a=b", ""] {
        assert!(grant().decide_effect(&exec(name)).is_err(), "{name}");
    }
    assert!(grant().decide_effect(&exec("APP_MODE")).is_ok());
}

#[test]
fn programs_and_wildcards_stay_where_they_were_meant() {
    let grant = grant();
    for bad in [
        &["/opt/scripts/../../bin/sh"][..],
        &["/opt/scripts/deep/er"],
        &["/opt/scripts/"],
        &["/bin/systemctl", "reload", ""],
        &["/bin/systemctl", "reload", "--force"],
        &["/bin/systemctl", "reload", "../../x"],
        &["/bin/cat", "/etc/app/../shadow"],
    ] {
        assert!(grant.decide(Access::Exec(&argv(bad))).is_err(), "{bad:?}");
    }
    assert!(grant.decide(Access::Exec(&argv(&["/opt/scripts/deploy"]))).is_ok());
    assert!(grant.decide(Access::Exec(&argv(&["/bin/cat", "/etc/app/x"]))).is_ok());
}

#[test]
fn set_user_id_is_a_grant_of_its_own() {
    let set = |mode| EffectBody::SetAttributes {
        path: "/etc/motd".into(),
        attributes: crate::effect::Attributes { mode: Some(mode), ..Default::default() },
    };
    assert!(grant().decide_effect(&set(0o1777)).is_ok());
    for mode in [0o4755, 0o2755, 0o6755] {
        assert_eq!(grant().decide_effect(&set(mode)).unwrap_err().code, "denied", "{mode:o}");
    }
}

#[test]
fn what_a_hint_says_to_paste_grants_that_and_nothing_else() {
    for path in ["/z\"] exec = [[\"/bin/sh\",\"**\"]] #/y", "/**/y", "/etc/{a,b}"] {
        let hint = grant().decide(Access::Write(path)).unwrap_err().hint.unwrap();
        assert!(hint.starts_with("add to `paths` of [grants.server] in tidelock.toml:"), "{hint}");
        let pasted: Vec<String> =
            serde_json::from_str(hint.lines().last().unwrap().strip_prefix("paths = ").unwrap()).unwrap();
        let decl = GrantDecl { paths: pasted, ..GrantDecl::default() };
        let grant = Grant::new("server", "web-1", [&decl], vec![]).unwrap();
        assert!(grant.decide(Access::Write(path)).is_ok(), "{path}");
        for other in ["/z", "/x/y", "/etc/a"] {
            assert!(grant.decide(Access::Write(other)).is_err(), "{path} opens {other}");
        }
    }
}

#[test]
fn commands_match_word_by_word() {
    let grant = grant();
    assert!(grant.decide(Access::Exec(&argv(&["/usr/sbin/nginx", "-t"]))).is_ok());
    assert!(grant.decide(Access::Exec(&argv(&["/bin/systemctl", "reload", "nginx"]))).is_ok());
    assert!(grant.decide(Access::Exec(&argv(&["/bin/echo", "a", "b"]))).is_ok());
    for bad in [&["/usr/sbin/nginx"][..], &["/usr/sbin/nginx", "-t", "-x"], &["/bin/sh", "-c", "x"], &[]] {
        assert!(grant.decide(Access::Exec(&argv(bad))).is_err(), "{bad:?}");
    }
}

#[test]
fn a_plugin_that_was_granted_nothing_is_told_the_lines_for_what_it_wants() {
    let fault = ungranted("server", "web-1", |nothing| nothing.decide(Access::Write("/etc/motd")));
    let said = "plugin server has no grant on target web-1: it may not write /etc/motd";
    assert_eq!((fault.code.as_str(), fault.message.as_str()), ("denied", said));
    let hint = fault.hint.unwrap();
    assert!(hint.ends_with("[grants.server]\ntargets = [\"web-1\"]\npaths = [\"/etc/motd\"]"), "{hint}");
    let any = ungranted("server", "web-1", |_| Ok(())).hint.unwrap();
    assert!(any.ends_with("[grants.server]\ntargets = [\"web-1\"]"), "{any}");
}

#[test]
fn a_key_that_a_grant_has_not_yet_is_added_to_its_table() {
    let decl = GrantDecl { paths: vec!["/etc/*".into()], ..GrantDecl::default() };
    let grant = Grant::new("server", "web-1", [&decl], vec![]).unwrap();
    let hint = grant.decide(Access::Exec(&argv(&["/bin/true"]))).unwrap_err().hint.unwrap();
    assert_eq!(hint, "add to [grants.server] in tidelock.toml:\n\nexec = [[\"/bin/true\"]]");
}

#[test]
fn a_class_that_nothing_has_is_refused_with_those_that_there_are() {
    let read = |pattern: &str| {
        let decl = GrantDecl { sql: vec![pattern.into()], ..GrantDecl::default() };
        Grant::new("postgres", "db", [&decl], vec![])
    };
    for good in [
        "**",
        "*:shop/**",
        "role:shop*",
        "materialized-view:app/*",
        "grant:*/app/**",
        "{role,user}:a",
        "setting:server",
    ] {
        assert!(read(good).is_ok(), "{good}");
    }
    for bad in ["rolle:shop*", "role", "owned:a", ":a"] {
        let fault = read(bad).unwrap_err();
        assert_eq!(fault.field.as_deref(), Some("sql"), "{bad}");
        assert!(fault.message.contains("role, user, database") && fault.message.contains("membership"), "{fault}");
    }
}

#[test]
fn settings_of_superusers_are_granted_by_name() {
    use crate::sql::{Act, Dialect, Object, SqlEffect};
    let set = |class: &str, name: &str, value: Option<&str>| {
        let on = if class == "system" { vec![] } else { vec!["app_web".to_owned()] };
        let object = Object { class: class.into(), name: on };
        let value = value.map(|value| vec![value.to_owned()]);
        let setting = crate::sql::Setting { object, in_database: None, name: name.into(), value };
        let act = Act::Set(setting);
        EffectBody::Sql(Box::new(SqlEffect { dialect: Dialect::Postgres, database: None, act, unread: false }))
    };
    let granted = |sql: &[&str]| {
        let sql = sql.iter().map(ToString::to_string).collect();
        let decl = GrantDecl { targets: vec!["db".into()], sql, ..GrantDecl::default() };
        Grant::new("postgres", "db", [&decl], vec![]).unwrap()
    };
    let wide = granted(&["**", "setting:role/app_*/**", "setting:database/*/*", "setting:server/*"]);
    for (class, name) in [
        ("role", "session_preload_libraries"),
        ("database", "local_preload_libraries"),
        ("role", "Session_Replication_Role"),
        ("role", "role"),
        ("database", "log_statement"),
        ("role", "lo_compat_privileges"),
        ("database", "zero_damaged_pages"),
        ("role", "dynamic_library_path"),
        ("role", "allow_system_table_mods"),
        ("system", "shared_preload_libraries"),
        ("system", "hba_file"),
    ] {
        // Taking one back may do as much.
        for value in [Some("x"), None] {
            let effect = set(class, name, value);
            let fault = wide.decide_effect(&effect).expect_err(name);
            let hint = fault.hint.as_ref().unwrap();
            let (_, pattern) = hint.rsplit_once("sql = [\"").unwrap();
            granted(&[pattern.trim_end_matches("\"]")]).decide_effect(&effect).unwrap();
        }
    }
    for (class, name) in [("role", "work_mem"), ("database", "my.own"), ("system", "log_min_duration_statement")] {
        wide.decide_effect(&set(class, name, Some("x"))).unwrap();
    }
    granted(&["setting:role/*//log_statement"]).decide_effect(&set("role", "log_statement", Some("ddl"))).unwrap();
}

#[test]
fn who_acts_as_a_role_reaches_what_it_reaches() {
    use crate::sql::Reach;
    let granted = |sql: &[&str], privileges: &[&str]| {
        let texts = |list: &[&str]| list.iter().map(ToString::to_string).collect();
        let (sql, privileges) = (texts(sql), texts(privileges));
        let decl = GrantDecl { targets: vec!["db".into()], sql, privileges, ..GrantDecl::default() };
        Grant::new("postgres", "db", [&decl], vec![]).unwrap()
    };
    let pair = |member: &str, of: &str| (member.to_owned(), of.to_owned());
    let reach = Reach::new(
        [("app_admin", "superuser"), ("pg_execute_server_program", "pg_execute_server_program")]
            .map(|(who, what)| (who.to_owned(), vec![what.to_owned()])),
        [pair("app_exec", "pg_execute_server_program"), pair("app_nested", "secret"), pair("app_deep", "app_exec")],
    );
    let closed = granted(&["role:app_*", "membership:app_*/*"], &[]);
    closed.decide_reach("app_web", &reach, |_| false).unwrap();
    for (role, hint) in [
        ("app_admin", r#"privileges = ["superuser"]"#),
        ("app_exec", r#"privileges = ["pg_execute_server_program"]"#),
        ("app_deep", r#"privileges = ["pg_execute_server_program"]"#),
        ("app_nested", r#"sql = ["membership:app_nested/secret"]"#),
    ] {
        let fault = closed.decide_reach(role, &reach, |_| false).expect_err(role);
        assert!(fault.code == "denied" && fault.hint.as_ref().unwrap().contains(hint), "{role}: {fault:?}");
    }
    closed.decide_reach("app_admin", &reach, |taken| taken == "superuser").unwrap();
    let open = granted(&["role:app_*", "membership:app_nested/secret"], &["superuser", "pg_execute_server_program"]);
    for role in ["app_admin", "app_exec", "app_deep", "app_nested"] {
        open.decide_reach(role, &reach, |_| false).unwrap();
    }
}

#[test]
fn who_holds_something_on_everything_of_mariadb_is_lent_to_nobody() {
    use crate::sql::Reach;
    let granted = |sql: &[&str]| {
        let sql = sql.iter().map(ToString::to_string).collect();
        let decl = GrantDecl { targets: vec!["db".into()], sql, ..GrantDecl::default() };
        Grant::new("mysql", "db", [&decl], vec![]).unwrap()
    };
    let members = [("app@%25".to_owned(), "app_dba".to_owned())];
    let reach = Reach::of_accounts(["app_super".to_owned(), "app_dba".to_owned()], members);
    let closed = granted(&["role:app_*", "user:app@*", "membership:app@*/app_*", "grant:*/app/**"]);
    for (who, hint) in [("app_super", "grant:app_super//system"), ("app@%25", "grant:app_dba//system")] {
        let fault = closed.decide_reach(who, &reach, |_| false).expect_err(who);
        assert!(fault.hint.as_ref().unwrap().contains(hint), "{fault:?}");
        granted(&["role:app_*", hint]).decide_reach(who, &reach, |_| false).unwrap();
    }
    closed.decide_reach("app_web", &reach, |_| false).unwrap();
}
