//! The plugin `postgres` on a real server: each kind is made, changed by hand and healed,
//! changed in Git, and removed, and a second plan is empty each time.

use tidelock_tests::Databases;

/// A first commit of everything, by files.
const ROLES: &str = r#"
kind: postgres.role
name: owner
on_remove: delete
spec: { name: App Owner, comment: "it's ours" }
---
kind: postgres.role
name: staff
on_remove: delete
spec: { name: staff }
---
kind: postgres.role
name: web
on_remove: delete
spec:
  name: web
  login: true
  createdb: true
  connection_limit: 20
  valid_until: 2030-01-31
  member_of: { staff: { admin: true } }
  settings: { work_mem: 65536kB, search_path: [sales, public] }
"#;
const DATABASE: &str = r#"
kind: postgres.database
name: app
on_remove: delete
spec:
  name: app
  owner: App Owner
  encoding: utf-8
  locale: C.utf8
  connection_limit: 50
  settings: { statement_timeout: 1.5min }
  comment: The shop
"#;
const WITHIN: &str = r#"
kind: postgres.schema
name: sales
on_remove: delete
spec: { database: app, name: sales, owner: App Owner, comment: What is sold }
---
kind: postgres.extension
name: crypto
on_remove: delete
spec: { database: app, name: pgcrypto, schema: sales, version: latest }
---
kind: postgres.grant
name: connect
spec: { role: web, database: app, on: database, privileges: [CONNECT] }
---
kind: postgres.grant
name: usage
spec: { role: web, database: app, on: schema, schema: sales, privileges: [USAGE] }
---
kind: postgres.grant
name: read
spec: { role: web, database: app, on: table, schema: sales, all: true, privileges: [SELECT] }
---
kind: postgres.default-privileges
name: later
spec: { database: app, owner: App Owner, schema: sales, on: tables, role: web, privileges: [SELECT] }
"#;
const SETTINGS: &str = r#"
kind: postgres.setting
name: slow
spec: { name: log_min_duration_statement, value: 1500ms }
---
kind: postgres.setting
name: geqo
spec: { database: app, name: geqo, value: no }
---
kind: postgres.setting
name: web-path
spec: { role: web, database: app, name: search_path, value: [sales, "$user"] }
"#;

fn everything() -> Databases {
    Databases::with_files([
        ("roles.yaml", ROLES),
        ("database.yaml", DATABASE),
        ("within.yaml", WITHIN),
        ("settings.yaml", SETTINGS),
    ])
}

#[test]
fn everything_in_one_first_commit_is_one_reviewed_plan() {
    let site = everything();
    let plan = site.tidelock(["plan", "--full"]).run().ok();
    let _ = plan.says("CREATE DATABASE \"app\"").says("CREATE SCHEMA \"sales\" AUTHORIZATION \"App Owner\"");
    let json = site.tidelock(["plan", "--output", "json"]).run().ok().json();
    let groups = json["groups"].as_array().unwrap();
    let of = |word: &str| -> Vec<usize> {
        let holds = |group: &serde_json::Value| group["effects"].to_string().contains(word);
        groups.iter().enumerate().filter(|(_, group)| holds(group)).map(|(at, _)| at).collect()
    };
    let (roles, database, schema, grants) =
        (of("CREATE ROLE"), of("CREATE DATABASE"), of("CREATE SCHEMA"), of("ON ALL TABLES"));
    assert_eq!([roles.len(), database.len(), schema.len(), grants.len()], [1; 4], "{groups:#?}");
    assert_eq!(schema, grants, "what is in a database is one transaction");
    assert!(roles < database && database < schema, "{groups:#?}");
    site.apply();
    assert_eq!(
        site.by_hand("app", "SELECT nspowner::regrole FROM pg_namespace WHERE nspname = 'sales'"),
        "\"App Owner\""
    );
    assert_eq!(site.by_hand("app", "SHOW statement_timeout"), "90s");
    assert_eq!(site.by_hand("app", "SHOW geqo"), "off");
    assert_eq!(site.by_hand("app", "SHOW log_min_duration_statement"), "1500ms");
    site.server().psql("app", "SET ROLE \"App Owner\"; CREATE TABLE sales.orders (id int)");
    assert_eq!(site.by_hand("app", "SELECT has_table_privilege('web', 'sales.orders', 'SELECT')"), "t", "by default");
}

