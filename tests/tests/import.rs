//! `import` on a real server: what is there becomes resources, a plan of them changes nothing,
//! and they bring it back where it was lost.

use tidelock_tests::{Databases, Site};

/// What a server of some years has: roles, extensions, odd names, and privileges given and taken back.
const GROWN: &str = r#"
CREATE ROLE "App Owner";
CREATE ROLE staff;
CREATE ROLE web LOGIN CREATEDB CONNECTION LIMIT 20 VALID UNTIL '2030-01-31T00:00:00Z' PASSWORD 'known to nobody';
CREATE ROLE reports LOGIN NOINHERIT;
GRANT staff TO web WITH ADMIN OPTION;
GRANT staff TO reports;
CREATE ROLE migrate LOGIN IN ROLE "App Owner";
ALTER ROLE migrate SET role = 'App Owner';
ALTER ROLE web SET work_mem = '64MB';
COMMENT ON ROLE staff IS 'who works here';
CREATE DATABASE shop OWNER "App Owner" TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C.UTF-8';
REVOKE ALL ON DATABASE shop FROM PUBLIC;
GRANT CONNECT ON DATABASE shop TO web WITH GRANT OPTION;
GRANT CONNECT, TEMPORARY ON DATABASE shop TO reports;
ALTER ROLE web IN DATABASE shop SET search_path = sales, public;
ALTER ROLE web IN DATABASE shop SET role = 'staff';
"#;
const WITHIN: &str = r#"
CREATE EXTENSION hstore; CREATE EXTENSION pgcrypto; CREATE EXTENSION citext;
CREATE SCHEMA sales AUTHORIZATION "App Owner";
CREATE SCHEMA "Odd.Name";
GRANT USAGE ON SCHEMA sales TO web;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
REVOKE USAGE ON LANGUAGE plpgsql FROM PUBLIC;
GRANT USAGE ON LANGUAGE plpgsql TO web;
SET ROLE "App Owner";
ALTER DEFAULT PRIVILEGES IN SCHEMA sales GRANT SELECT ON TABLES TO web;
ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
"#;
const TABLES: &str = r#"
CREATE EXTENSION postgres_fdw;
CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw;
GRANT USAGE ON FOREIGN SERVER far TO reports;
GRANT USAGE ON FOREIGN DATA WRAPPER postgres_fdw TO web WITH GRANT OPTION;
SET ROLE "App Owner";
CREATE TABLE sales.orders (id int PRIMARY KEY, price int, note text);
CREATE TABLE sales."Order Lines" (id serial);
CREATE FUNCTION sales.total(int, character varying) RETURNS int LANGUAGE sql AS 'SELECT 1';
GRANT SELECT, INSERT ON sales.orders TO web;
GRANT UPDATE (price, note) ON sales.orders TO reports;
GRANT USAGE ON SEQUENCE sales."Order Lines_id_seq" TO web;
GRANT EXECUTE ON FUNCTION sales.total(int, character varying) TO reports;
"#;

fn grown(more: &[&str]) -> Databases {
    let site = Databases::with_files([]);
    for line in GROWN.lines().filter(|line| !line.is_empty()) {
        site.by_hand("postgres", line);
    }
    for script in [WITHIN].iter().chain(more) {
        site.by_hand("shop", script);
    }
    site
}

/// Writes what is there into the stack, and commits it.
fn import(site: &Databases) {
    site.tidelock(["import", "pg", "--into", "infra/db"]).run().ok();
    site.commit("What the server has");
}

/// What a dump says, whatever the order in which privileges were granted.
fn lines(dump: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = dump.lines().collect();
    lines.sort_unstable();
    lines
}

/// How many effects a plan of everything has.
fn effects(site: &Databases) -> String {
    let plan = site.tidelock(["plan", "--output", "json"]).run().ok().json();
    let groups = plan["groups"].as_array().unwrap();
    groups.iter().map(|group| format!("{}\n", group["effects"])).collect()
}

#[test]
fn what_is_there_becomes_resources_and_a_plan_changes_nothing() {
    let site = grown(&[TABLES]);
    let before = site.server().dump();
    import(&site);
    assert_eq!(effects(&site), "", "a plan of what was imported has effects");
    let grants = site.world().read("infra/db/postgres.grant.yaml");
    for on in ["foreign-server", "foreign-data-wrapper", "language"] {
        assert!(grants.contains(&format!("\"on\": {on}\n")), "{on}: {grants}");
    }
    assert_eq!(site.world().read("infra/db/postgres.setting.yaml").matches("database: shop").count(), 2);
    site.apply();
    assert_eq!(site.server().dump(), before, "taking it over changed something");
    // It is owned now, so there is nothing left to import, and drift is found.
    let again = site.tidelock(["import", "pg", "--output", "json"]).run().ok().json();
    assert_eq!(again["resources"].as_array().unwrap().len(), 0, "{again}");
    site.by_hand("shop", "GRANT CONNECT ON DATABASE shop TO PUBLIC; REVOKE INSERT ON sales.orders FROM web");
    let _ = site.tidelock(["plan", "--detailed-exitcode"]).run().exit(2).says("drift");
    site.apply();
    assert_eq!(lines(&site.server().dump()), lines(&before));
}

