//! Privileges as people really have them: defaults that nobody wrote down, everybody, columns,
//! names of all sorts, what others granted, and things that cannot be done.

use tidelock_tests::Databases;

const WEB: &str = "kind: postgres.role\nname: web\nspec: { name: web }\n";

fn grant(name: &str, spec: &str) -> String {
    format!("kind: postgres.grant\nname: {name}\nspec: {spec}\n")
}

#[test]
fn what_everybody_may_do_from_the_start_is_seen_and_taken_back() {
    let site = Databases::with_files([("web.yaml", WEB)]);
    site.by_hand("postgres", "CREATE DATABASE app");
    site.by_hand(
        "app",
        "CREATE FUNCTION f(i int) RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE TYPE mood AS ENUM ('ok')",
    );
    for (file, spec) in [
        ("database", "{ role: public, database: app, on: database, privileges: [], owns: all }"),
        ("schema", "{ role: public, database: app, on: schema, schema: public, privileges: [], owns: all }"),
        (
            "function",
            "{ role: public, database: app, schema: public, on: function, names: [f(int4)], privileges: [], owns: all }",
        ),
        ("type", "{ role: public, database: app, schema: public, on: type, names: [mood], privileges: [], owns: all }"),
        ("language", "{ role: public, database: app, on: language, names: [plpgsql], privileges: [], owns: all }"),
    ] {
        site.write(&format!("{file}.yaml"), &grant(file, spec));
    }
    site.write(
        "later.yaml",
        "kind: postgres.default-privileges\nname: later\n\
         spec: { database: app, owner: postgres, on: functions, role: public, privileges: [], owns: all }\n",
    );
    site.commit("Nothing for everybody");
    let plan = site.tidelock(["plan", "--full"]).run().ok();
    let _ = plan
        .says("REVOKE CONNECT, TEMPORARY ON DATABASE \"app\" FROM PUBLIC")
        .says("REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC");
    site.apply();
    let held = "SELECT has_database_privilege('web', 'app', 'CONNECT'), has_schema_privilege('web', 'public', 'USAGE'), \
        has_function_privilege('web', 'f(int)', 'EXECUTE'), has_type_privilege('web', 'mood', 'USAGE'), \
        has_language_privilege('web', 'plpgsql', 'USAGE')";
    assert_eq!(site.by_hand("app", held), "f|f|f|f|f");
    site.by_hand("app", "CREATE FUNCTION g() RETURNS int LANGUAGE sql AS 'SELECT 1'");
    assert_eq!(site.by_hand("app", "SELECT has_function_privilege('web', 'g()', 'EXECUTE')"), "f");
    // Given back by hand, it is found.
    site.by_hand(
        "app",
        "GRANT CONNECT ON DATABASE app TO PUBLIC; ALTER DEFAULT PRIVILEGES GRANT EXECUTE ON FUNCTIONS TO PUBLIC",
    );
    let plan = site.tidelock(["plan", "--full", "--detailed-exitcode"]).run().exit(2);
    let _ = plan.says("REVOKE CONNECT ON DATABASE").says("REVOKE EXECUTE ON FUNCTIONS");
    site.apply();
}

#[test]
fn what_the_server_grants_by_itself_goes_in_the_plan_that_makes_the_database() {
    let none = |name: &str, on: &str| {
        grant(name, &format!("{{ role: public, database: app, {on}, privileges: [], owns: all }}"))
    };
    let site = Databases::with_files([
        ("web.yaml", WEB),
        ("app.yaml", "kind: postgres.database\nname: app\nspec: { name: app }\n"),
        ("database.yaml", &*none("database", "on: database")),
        ("schema.yaml", &*none("schema", "on: schema, schema: public")),
        ("language.yaml", &*none("language", "on: language, names: [plpgsql]")),
    ]);
    let plan = site.tidelock(["plan", "--full"]).run().ok();
    let _ = plan.says("CREATE DATABASE \"app\"").says("REVOKE CONNECT, TEMPORARY ON DATABASE \"app\" FROM PUBLIC");
    // It leaves nothing to do.
    site.apply();
    let held = "SELECT has_database_privilege('web', 'app', 'CONNECT'), has_schema_privilege('web', 'public', 'USAGE'), \
        has_language_privilege('web', 'plpgsql', 'USAGE')";
    assert_eq!(site.by_hand("app", held), "f|f|f");
}