#[test]
fn what_is_changed_by_hand_is_found_and_healed() {
    let site = everything();
    site.apply();
    site.by_hand("app", "CREATE TABLE sales.plain (id int)");
    for (database, by_hand, found) in [
        ("postgres", "ALTER ROLE web NOCREATEDB SUPERUSER", "NOSUPERUSER"),
        ("postgres", "ALTER ROLE web VALID UNTIL 'infinity' CONNECTION LIMIT 3", "VALID UNTIL '2030-01-31T00:00:00Z'"),
        ("postgres", "REVOKE ADMIN OPTION FOR staff FROM web", "GRANT \"staff\" TO \"web\" WITH ADMIN OPTION"),
        ("postgres", "REVOKE staff FROM web", "GRANT \"staff\" TO \"web\" WITH ADMIN OPTION"),
        ("postgres", "ALTER ROLE web RESET work_mem", "SET \"work_mem\" TO '64MB'"),
        ("postgres", "COMMENT ON ROLE \"App Owner\" IS 'somebody else''s'", "IS 'it''s ours'"),
        ("postgres", "ALTER DATABASE app OWNER TO postgres", "OWNER TO \"App Owner\""),
        ("postgres", "ALTER DATABASE app CONNECTION LIMIT 1", "CONNECTION LIMIT 50"),
        ("postgres", "ALTER DATABASE app RESET ALL", "SET \"statement_timeout\" TO '90s'"),
        ("app", "ALTER SCHEMA sales OWNER TO postgres", "OWNER TO \"App Owner\""),
        ("app", "COMMENT ON SCHEMA sales IS NULL", "IS 'What is sold'"),
        ("app", "DROP EXTENSION pgcrypto", "CREATE EXTENSION \"pgcrypto\""),
        ("app", "ALTER EXTENSION pgcrypto SET SCHEMA public", "SET SCHEMA \"sales\""),
        ("app", "REVOKE CONNECT ON DATABASE app FROM web", "GRANT CONNECT ON DATABASE \"app\""),
        ("app", "REVOKE USAGE ON SCHEMA sales FROM web", "GRANT USAGE ON SCHEMA \"sales\""),
        ("app", "CREATE TABLE sales.late (id int)", "GRANT SELECT ON ALL TABLES IN SCHEMA \"sales\""),
        ("app", "REVOKE SELECT ON sales.plain FROM web", "GRANT SELECT ON ALL TABLES IN SCHEMA \"sales\""),
        (
            "app",
            "ALTER DEFAULT PRIVILEGES FOR ROLE \"App Owner\" IN SCHEMA sales REVOKE SELECT ON TABLES FROM web",
            "GRANT SELECT ON TABLES TO \"web\"",
        ),
        ("app", "ALTER SYSTEM RESET log_min_duration_statement", "ALTER SYSTEM SET"),
        ("app", "ALTER SYSTEM SET log_min_duration_statement = 7", "TO '1500ms'"),
        ("app", "ALTER ROLE web IN DATABASE app SET search_path = public", "IN DATABASE \"app\" SET \"search_path\""),
    ] {
        if found.contains("ALL TABLES") && by_hand.contains("REVOKE") {
            site.apply();
        }
        site.by_hand(database, by_hand);
        let plan = site.tidelock(["plan", "--full", "--detailed-exitcode"]).run().exit(2);
        let _ = plan.says(found).says("drift");
        site.apply();
    }
}

#[test]
fn a_changed_commit_changes_the_server_and_no_more() {
    let site = everything();
    site.apply();
    let roles = ROLES
        .replace("createdb: true", "createrole: true")
        .replace("member_of: { staff: { admin: true } }", "member_of: [App Owner]")
        .replace("work_mem: 65536kB, ", "");
    let within = WITHIN
        .replace("on: schema, schema: sales, privileges: [USAGE]", "on: schema, schema: sales, privileges: [CREATE]")
        .replace("role: web, privileges: [SELECT] }\n\"", "role: web, privileges: [INSERT] }");
    site.by_hand("postgres", "CREATE ROLE others; GRANT others TO web; ALTER ROLE web SET enable_sort = off");
    site.write("roles.yaml", &roles);
    site.write("within.yaml", &within);
    site.commit("Others");
    site.apply();
    let held = "SELECT string_agg(roleid::regrole::text, ',' ORDER BY roleid::regrole::text) FROM pg_auth_members WHERE member = 'web'::regrole";
    assert_eq!(site.by_hand("postgres", held), "\"App Owner\",others", "what was listed is gone, what was not stays");
    let settings = "SELECT setconfig FROM pg_db_role_setting WHERE setrole = 'web'::regrole AND setdatabase = 0";
    assert_eq!(site.by_hand("postgres", settings), "{\"search_path=sales, public\",enable_sort=off}");
    let schema = "SELECT string_agg(privilege_type, ',') FROM pg_namespace, aclexplode(nspacl) a \
        WHERE nspname = 'sales' AND a.grantee = 'web'::regrole";
    assert_eq!(site.by_hand("app", schema), "CREATE");
    let attributes = "SELECT rolcreatedb, rolcreaterole FROM pg_roles WHERE rolname = 'web'";
    assert_eq!(site.by_hand("postgres", attributes), "f|t", "unsaid is not");
}