#[test]
fn what_was_granted_on_the_servers_own_and_on_what_extensions_brought_is_found() {
    let site = grown(&[TABLES]);
    site.by_hand("shop", "GRANT EXECUTE ON FUNCTION pg_catalog.pg_read_file(text) TO web");
    site.by_hand(
        "shop",
        "GRANT SELECT (rolname) ON pg_catalog.pg_authid TO web; CREATE EXTENSION IF NOT EXISTS pgcrypto",
    );
    site.by_hand("shop", "GRANT EXECUTE ON FUNCTION gen_salt(text) TO web; REVOKE EXECUTE ON FUNCTION gen_salt(text, integer) FROM PUBLIC");
    let before = site.server().dump();
    import(&site);
    let grants = site.world().read("infra/db/postgres.grant.yaml");
    for name in ["pg_read_file(text)", "pg_authid", "gen_salt(text)", "gen_salt(text, integer)"] {
        assert!(grants.contains(name), "{name}: {grants}");
    }
    assert_eq!(grants.matches("schema: pg_catalog").count(), 2, "{grants}");
    assert_eq!(effects(&site), "", "a plan of what was imported has effects");
    assert_eq!(site.server().dump(), before);
}

#[test]
fn all_fields_find_each_change_by_hand() {
    let site = grown(&[TABLES]);
    let ran = site.tidelock(["import", "pg", "--kind", "postgres.role"]).run().ok();
    let _ = ran
        .says("postgres.role/web, reports, migrate: if it has a password, that is left as it is")
        .says("--all-fields writes them");
    let before = site.server().dump();
    let ran = site.tidelock(["import", "pg", "--all-fields", "--into", "infra/db"]).run().ok();
    let _ = ran.never_says("--all-fields writes them");
    site.commit("All that the server has");
    let roles = site.world().read("infra/db/postgres.role.yaml");
    assert!(roles.contains("valid_until: infinity") && roles.contains("inherit: true"), "{roles}");
    assert_eq!(effects(&site), "", "a plan of what was imported has effects");
    site.apply();
    assert_eq!(site.server().dump(), before, "taking it over changed something");
    for (database, by_hand) in [
        ("postgres", "ALTER ROLE migrate NOINHERIT"),
        ("postgres", "ALTER ROLE migrate VALID UNTIL '2001-01-01'"),
        ("postgres", "GRANT staff TO migrate"),
        ("postgres", "ALTER ROLE migrate SET geqo = off"),
        ("postgres", "ALTER DATABASE shop CONNECTION LIMIT 3"),
        ("shop", "GRANT DELETE ON sales.orders TO web"),
        ("shop", "COMMENT ON SCHEMA sales IS 'mine'"),
    ] {
        site.by_hand(database, by_hand);
        let plan = site.tidelock(["plan", "--detailed-exitcode"]).run();
        assert_eq!(plan.code, 2, "{by_hand}: {}", plan.story());
        site.apply();
    }
    // Without an end and with one that never comes are the same, and spelled apart.
    let after = site.server().dump().replace(" VALID UNTIL 'infinity'", "");
    assert_eq!(lines(&after), lines(&before));
}

#[test]
fn what_alter_system_has_written_is_found_and_what_no_spec_can_say_is_told() {
    let site = grown(&[]);
    for set in
        ["work_mem = '5MB'", "search_path = 'a', \"B c\"", "log_min_duration_statement = 1500", "wal_level = logical"]
    {
        site.by_hand("postgres", &format!("ALTER SYSTEM SET {set}"));
    }
    site.by_hand("postgres", "SELECT pg_reload_conf(); ALTER ROLE ALL SET lock_timeout = '4s'");
    let ran = site.tidelock(["import", "pg", "--kind", "postgres.setting"]).run().ok();
    let ran = ran.says("name: server-work_mem").says("value: 5MB").says("- B c").says("value: 1500ms");
    let _ =
        ran.says("name: server-wal_level").says("ALTER ROLE ALL has set lock_timeout").never_says("max_connections");
    let json = site.tidelock(["import", "pg", "--output", "json"]).run().ok().json();
    assert_eq!(json["left_out"].as_array().map(Vec::len), Some(1), "{json}");
    import(&site);
    assert_eq!(effects(&site), "", "a plan of what was imported has effects");
    site.apply();
    site.by_hand("postgres", "ALTER SYSTEM RESET work_mem; SELECT pg_reload_conf()");
    let _ = site.apply().says("work_mem");
    assert_eq!(site.by_hand("postgres", "SHOW work_mem"), "5MB");
    // Who may not read the server's files cannot tell whose a setting is.
    site.by_hand("postgres", "CREATE ROLE reader LOGIN");
    let config = site.world().read("tidelock.toml");
    let reads = config.replace("user = \"postgres\"\n", "user = \"postgres\"\nread = { user = \"reader\" }\n");
    site.world().write("tidelock.toml", reads);
    let ran = site.tidelock(["import", "pg", "--kind", "postgres.setting", "--owned"]).run().ok();
    let _ = ran.says("settings of ALTER SYSTEM are left out").never_says("server-work_mem");
}