#[test]
fn what_its_owner_has_from_the_start_goes_in_the_plan_that_makes_a_database() {
    let site = Databases::with_files([
        ("web.yaml", WEB),
        ("app.yaml", "kind: postgres.database\nname: app\nspec: { name: app, owner: web }\n"),
        ("g.yaml", &*grant("g", "{ role: web, database: app, on: database, privileges: [CONNECT], owns: all }")),
    ]);
    let plan = site.tidelock(["plan", "--full"]).run().ok();
    let _ = plan.says("REVOKE CREATE, TEMPORARY ON DATABASE \"app\" FROM \"web\"");
    let _ = site.tidelock(["apply", "--yes"]).run().ok().never_says("not as planned");
    site.converged();
}

#[test]
fn what_others_granted_stays_unless_the_spec_owns_all() {
    let spec = |privileges: &str, owns: &str| {
        grant(
            "g",
            &format!(
                "{{ role: web, database: postgres, schema: public, on: table, names: [t], privileges: {privileges}, owns: {owns} }}"
            ),
        )
    };
    let site = Databases::with_files([("web.yaml", WEB), ("g.yaml", &*spec("[SELECT, { UPDATE: [a, b] }]", "listed"))]);
    site.by_hand("postgres", "CREATE TABLE t (a int, b int)");
    site.apply();
    let acl = "SELECT string_agg(privilege_type, ',' ORDER BY privilege_type) FROM pg_class c, aclexplode(relacl) a \
        WHERE c.relname = 't' AND a.grantee = 'web'::regrole";
    site.by_hand("postgres", "GRANT DELETE ON t TO web");
    site.converged();
    site.write("g.yaml", &spec("[INSERT, { UPDATE: [b] }]", "listed"));
    site.commit("INSERT for SELECT");
    site.apply();
    assert_eq!(site.by_hand("postgres", acl), "DELETE,INSERT", "what was listed went, DELETE is another's");
    let column =
        "SELECT has_column_privilege('web', 't', 'a', 'UPDATE'), has_column_privilege('web', 't', 'b', 'UPDATE')";
    assert_eq!(site.by_hand("postgres", column), "f|t");
    site.write("g.yaml", &spec("[INSERT]", "all"));
    site.commit("INSERT alone");
    site.apply();
    assert_eq!(site.by_hand("postgres", acl), "INSERT");
    assert_eq!(site.by_hand("postgres", column), "f|f");
    site.by_hand("postgres", "GRANT TRIGGER ON t TO web");
    let _ = site.tidelock(["plan", "--detailed-exitcode", "--full"]).run().exit(2).says("REVOKE TRIGGER");
    site.apply();
    site.by_hand("postgres", "GRANT TRUNCATE ON t TO web");
    site.remove("g.yaml");
    site.commit("Nothing");
    site.apply();
    assert_eq!(site.by_hand("postgres", acl), "TRUNCATE", "only what was ours goes");
}

#[test]
fn all_means_what_the_server_knows_and_all_tables_those_of_tomorrow() {
    let site = Databases::with_files([
        ("web.yaml", WEB),
        (
            "all.yaml",
            &*grant("all", "{ role: web, database: postgres, schema: s, on: table, all: true, privileges: [ALL] }"),
        ),
        (
            "seq.yaml",
            &*grant(
                "seq",
                "{ role: web, database: postgres, schema: s, on: sequence, all: true, privileges: [USAGE], grant_option: true }",
            ),
        ),
        ("s.yaml", "kind: postgres.schema\nname: s\nspec: { database: postgres, name: s }\n"),
    ]);
    site.apply();
    site.by_hand(
        "postgres",
        "CREATE TABLE s.one (i serial); CREATE VIEW s.v AS SELECT 1; CREATE MATERIALIZED VIEW s.m AS SELECT 1",
    );
    let plan = site.tidelock(["plan", "--full", "--detailed-exitcode"]).run().exit(2);
    let _ = plan
        .says("ON ALL TABLES IN SCHEMA \"s\" TO \"web\"")
        .says("ON ALL SEQUENCES IN SCHEMA \"s\" TO \"web\" WITH GRANT OPTION");
    site.apply();
    for table in ["s.one", "s.v", "s.m"] {
        let held = format!("SELECT has_table_privilege('web', '{table}', 'TRUNCATE, TRIGGER')");
        assert_eq!(site.by_hand("postgres", &held), "t", "{table}");
    }
    assert_eq!(
        site.by_hand("postgres", "SELECT has_sequence_privilege('web', 's.one_i_seq', 'USAGE WITH GRANT OPTION')"),
        "t"
    );
}