#[test]
fn what_leaves_git_leaves_the_server() {
    let site = everything();
    let before = site.server().dump();
    site.apply();
    site.write("keep.yaml", "kind: postgres.role\nname: keep\nspec: { name: keep }\n");
    for file in ["roles.yaml", "database.yaml", "within.yaml", "settings.yaml"] {
        site.remove(file);
    }
    site.commit("Nothing but one");
    // The owner goes once nothing is its any more.
    site.apply();
    site.by_hand("postgres", "DROP ROLE keep");
    assert_eq!(site.server().dump(), before, "pg_dumpall sees nothing of it");
}

#[test]
fn renames_keep_what_is_there() {
    let role = |name: &str, more: &str| {
        format!("kind: postgres.role\nname: r\non_remove: delete\nspec: {{ name: {name}{more} }}\n")
    };
    let schema = |name: &str, more: &str| {
        format!(
            "kind: postgres.schema\nname: s\non_remove: delete\nspec: {{ database: postgres, name: {name}{more} }}\n"
        )
    };
    let site = Databases::with_files([("r.yaml", &*role("old", "")), ("s.yaml", &*schema("sold", ""))]);
    site.apply();
    site.by_hand("postgres", "CREATE TABLE sold.t (i int); INSERT INTO sold.t VALUES (7)");
    site.write("r.yaml", &role("new", ", renamed_from: old"));
    site.write("s.yaml", &schema("held", ", renamed_from: sold"));
    site.commit("Other names");
    let plan = site.tidelock(["plan", "--full"]).run().ok();
    let _ = plan.says("ALTER ROLE \"old\" RENAME TO \"new\"").never_says("DROP").never_says("CREATE ");
    site.apply();
    assert_eq!(site.by_hand("postgres", "SELECT i FROM held.t"), "7");
    assert_eq!(site.by_hand("postgres", "SELECT count(*) FROM pg_roles WHERE rolname IN ('old', 'new')"), "1");
}

#[test]
fn a_database_is_renamed_with_what_is_in_it() {
    let database = |name: &str, more: &str| {
        format!("kind: postgres.database\nname: d\non_remove: delete\nspec: {{ name: {name}{more} }}\n")
    };
    let within = |database: &str, role: &str| {
        format!(
            "kind: postgres.schema\nname: s\non_remove: delete\nspec: {{ database: {database}, name: s, owner: {role} }}\n---\n\
             kind: postgres.grant\nname: g\nspec: {{ role: {role}, database: {database}, on: database, privileges: [TEMP] }}\n---\n\
             kind: postgres.grant\nname: h\nspec: {{ role: {role}, database: {database}, schema: s, on: table, all: true, privileges: [SELECT] }}\n"
        )
    };
    let role = |name: &str, more: &str| {
        format!(
            "kind: postgres.role\nname: r\non_remove: delete\nspec: {{ name: {name}{more} }}\n---\n\
             kind: postgres.role\nname: m\nspec: {{ name: member, member_of: [{name}] }}\n"
        )
    };
    let site = Databases::with_files([
        ("d.yaml", &*database("one", "")),
        ("r.yaml", &*role("old", "")),
        ("in.yaml", &*within("one", "old")),
    ]);
    site.apply();
    site.by_hand("one", "CREATE TABLE t (i int); CREATE TABLE s.t (i int)");
    site.apply();
    site.write("d.yaml", &database("two", ", renamed_from: one"));
    site.write("r.yaml", &role("new", ", renamed_from: old"));
    site.write("in.yaml", &within("two", "new"));
    site.commit("Another name");
    let plan = site.tidelock(["plan", "--full"]).run().ok();
    let _ = plan.says("ALTER DATABASE \"one\" RENAME TO \"two\"").never_says("DROP").never_says("CREATE ");
    site.apply();
    assert_eq!(site.by_hand("two", "SELECT count(*) FROM t"), "0");
    let held = "SELECT has_table_privilege('new', 's.t', 'SELECT'), has_database_privilege('new', 'two', 'TEMP'), \
        pg_has_role('member', 'new', 'MEMBER')";
    assert_eq!(site.by_hand("two", held), "t|t|t");
}