#[test]
fn what_was_imported_brings_it_back_where_it_was_lost() {
    let site = grown(&[]);
    // As whom somebody acts no wildcard opens.
    let config = site.world().read("tidelock.toml");
    let named = "sql = [\"**\", \"setting:role/*//role\", \"setting:role/*/*/role\"]";
    site.world().write("tidelock.toml", config.replace("sql = [\"**\"]", named));
    import(&site);
    site.apply();
    // The one thing that nobody can read.
    site.by_hand("postgres", "ALTER ROLE web PASSWORD NULL");
    let before = site.server().dump();
    site.by_hand("postgres", "DROP DATABASE shop");
    for role in ["web", "reports", "migrate", "staff", "\"App Owner\""] {
        site.by_hand("postgres", &format!("DROP ROLE {role}"));
    }
    assert_ne!(site.server().dump(), before);
    site.apply();
    assert_eq!(lines(&site.server().dump()), lines(&before));
}

#[test]
fn it_writes_what_a_person_would_and_over_nothing() {
    let site = grown(&[]);
    let ran = site.tidelock(["import", "pg", "--kind", "postgres.role"]).run().ok();
    let ran = ran.says("kind: postgres.role").says("name: web").says("connection_limit: 20").says("- staff");
    let _ = ran.never_says("superuser").never_says("pg_monitor").never_says("name: postgres\n").says("$secret");
    site.tidelock(["import", "pg", "--into", "there"]).run().ok();
    let _ = site.tidelock(["import", "pg", "--into", "there"]).run().exit(1).says("is there already");
    let mistyped = site.tidelock(["import", "pg", "--kind", "postgres.rol"]).run().exit(64);
    let _ = mistyped.says("has no kind postgres.rol").says("schema");
    let _ = site.tidelock(["import", "nobody"]).run().exit(64).says("there is no target nobody").says("declared: pg");
}

#[test]
fn names_that_nobody_can_read_are_found_like_others() {
    let site = Databases::with_files([]);
    for name in ["line\nbreak", "bell\u{7}", "zero\u{200b}width", "turned\u{202e}around"] {
        site.by_hand("postgres", &format!("CREATE ROLE \"{name}\""));
    }
    let before = site.server().dump();
    import(&site);
    let roles = site.world().read("infra/db/postgres.role.yaml");
    for name in ["line-break", "bell", "zero-width", "turned-around"] {
        assert!(roles.contains(&format!("name: {name}\n")), "{roles}");
    }
    assert_eq!(effects(&site), "", "a plan of what was imported has effects");
    site.apply();
    // They are changed and healed like others, too.
    site.by_hand("postgres", "ALTER ROLE \"line\nbreak\" CREATEDB");
    site.by_hand("postgres", "ALTER ROLE \"zero\u{200b}width\" CREATEDB");
    site.apply();
    assert_eq!(site.server().dump(), before);
}

#[test]
fn a_plugin_that_does_not_look_says_so() {
    let site = Site::new();
    let ran = site.tidelock(["import", "local"]).run().exit(64);
    let _ = ran.says("server cannot import");
}

#[test]
fn a_folder_of_no_stack_becomes_one() {
    let site = grown(&[]);
    let _ = site
        .tidelock(["import", "pg", "--kind", "postgres.role", "--into", "infra/grown"])
        .run()
        .ok()
        .says("infra/grown/stack.yaml: a new stack, grown, for pg");
    let text = std::fs::read_to_string(site.world().path("infra/grown/stack.yaml")).expect("a stack");
    assert_eq!(text, "name: grown\ntargets: pg\n");
    site.commit("What the server has");
    let plan = site.tidelock(["plan", "grown"]).run().ok();
    let _ = plan.says("Plan for grown on pg").says("postgres.role/web");

    let _ = site.tidelock(["import", "pg", "--kind", "postgres.database", "--into", "infra/grown/more"]).run().ok();
    assert!(!site.world().path("infra/grown/more/stack.yaml").exists(), "it belongs to the stack above it");
}