#[test]
fn all_of_a_schema_that_holds_nothing_is_as_wanted() {
    let spec = |on: &str, privileges: &str| {
        let spec = format!(
            "{{ role: web, database: postgres, schema: empty, on: {on}, all: true, privileges: {privileges}, owns: all }}"
        );
        grant(on, &spec)
    };
    let files = [
        ("web.yaml", WEB.to_owned()),
        ("table.yaml", spec("table", "[SELECT, INSERT]")),
        ("sequence.yaml", spec("sequence", "[USAGE]")),
        ("function.yaml", spec("function", "[EXECUTE]")),
        ("procedure.yaml", spec("procedure", "[EXECUTE]")),
    ];
    let site = Databases::with_files(files.iter().map(|(name, text)| (*name, text.as_str())));
    site.by_hand("postgres", "CREATE SCHEMA empty");
    site.apply();
    site.converged();
    site.write("table.yaml", &spec("table", "[SELECT]"));
    site.commit("Less of nothing");
    site.apply();
    site.by_hand("postgres", "CREATE TABLE empty.t (i int); GRANT SELECT, INSERT ON empty.t TO web");
    let _ = site.tidelock(["plan", "--full"]).run().says("REVOKE INSERT ON ALL TABLES");
    site.apply();
    site.by_hand("postgres", "DROP TABLE empty.t");
    site.converged();
}

#[test]
fn a_grant_to_nobody_waits_and_the_rest_is_granted() {
    let site = Databases::with_files([("web.yaml", WEB)]);
    site.by_hand("postgres", "CREATE DATABASE app");
    site.by_hand("app", "CREATE SCHEMA empty");
    let to = |name: &str, role: &str, more: &str| grant(name, &format!("{{ role: {role}, database: app, {more} }}"));
    site.write("fine.yaml", &to("fine", "web", "on: schema, schema: empty, privileges: [USAGE]"));
    site.write("all.yaml", &to("all", "wbe", "on: table, schema: empty, all: true, privileges: [SELECT]"));
    site.write("none.yaml", &to("none", "wbe", "on: database, privileges: [], owns: all"));
    site.write("usage.yaml", &to("usage", "wbe", "on: schema, schema: empty, privileges: [USAGE]"));
    site.write("schema.yaml", &to("schema", "web", "on: schema, schema: empyt, privileges: [USAGE]"));
    site.commit("Slips");
    let plan = site
        .tidelock(["plan"])
        .run()
        .says("there is no role wbe, and nothing in this plan makes it; did you mean web?");
    let _ = plan.says("there is no schema empyt in app").says("did you mean empty?");
    site.tidelock(["apply", "--yes"]).run().exit(4).says("there is no role wbe");
    assert_eq!(site.by_hand("app", "SELECT has_schema_privilege('web', 'empty', 'USAGE')"), "t", "the rest is granted");
    site.write("wbe.yaml", "kind: postgres.role\nname: wbe\nspec: { name: wbe }\n");
    site.remove("schema.yaml");
    site.commit("It was meant so");
    site.apply();
    assert_eq!(site.by_hand("app", "SELECT has_schema_privilege('wbe', 'empty', 'USAGE')"), "t");
}