#[test]
fn a_plugin_imports_what_it_uses_and_no_more() {
    let site = Databases::with_files([]);
    let _ = site.tidelock(["plugin", "inspect", "server"]).run().ok().never_says("tidelock:sql");
    let _ = site.tidelock(["plugin", "inspect", "yaml"]).run().ok().never_says("tidelock:sql");
    let postgres = site.tidelock(["plugin", "inspect", "postgres"]).run().ok();
    let _ = postgres.says("tidelock:sql/read").says("tidelock:sql/propose").never_says("tidelock:machine");
}

#[test]
fn a_setting_has_one_keeper() {
    let role = |more: &str| format!("kind: postgres.role\nname: r\nspec: {{ name: r{more} }}\n");
    let setting = |name: &str, value: &str| {
        format!("kind: postgres.setting\nname: s\nspec: {{ role: r, name: {name}, value: {value} }}\n")
    };
    let site = Databases::with_files([
        ("r.yaml", &*role(", settings: { work_mem: 8MB }")),
        ("s.yaml", &*setting("work_mem", "9MB")),
    ]);
    let plan = site.tidelock(["plan"]).run().exit(1);
    let _ = plan.says("work_mem of r").says("postgres.role/r").says("postgres.setting/s").says("s.yaml");
    // All of a role's settings are those of its spec and of whoever else speaks of one.
    site.write("r.yaml", &role(", settings: { work_mem: 8MB }, owns: all"));
    site.write("s.yaml", &setting("statement_timeout", "5s"));
    site.commit("Two settings");
    site.apply();
    site.converged();
    let kept = "SELECT setconfig FROM pg_db_role_setting";
    assert_eq!(site.by_hand("postgres", kept), "{work_mem=8MB,statement_timeout=5s}");
    site.by_hand("postgres", "ALTER ROLE r SET geqo = off");
    let _ = site.apply().says("RESET \"geqo\"").never_says("RESET \"statement_timeout\"");
    assert_eq!(site.by_hand("postgres", kept), "{work_mem=8MB,statement_timeout=5s}");
}

/// A site with the stacks `db` and `two`, both for the one server.
fn two_stacks(role: &str, setting: &str) -> Databases {
    let site = Databases::with_files([("r.yaml", role)]);
    site.repo().write("two/stack.yaml", "name: two\ntargets: pg\n").write("two/s.yaml", setting);
    site.commit("Two stacks");
    site
}

#[test]
fn a_setting_has_one_keeper_of_all_stacks() {
    const NONE: &str = "kind: postgres.role\nname: other\nspec: { name: other }\n";
    let role = "kind: postgres.role\nname: r\nspec: { name: r, settings: { Work_mem: 8MB } }\n";
    let database = "kind: postgres.database\nname: d\nspec: { name: d, settings: { geqo: off } }\n";
    let setting = |whose: &str, name: &str, value: &str| {
        format!("kind: postgres.setting\nname: s\nspec: {{ {whose}, name: {name}, value: {value} }}\n")
    };
    let site = two_stacks(role, NONE);
    site.apply();
    site.repo().write("two/s.yaml", setting("role: r", "work_mem", "9MB"));
    site.commit("A setting of the other stack's role");
    let kept = || site.by_hand("postgres", "SELECT setconfig FROM pg_db_role_setting");
    for _ in 0..2 {
        let ran = site.tidelock(["apply", "--yes"]).run().exit(4);
        let _ = ran.says("is claimed twice").says("infra:db:postgres.role/r").says("infra:two:postgres.setting/s");
        assert_eq!(kept(), "{work_mem=8MB}");
    }
    // Another parameter is nobody else's.
    site.repo().write("two/s.yaml", setting("role: r", "geqo", "off"));
    site.commit("Another parameter");
    site.apply();
    assert_eq!(kept(), "{work_mem=8MB,geqo=off}");
    // Whoever has it goes on, and the role's stack is refused it.
    site.write("r.yaml", &role.replace("8MB", "8MB, geqo: on"));
    site.commit("The role wants it, too");
    let _ = site.tidelock(["apply", "--yes"]).run().exit(4).says("is claimed twice");
    assert_eq!(kept(), "{work_mem=8MB,geqo=off}");

    let site = two_stacks(database, &setting("database: d", "geqo", "on"));
    let _ = site.tidelock(["apply", "--yes"]).run().says("is claimed twice").says("infra:db:postgres.database/d");
    assert_eq!(site.by_hand("postgres", "SELECT count(*) FROM pg_database WHERE datname = 'd'"), "0");
}