#[test]
fn names_of_all_sorts() {
    let longest = "ü".repeat(31) + "x";
    assert_eq!(longest.len(), 63);
    let names = [
        "Capital",
        "with space",
        "do.t",
        "quo\"te",
        "it's",
        "per%cent/slash@at",
        "ünï🦀",
        "back\\slash",
        "select",
        &*longest,
    ];
    let resources = |i: usize, name: &str| {
        let yaml = serde_json::json!(name).to_string();
        format!(
            "kind: postgres.role\nname: r{i}\nspec: {{ name: {yaml}, login: true, comment: {yaml}, settings: {{ application_name: {yaml} }} }}\n---\n\
             kind: postgres.database\nname: d{i}\nspec: {{ name: {yaml}, owner: {yaml}, comment: {yaml} }}\n---\n\
             kind: postgres.schema\nname: s{i}\nspec: {{ database: {yaml}, name: {yaml}, owner: {yaml} }}\n---\n\
             kind: postgres.grant\nname: g{i}\nspec: {{ role: {yaml}, database: {yaml}, on: schema, schema: {yaml}, privileges: [ALL] }}\n---\n\
             kind: postgres.grant\nname: c{i}\nspec: {{ role: {yaml}, database: {yaml}, on: database, privileges: [CONNECT] }}\n---\n\
             kind: postgres.default-privileges\nname: p{i}\n\
             spec: {{ database: {yaml}, owner: {yaml}, schema: {yaml}, on: tables, role: {yaml}, privileges: [SELECT] }}\n---\n\
             kind: postgres.setting\nname: t{i}\nspec: {{ role: {yaml}, database: {yaml}, name: search_path, value: [{yaml}] }}\n"
        )
    };
    let site = Databases::with_files([]);
    for (i, name) in names.into_iter().enumerate() {
        site.write(&format!("{i}.yaml"), &resources(i, name));
    }
    site.commit("Names");
    site.apply();
    for name in names {
        let quoted = name.replace('\'', "''");
        let there = format!(
            "SELECT count(*) FROM pg_database d JOIN pg_roles r ON r.oid = d.datdba WHERE datname = '{quoted}' AND rolname = '{quoted}'"
        );
        assert_eq!(site.by_hand("postgres", &there), "1", "{name}");
        site.by_hand(
            "postgres",
            &format!("REVOKE CONNECT ON DATABASE \"{0}\" FROM \"{0}\"", name.replace('"', "\"\"")),
        );
    }
    site.apply();
    let site = Databases::with_files([(
        "r.yaml",
        &*format!("kind: postgres.role\nname: r\nspec: {{ name: {} }}\n", "x".repeat(64)),
    )]);
    let _ = site.tidelock(["plan"]).run().exit(1).says("64 bytes").says("r.yaml");
}

#[test]
fn what_cannot_be_is_refused_in_words() {
    let site = Databases::with_files([
        ("a.yaml", "kind: postgres.role\nname: a\nspec: { name: a, member_of: [b] }\n"),
        ("b.yaml", "kind: postgres.role\nname: b\nspec: { name: b, member_of: [a] }\n"),
    ]);
    let circle = site.tidelock(["plan"]).run().exit(1);
    let _ = circle.says("postgres.role/a").says("postgres.role/b").says("circle");
    site.write("a.yaml", "kind: postgres.role\nname: a\nspec: { name: a }\n");
    site.write("shut.yaml", "kind: postgres.schema\nname: s\nspec: { database: shut, name: s }\n");
    site.commit("A database that nobody may enter");
    site.by_hand("postgres", "CREATE DATABASE shut ALLOW_CONNECTIONS false");
    let shut = site.tidelock(["plan"]).run();
    let _ = shut.says("the database shut refuses connections").never_says("CREATE SCHEMA");
    site.remove("shut.yaml");
    site.write(
        "g.yaml",
        &grant("g", "{ role: a, database: postgres, schema: public, on: table, names: [later], privileges: [SELECT] }"),
    );
    site.commit("A table that is not there yet");
    site.tidelock(["apply", "--yes"]).run().exit(4).says("there is no table later");
    let _ = site.tidelock(["plan"]).run().says("there is no table later in public of postgres yet");
    site.by_hand("postgres", "CREATE TABLE later (i int)");
    site.apply();
    assert_eq!(site.by_hand("postgres", "SELECT has_table_privilege('a', 'later', 'SELECT')"), "t");
}

#[test]
fn a_role_that_owns_objects_is_kept_until_the_spec_says_what_becomes_of_them() {
    let role = |more: &str| format!("kind: postgres.role\nname: o\non_remove: delete\nspec: {{ name: owner{more} }}\n");
    let heir = "kind: postgres.role\nname: heir\nspec: { name: heir }\n";
    let site = Databases::with_files([("o.yaml", &*role("")), ("heir.yaml", heir)]);
    site.apply();
    site.by_hand("postgres", "CREATE DATABASE app; CREATE TABLE t (i int); ALTER TABLE t OWNER TO owner");
    site.by_hand("app", "CREATE SCHEMA s AUTHORIZATION owner");
    site.remove("o.yaml");
    site.commit("No owner");
    let refused = site.tidelock(["plan"]).run();
    let _ = refused.says("in app: schema s").says("in postgres: table public.t").says("reassign_owned_to");
    site.write("o.yaml", &role(", reassign_owned_to: heir, drop_owned: true"));
    site.commit("An heir");
    site.apply();
    site.remove("o.yaml");
    site.commit("No owner");
    site.apply();
    assert_eq!(site.by_hand("postgres", "SELECT tableowner FROM pg_tables WHERE tablename = 't'"), "heir");
    assert_eq!(site.by_hand("postgres", "SELECT count(*) FROM pg_roles WHERE rolname = 'owner'"), "0");
}

#[test]
fn a_role_goes_after_what_leaves_git_together_with_it() {
    let schema =
        "kind: postgres.schema\nname: s\non_remove: delete\nspec: { database: postgres, name: s, owner: owner }\n";
    let role = "kind: postgres.role\nname: o\non_remove: delete\n\
        spec: { name: owner, reassign_owned_to: heir, drop_owned: true }\n";
    let heir = "kind: postgres.role\nname: heir\nspec: { name: heir }\n";
    let site = Databases::with_files([("o.yaml", role), ("s.yaml", schema), ("heir.yaml", heir)]);
    site.apply();
    site.remove("o.yaml");
    site.remove("s.yaml");
    site.commit("Neither");
    let run = site.tidelock(["apply", "--yes"]).run();
    let _ = run.never_says("has changed since the plan was made").never_says("somebody else changed");
    site.apply();
    let left = "SELECT (SELECT count(*) FROM pg_roles WHERE rolname = 'owner'), (SELECT count(*) FROM pg_namespace WHERE nspname = 's')";
    assert_eq!(site.by_hand("postgres", left), "0|0");
}

#[test]
fn an_existing_server_is_adopted_as_it_is() {
    let site = Databases::with_files([(
        "web.yaml",
        "kind: postgres.role\nname: web\nspec: { name: web, login: true, member_of: [staff] }\n",
    )]);
    site.by_hand("postgres", "CREATE ROLE staff; CREATE ROLE web LOGIN IN ROLE staff; CREATE DATABASE app OWNER web");
    site.by_hand("app", "CREATE SCHEMA s AUTHORIZATION web; CREATE TABLE s.t (i int); GRANT SELECT ON s.t TO staff");
    site.write("app.yaml", "kind: postgres.database\nname: app\nspec: { name: app, owner: web }\n");
    site.write("s.yaml", "kind: postgres.schema\nname: s\nspec: { database: app, name: s, owner: web }\n");
    site.write(
        "g.yaml",
        &grant("g", "{ role: staff, database: app, schema: s, on: table, names: [t], privileges: [SELECT] }"),
    );
    site.commit("What is there");
    let before = site.server().dump();
    let plan = site.tidelock(["plan", "--output", "json"]).run().ok().json();
    for change in plan["changes"].as_array().unwrap() {
        assert_eq!(change["action"], "adopt", "{change:#}");
    }
    site.apply();
    assert_eq!(site.server().dump(), before);
    // Adopted things are released, not deleted.
    for file in ["web.yaml", "app.yaml", "s.yaml", "g.yaml"] {
        site.remove(file);
    }
    site.write("keep.yaml", "kind: postgres.role\nname: staff\nspec: { name: staff }\n");
    site.commit("Nothing of it");
    site.apply();
    assert_eq!(site.server().dump(), before);
}

#[test]
fn a_pass_that_finds_nothing_asks_as_much_for_fifty_as_for_one() {
    let many = |count: usize| {
        let mut text = String::new();
        for i in 0..count {
            text += &format!(
                "kind: postgres.role\nname: r{i}\nspec: {{ name: r{i}, settings: {{ work_mem: {i}MB }}, valid_until: 2030-01-01 }}\n---\n\
                 kind: postgres.grant\nname: g{i}\nspec: {{ role: r{i}, database: postgres, on: schema, schema: public, privileges: [USAGE] }}\n---\n\
                 kind: postgres.grant\nname: d{i}\nspec: {{ role: r{i}, database: postgres, on: database, privileges: [CONNECT] }}\n---\n\
                 kind: postgres.setting\nname: s{i}\nspec: {{ role: r{i}, database: postgres, name: geqo, value: off }}\n---\n"
            );
        }
        text
    };
    let statements = |count: usize| {
        let site = Databases::with_files([("many.yaml", &*many(count).replace("0MB", "1MB"))]);
        site.apply();
        let lines = |site: &Databases| {
            site.server().log().matches("statement: ").count() + site.server().log().matches("execute ").count()
        };
        let before = lines(&site);
        site.converged();
        lines(&site) - before
    };
    let (one, fifty) = (statements(1), statements(50));
    assert_eq!(one, fifty, "statements of a pass");
}