#[test]
fn a_setting_moves_between_its_role_and_a_resource_of_its_own() {
    let role = |more: &str| format!("kind: postgres.role\nname: r\nspec: {{ name: r{more} }}\n");
    let database = |more: &str| format!("kind: postgres.database\nname: d\nspec: {{ name: d{more} }}\n");
    let setting = |whose: &str, name: &str, value: &str| {
        format!("kind: postgres.setting\nname: {name}\nspec: {{ {whose}, name: {name}, value: {value} }}\n")
    };
    let within =
        |value: &str| (role(&format!(", settings: {{ work_mem: {value} }}")), database(", settings: { geqo: off }"));
    let (with, without) = (within("8MB"), (role(", settings: {}"), database("")));
    let site = Databases::with_files([("r.yaml", &*with.0), ("d.yaml", &*with.1)]);
    site.apply();
    let kept = || {
        site.by_hand("postgres", "SELECT string_agg(setconfig::text, ' ' ORDER BY setconfig) FROM pg_db_role_setting")
    };
    let to_their_own = |value: &str, more: &(String, String)| {
        site.write("r.yaml", &more.0);
        site.write("d.yaml", &more.1);
        site.write("s.yaml", &setting("role: r", "work_mem", value));
        site.write("t.yaml", &setting("database: d", "geqo", "off"));
        site.commit("To resources of their own");
    };
    let back = |value: &str| {
        let with = within(value);
        site.write("r.yaml", &with.0);
        site.write("d.yaml", &with.1);
        site.remove("s.yaml");
        site.remove("t.yaml");
        site.commit("Back to role and database");
    };
    to_their_own("8MB", &without);
    site.apply();
    assert_eq!(kept(), "{geqo=off} {work_mem=8MB}");
    back("8MB");
    let _ = site.apply().never_says("RESET");
    assert_eq!(kept(), "{geqo=off} {work_mem=8MB}");
    // With another value at once, and where the role says nothing of settings any more.
    to_their_own("9MB", &(role(""), database("")));
    site.apply();
    assert_eq!(kept(), "{geqo=off} {work_mem=9MB}");
    back("10MB");
    let _ = site.apply().never_says("RESET");
    assert_eq!(kept(), "{geqo=off} {work_mem=10MB}");
    // Nothing of it is left on record: what leaves Git now is reset.
    site.write("r.yaml", &without.0);
    site.commit("No more");
    site.apply();
    assert_eq!(kept(), "{geqo=off}");
}

#[test]
fn a_setting_that_the_server_would_refuse_is_refused_by_the_plan() {
    let site = Databases::with_files([]);
    let setting = |spec: &str| format!("kind: postgres.setting\nname: s\nspec: {{ {spec} }}\n");
    for (spec, says) in [
        ("name: block_size, value: 8192", "nobody can set it"),
        ("name: data_directory, value: /srv/pg", "ALTER SYSTEM refuses it"),
        ("name: Config_File, value: /srv/pg.conf", "ALTER SYSTEM refuses it"),
        ("name: transaction_isolation, value: serializable", "there is default_transaction_isolation"),
        ("name: shared_buffers, value: 1GB, role: postgres", "one for the whole server (its context is postmaster)"),
        ("name: archive_timeout, value: 60s, database: postgres", "one for the whole server (its context is sighup)"),
        ("name: log_connections, value: on, role: postgres", "fixed when a session begins"),
    ] {
        site.write("s.yaml", &setting(spec));
        site.commit("A setting");
        let _ = site.tidelock(["plan"]).run().exit(1).says(says).says("db/s.yaml:3:9");
    }
    site.remove("s.yaml");
    site.write("r.yaml", "kind: postgres.role\nname: r\nspec:\n  name: r\n  settings:\n    shared_buffers: 1GB\n");
    site.commit("A role's");
    let _ = site.tidelock(["plan"]).run().exit(1).says("one for the whole server").says("db/r.yaml:6");
    // What can be set by a superuser alone can be set, and so can what nobody knows yet.
    site.write(
        "r.yaml",
        "kind: postgres.role\nname: r\nspec:\n  name: r\n  settings: { log_statement: ddl, my.own: x }\n",
    );
    site.write("s.yaml", &setting("name: archive_timeout, value: 60s"));
    site.commit("What can be");
    // What is a superuser's to set is granted by its name.
    let _ = site.tidelock(["plan"]).run().says("sql = [\"setting:role/r//log_statement\"]");
    let config = site.world().read("tidelock.toml");
    site.world()
        .write("tidelock.toml", config.replace("sql = [\"**\"]", "sql = [\"**\", \"setting:role/*//log_statement\"]"));
    site.apply();
}