#[test]
fn a_commit_takes_nothing_from_beyond_its_grant() {
    let site = Databases::with_files([("first.yaml", "kind: postgres.role\nname: w\nspec: { name: shop_web }\n")]);
    site.apply();
    site.by_hand("postgres", "CREATE DATABASE payroll; CREATE ROLE staff");
    let config = site.world().read("tidelock.toml");
    let (before, _) = config.split_once("databases = [").unwrap();
    let narrow = format!(
        "{before}databases = [\"shop*\"]\nsql = [\"role:shop*\", \"database:shop*\", \"membership:shop*/*\"]\n"
    );
    site.world().write("tidelock.toml", narrow.clone());
    let server = site.server().dump();
    let role = |more: &str| format!("kind: postgres.role\nname: w\nspec: {{ name: shop_web{more} }}\n");
    let database = |spec: &str| format!("{}---\nkind: postgres.database\nname: d\nspec: {{ {spec} }}\n", role(""));
    for (text, says) in [
        (database("name: shop_copy, template: payroll, owner: shop_web"), "database:payroll"),
        (database("name: shop_new, owner: postgres"), "role:postgres"),
        (role(", superuser: true"), r#"privileges = ["superuser"]"#),
        (role(", createrole: true"), r#"privileges = ["createrole"]"#),
        (role(", member_of: [postgres]"), "membership:shop_web/postgres"),
        (role(", member_of: [pg_execute_server_program]"), r#"privileges = ["pg_execute_server_program"]"#),
        (role(", member_of: [staff]"), "membership:shop_web/staff"),
    ] {
        site.write("first.yaml", &text);
        site.commit("Beyond the grant");
        let _ = site.tidelock(["plan"]).run().says(says);
        let _ = site.tidelock(["apply", "--yes"]).run();
        assert_eq!(site.server().dump(), server, "{text}");
    }
    // What the hints say to paste opens just that.
    let wide = narrow.replace("membership:shop*/*", "membership:shop_web/staff") + "privileges = [\"createrole\"]\n";
    site.world().write("tidelock.toml", wide);
    site.write("first.yaml", &role(", createrole: true, member_of: [staff]"));
    site.commit("Within it");
    site.apply();
    let has =
        "SELECT rolcreaterole, pg_has_role('shop_web', 'staff', 'MEMBER') FROM pg_roles WHERE rolname = 'shop_web'";
    assert_eq!(site.by_hand("postgres", has), "t|t");
}

#[test]
fn a_role_that_has_more_than_its_grant_is_lent_to_nobody() {
    let site = Databases::with_files([("first.yaml", "kind: postgres.role\nname: w\nspec: { name: app_web }\n")]);
    site.apply();
    site.by_hand(
        "postgres",
        "CREATE ROLE app_admin SUPERUSER; CREATE ROLE app_cr CREATEROLE; CREATE ROLE app_exec; CREATE ROLE secret; \
         GRANT pg_execute_server_program TO app_exec; CREATE ROLE app_nested IN ROLE secret",
    );
    let config = site.world().read("tidelock.toml");
    let (before, _) = config.split_once("sql = [").unwrap();
    let narrow = |sql: &str, privileges: &str| {
        let sql = format!("sql = [\"role:app_*\", \"membership:app_*/*\"{sql}]\nprivileges = [{privileges}]\n");
        site.world().write("tidelock.toml", format!("{before}{sql}"));
    };
    narrow("", "");
    let role = |name: &str, more: &str| format!("kind: postgres.role\nname: w\n{more}spec: {{ name: {name} }}\n");
    let joins = |of: &str| role(&format!("app_web, member_of: [{of}]"), "");
    let server = site.server().dump();
    for (text, says) in [
        (joins("app_admin"), r#"privileges = ["superuser"]"#),
        (joins("app_cr"), r#"privileges = ["createrole"]"#),
        (joins("app_exec"), r#"privileges = ["pg_execute_server_program"]"#),
        (joins("app_nested"), r#"sql = ["membership:app_nested/secret"]"#),
        (role("app_admin, login: true", "ignore: [/superuser]\n"), r#"privileges = ["superuser"]"#),
        (role("app_exec, login: true", ""), r#"privileges = ["pg_execute_server_program"]"#),
        (role("app_nested, valid_until: 2099-01-01", ""), r#"sql = ["membership:app_nested/secret"]"#),
    ] {
        site.write("first.yaml", &text);
        site.commit("More than it has");
        let _ = site.tidelock(["plan"]).run().says(says);
        let _ = site.tidelock(["apply", "--yes"]).run();
        assert_eq!(site.server().dump(), server, "{text}");
    }
    // What the hints say to paste opens just that.
    narrow(", \"membership:app_nested/secret\"", "\"pg_execute_server_program\"");
    site.write("first.yaml", &joins("app_nested, app_exec"));
    site.commit("What is granted");
    site.apply();
    // Who is no superuser any more may sign in.
    let text =
        joins("app_nested, app_exec") + "---\n" + &role("app_admin, login: true", "").replace("name: w", "name: a");
    site.write("first.yaml", &text);
    site.commit("A superuser no more");
    site.tidelock(["apply", "--yes"]).run();
    let held = "SELECT rolsuper, rolcanlogin FROM pg_roles WHERE rolname = 'app_admin'";
    assert_eq!(site.by_hand("postgres", held), "f|t");
}

#[test]
fn what_tidelock_could_not_give_back_to_itself_is_not_taken() {
    let site = Databases::with_files([("web.yaml", WEB)]);
    site.by_hand("postgres", "CREATE ROLE admin SUPERUSER LOGIN");
    let config = site.world().read("tidelock.toml").replace("user = \"postgres\"", "user = \"admin\"");
    site.world().write("tidelock.toml", config);
    let own = |more: &str| {
        site.write(
            "own.yaml",
            &format!("kind: postgres.role\nname: admin\nspec: {{ name: admin, login: true{more} }}\n"),
        );
        site.commit("The very role that Tidelock signs in as");
    };
    own("");
    let refused = site.tidelock(["apply", "--yes"]).run();
    assert_ne!(refused.code, 0, "{}", refused.story());
    let _ = refused.says("takes superuser from it").says("superuser: true");
    let is = |what: &str| site.by_hand("postgres", &format!("SELECT {what} FROM pg_roles WHERE rolname = 'admin'"));
    assert_eq!((is("rolsuper"), is("rolconnlimit")), ("t".to_owned(), "-1".to_owned()));
    own(", superuser: true, connection_limit: 5");
    site.apply();
    assert_eq!((is("rolsuper"), is("rolconnlimit")), ("t".to_owned(), "5".to_owned()));
}

#[test]
fn what_lies_in_the_servers_own_schemas_needs_a_word_of_the_operator() {
    let site = Databases::with_files([("web.yaml", WEB)]);
    site.by_hand("postgres", "CREATE DATABASE app");
    let spec = "{ role: web, database: app, schema: pg_catalog, on: table, names: [pg_authid], privileges: [SELECT] }";
    site.write("authid.yaml", &grant("authid", spec));
    site.commit("All verifiers for web");
    let refused = site.tidelock(["apply", "--yes"]).run();
    assert_ne!(refused.code, 0, "{}", refused.story());
    let _ = refused.says("privileges = [\"pg_catalog\"]");
    let may = "SELECT has_table_privilege('web', 'pg_catalog.pg_authid', 'SELECT')";
    let there = site.by_hand("postgres", "SELECT count(*) FROM pg_roles WHERE rolname = 'web'") == "1";
    assert!(!there || site.by_hand("app", may) == "f");
    let config = site.world().read("tidelock.toml").replace("privileges = [", "privileges = [\"pg_catalog\", ");
    site.world().write("tidelock.toml", config);
    site.apply();
    assert_eq!(site.by_hand("app", may), "t");
}

#[test]
fn of_a_plan_that_is_asked_about_in_parts_a_grant_waits_for_no_role_of_another() {
    let site = Databases::with_files([("web.yaml", WEB)]);
    let config = site.world().read("tidelock.toml") + "\n[limits.postgres]\nbatch = 1\n";
    site.world().write("tidelock.toml", config);
    site.by_hand("postgres", "CREATE DATABASE app");
    site.write("connect.yaml", &grant("connect", "{ role: web, database: app, on: database, privileges: [CREATE] }"));
    site.commit("A role and what it may do");
    let _ = site.tidelock(["plan"]).run().ok().never_says("waits for").says("Plan: 2 to create");
    site.apply();
    assert_eq!(site.by_hand("app", "SELECT has_database_privilege('web', 'app', 'CREATE')"), "t");
    site.converged();
}
