//! The plugin `mysql` on a real MariaDB server: each kind is made, changed by hand and healed,
//! changed in Git, and removed, and a second plan is empty each time.

use tidelock_tests::{Databases, MariaDb};

/// A first commit of everything, by files. Names have what names may have.
const ACCOUNTS: &str = r#"
kind: mysql.role
name: staff
spec: { name: staff }
---
kind: mysql.role
name: odd
spec: { name: "R \"quoted\" `back` é", member_of: { staff: { admin: true } } }
---
kind: mysql.user
name: web
spec:
  name: web
  password: { $secret: web }
  require: ssl
  limits: { queries_per_hour: 9000, updates_per_hour: 8000, connections_per_hour: 700, user_connections: 30, statement_time: 1.5 }
  member_of: [staff]
  default_role: staff
---
kind: mysql.user
name: batch
spec:
  name: "o'dd \"b\" `c` é"
  host: 10.0.0.0/255.0.0.0
  plugin: unix_socket
  require: { subject: /CN=batch, issuer: /CN=it's the authority }
  locked: true
"#;
const DATABASES: &str = r#"
kind: mysql.database
name: shop
on_remove: delete
spec: { name: my_shop, charset: utf8mb4, collation: utf8mb4_unicode_ci, comment: "what it's \\ for" }
---
kind: mysql.database
name: odd
on_remove: delete
spec: { name: "We\"ird.d`b %x é", charset: utf8 }
"#;
const GRANTS: &str = r#"
kind: mysql.grant
name: everything
spec: { user: web, privileges: [PROCESS, REPLICATION CLIENT] }
---
kind: mysql.grant
name: shop
spec: { user: web, database: my_shop, privileges: [SELECT, INSERT, CREATE TEMPORARY TABLES], grant_option: true }
---
kind: mysql.grant
name: odd
spec: { role: "R \"quoted\" `back` é", database: "We\"ird.d`b %x é", privileges: [ALL] }
---
kind: mysql.grant
name: pattern
spec: { role: staff, databases_like: 'my\_s%', privileges: [SHOW VIEW] }
"#;
/// What is on things that somebody else makes.
const WITHIN: &str = r#"
kind: mysql.grant
name: columns
spec: { user: web, database: my_shop, table: "or.ders", privileges: [DELETE, { UPDATE: [price, "no \"te`"] }, { INSERT: [price] }] }
---
kind: mysql.grant
name: function
spec: { role: staff, database: my_shop, function: total, privileges: [EXECUTE], grant_option: true }
---
kind: mysql.grant
name: procedure
spec: { user: web, database: my_shop, procedure: tidy, privileges: [ALL] }
"#;
const MADE: &str = "CREATE TABLE my_shop.`or.ders` (id int, price int, `no \"te``` text); \
    CREATE FUNCTION my_shop.total() RETURNS int RETURN 1; CREATE PROCEDURE my_shop.tidy() SELECT 1";

const SECRET: &str = "[secrets.web]\nfile = \"secrets/web\"\n";
const FIRST: &str = "correct-horse-'7391";
const SECOND: &str = "battery-staple-\\2846";

fn everything() -> Databases<MariaDb> {
    let site = Databases::on_mariadb([]);
    let config = site.world().read("tidelock.toml");
    site.world().write("tidelock.toml", format!("{config}\n{SECRET}"));
    site.world().secret("secrets/web", FIRST);
    for (file, text) in [("accounts.yaml", ACCOUNTS), ("databases.yaml", DATABASES), ("grants.yaml", GRANTS)] {
        site.write(file, text);
    }
    site.commit("Everything");
    site
}

/// All that the server keeps of accounts and databases, but for when passwords were changed.
fn state(site: &Databases<MariaDb>) -> String {
    site.by_hand(
        "SELECT Host, User, JSON_REMOVE(Priv, '$.password_last_changed') FROM mysql.global_priv ORDER BY 1, 2; \
         SELECT * FROM mysql.db ORDER BY 1, 2, 3; SELECT Host, Db, User, Table_name, Table_priv, Column_priv FROM mysql.tables_priv ORDER BY 1, 2, 3, 4; \
         SELECT Host, Db, User, Table_name, Column_name, Column_priv FROM mysql.columns_priv ORDER BY 1, 2, 3, 4, 5; \
         SELECT Host, Db, User, Routine_name, Proc_priv FROM mysql.procs_priv ORDER BY 1, 2, 3, 4; \
         SELECT * FROM mysql.roles_mapping ORDER BY 1, 2, 3; \
         SELECT schema_name, default_collation_name, schema_comment FROM information_schema.schemata ORDER BY 1",
    )
}

#[test]
fn everything_in_one_first_commit_is_one_reviewed_plan() {
    let site = everything();
    site.write("within.yaml", WITHIN);
    site.commit("And what is within");
    let plan = site.tidelock(["plan", "--full"]).run().ok();
    let _ = plan
        .says("CREATE DATABASE `my_shop` CHARACTER SET 'utf8mb4' COLLATE 'utf8mb4_unicode_ci' COMMENT 'what it''s \\\\ for'")
        .says("CREATE USER `web`@`%` IDENTIFIED VIA `mysql_native_password` USING <secret web> REQUIRE SSL WITH")
        .says("REQUIRE SUBJECT '/CN=batch' AND ISSUER '/CN=it''s the authority' ACCOUNT LOCK")
        .says("ON `my\\_shop`.* TO `web`@`%` WITH GRANT OPTION")
        .says("GRANT SHOW VIEW ON `my\\_s%`.* TO `staff`")
        .says("there is no table or.ders in my_shop yet")
        .says("one by one");
    site.tidelock(["apply", "--yes"]).run().exit(4).says("what is granted on it follows once it is there");
    site.by_hand(MADE);
    site.apply();
    let grants = site.by_hand("SHOW GRANTS FOR web@'%'");
    for line in [
        "GRANT `staff` TO `web`@`%`",
        "GRANT PROCESS, BINLOG MONITOR ON *.* TO `web`@`%` IDENTIFIED BY PASSWORD",
        "REQUIRE SSL WITH MAX_QUERIES_PER_HOUR 9000 MAX_UPDATES_PER_HOUR 8000 MAX_CONNECTIONS_PER_HOUR 700 MAX_USER_CONNECTIONS 30 MAX_STATEMENT_TIME 1.500000",
        "GRANT SELECT, INSERT, CREATE TEMPORARY TABLES ON `my\\_shop`.* TO `web`@`%` WITH GRANT OPTION",
        "GRANT INSERT (`price`), UPDATE (`no \"te```, `price`), DELETE ON `my_shop`.`or.ders` TO `web`@`%`",
        "GRANT EXECUTE, ALTER ROUTINE ON PROCEDURE `my_shop`.`tidy` TO `web`@`%`",
        "SET DEFAULT ROLE `staff` FOR `web`@`%`",
    ] {
        assert!(grants.contains(line), "{line} is not in {grants}");
    }
    let odd = site.by_hand("SHOW GRANTS FOR `R \"quoted\" ``back`` é`");
    assert!(odd.contains("GRANT ALL PRIVILEGES ON `We\"ird.d``b \\%x é`.* TO `R \"quoted\" ``back`` é`"), "{odd}");
    assert!(odd.contains("GRANT `staff` TO `R \"quoted\" ``back`` é` WITH ADMIN OPTION"), "{odd}");
}

#[test]
fn what_is_changed_by_hand_is_found_and_healed() {
    let site = everything();
    site.apply();
    site.by_hand(MADE);
    site.write("within.yaml", WITHIN);
    site.commit("What is within");
    site.apply();
    let state_before = state(&site);
    for (by_hand, found) in [
        ("ALTER USER web@'%' REQUIRE NONE", "ALTER USER `web`@`%` REQUIRE SSL"),
        (
            "ALTER USER web@'%' WITH MAX_QUERIES_PER_HOUR 1 MAX_STATEMENT_TIME 0",
            "WITH MAX_QUERIES_PER_HOUR 9000 MAX_STATEMENT_TIME 1.5",
        ),
        (
            "ALTER USER web@'%' WITH MAX_UPDATES_PER_HOUR 0 MAX_CONNECTIONS_PER_HOUR 1 MAX_USER_CONNECTIONS 3",
            "WITH MAX_UPDATES_PER_HOUR 8000 MAX_CONNECTIONS_PER_HOUR 700 MAX_USER_CONNECTIONS 30",
        ),
        ("ALTER USER web@'%' IDENTIFIED VIA unix_socket", "IDENTIFIED VIA `mysql_native_password` USING <secret web>"),
        (
            "ALTER USER web@'%' IDENTIFIED VIA unix_socket OR mysql_native_password USING PASSWORD('another')",
            "IDENTIFIED VIA `mysql_native_password` USING <secret web>",
        ),
        ("SET PASSWORD FOR web@'%' = PASSWORD('another')", "USING <secret web>"),
        ("SET DEFAULT ROLE NONE FOR web@'%'", "SET DEFAULT ROLE `staff` FOR `web`@`%`"),
        ("DELETE FROM mysql.roles_mapping WHERE User = 'web'; FLUSH PRIVILEGES", "GRANT `staff` TO `web`@`%`"),
        ("DROP USER web@'%'", "CREATE USER `web`@`%`"),
        ("ALTER USER 'o''dd \"b\" `c` é'@'10.0.0.0/255.0.0.0' ACCOUNT UNLOCK", "ACCOUNT LOCK"),
        (
            "ALTER USER 'o''dd \"b\" `c` é'@'10.0.0.0/255.0.0.0' REQUIRE SUBJECT '/CN=other' AND CIPHER 'x'",
            "REQUIRE SUBJECT '/CN=batch' AND ISSUER",
        ),
        (
            "UPDATE mysql.roles_mapping SET Admin_option = 'N' WHERE User LIKE 'R %'; FLUSH PRIVILEGES",
            "GRANT `staff` TO `R \"quoted\" ``back`` é` WITH ADMIN OPTION",
        ),
        ("ALTER DATABASE my_shop CHARACTER SET latin1", "CHARACTER SET 'utf8mb4' COLLATE 'utf8mb4_unicode_ci'"),
        ("ALTER DATABASE my_shop COLLATE utf8mb4_bin", "ALTER DATABASE `my_shop` COLLATE 'utf8mb4_unicode_ci'"),
        ("ALTER DATABASE my_shop COMMENT 'other'", "COMMENT 'what it''s"),
        ("REVOKE PROCESS ON *.* FROM web@'%'", "GRANT PROCESS ON *.* TO `web`@`%`"),
        (
            "REVOKE GRANT OPTION ON `my\\_shop`.* FROM web@'%'",
            "GRANT USAGE ON `my\\_shop`.* TO `web`@`%` WITH GRANT OPTION",
        ),
        ("REVOKE INSERT ON `my\\_shop`.* FROM web@'%'", "GRANT INSERT ON `my\\_shop`.* TO `web`@`%`"),
        ("REVOKE SHOW VIEW ON `my\\_s%`.* FROM staff", "GRANT SHOW VIEW ON `my\\_s%`.* TO `staff`"),
        ("REVOKE DROP ON `We\"ird.d``b \\%x é`.* FROM `R \"quoted\" ``back`` é`", "GRANT DROP ON"),
        ("REVOKE UPDATE (price) ON my_shop.`or.ders` FROM web@'%'", "GRANT UPDATE (`price`) ON `my_shop`.`or.ders`"),
        ("REVOKE DELETE ON my_shop.`or.ders` FROM web@'%'", "GRANT DELETE ON `my_shop`.`or.ders`"),
        ("REVOKE ALL ON FUNCTION my_shop.total FROM staff", "GRANT EXECUTE ON FUNCTION `my_shop`.`total` TO `staff`"),
        (
            "REVOKE ALTER ROUTINE ON PROCEDURE my_shop.tidy FROM web@'%'",
            "GRANT ALTER ROUTINE ON PROCEDURE `my_shop`.`tidy`",
        ),
        ("DROP ROLE staff", "CREATE ROLE `staff`"),
    ] {
        site.by_hand(by_hand);
        let plan = site.tidelock(["plan", "--full", "--detailed-exitcode"]).run().exit(2);
        let _ = plan.says(found).says("drift");
        site.apply();
    }
    assert_eq!(state(&site), state_before);
}

#[test]
fn a_changed_commit_changes_the_server_and_no_more() {
    let site = everything();
    site.apply();
    site.by_hand("CREATE ROLE others; GRANT others TO web@'%'; GRANT others TO admin@'127.0.0.1' WITH ADMIN OPTION; GRANT DELETE ON `my\\_shop`.* TO web@'%'");
    let accounts = ACCOUNTS
        .replace("require: ssl", "require: x509")
        .replace("user_connections: 30, statement_time: 1.5", "user_connections: -1, statement_time: 2")
        .replace(
            "member_of: [staff]\n  default_role: staff",
            "member_of: [\"R \\\"quoted\\\" `back` é\"]\n  default_role: \"\"",
        )
        .replace("plugin: unix_socket", "plugin: mysql_native_password")
        .replace("locked: true", "locked: false")
        .replace("{ staff: { admin: true } }", "{ staff: {} }");
    let grants = GRANTS
        .replace("[SELECT, INSERT, CREATE TEMPORARY TABLES], grant_option: true", "[SELECT, UPDATE]")
        .replace("[PROCESS, REPLICATION CLIENT]", "[SHOW DATABASES]");
    site.write("accounts.yaml", &accounts);
    site.write("grants.yaml", &grants);
    site.commit("Others");
    site.apply();
    let grants = site.by_hand("SHOW GRANTS FOR web@'%'");
    for line in [
        "GRANT `others` TO `web`@`%`",
        "GRANT `R \"quoted\" ``back`` é` TO `web`@`%`",
        "GRANT SHOW DATABASES ON *.* TO",
        "REQUIRE X509 WITH MAX_QUERIES_PER_HOUR 9000 MAX_UPDATES_PER_HOUR 8000 MAX_CONNECTIONS_PER_HOUR 700 MAX_USER_CONNECTIONS -1 MAX_STATEMENT_TIME 2.000000",
    ] {
        assert!(grants.contains(line), "{line} is not in {grants}");
    }
    let held = |grants: &str, line: &str| grants.lines().any(|held| held == line);
    assert!(
        held(&grants, "GRANT SELECT, UPDATE, DELETE ON `my\\_shop`.* TO `web`@`%`"),
        "without the option: {grants}"
    );
    assert!(!grants.contains("`staff` TO") && !grants.contains("DEFAULT ROLE"), "what was listed is gone: {grants}");
    // `owns: all` takes the rest.
    site.write("accounts.yaml", &accounts.replace("default_role: \"\"", "default_role: \"\"\n  owns: all"));
    let all = GRANTS.replace("[SELECT, INSERT, CREATE TEMPORARY TABLES], grant_option: true", "[SELECT], owns: all");
    site.write("grants.yaml", &all);
    site.commit("All of it");
    site.apply();
    let grants = site.by_hand("SHOW GRANTS FOR web@'%'");
    assert!(held(&grants, "GRANT SELECT ON `my\\_shop`.* TO `web`@`%`") && !grants.contains("`others`"), "{grants}");
}

#[test]
fn what_leaves_git_leaves_the_server() {
    let site = everything();
    let before = state(&site);
    site.apply();
    site.by_hand(MADE);
    site.write("within.yaml", WITHIN);
    site.commit("What is within");
    site.apply();
    site.write("keep.yaml", "kind: mysql.role\nname: keep\nspec: { name: keep }\n");
    for file in ["accounts.yaml", "databases.yaml", "grants.yaml", "within.yaml"] {
        site.remove(file);
    }
    site.commit("Nothing but one");
    site.apply();
    site.by_hand("DROP ROLE keep");
    assert_eq!(state(&site), before);
}

#[test]
fn a_database_is_released_unless_somebody_says_more_and_a_definer_stays() {
    let site = Databases::on_mariadb([
        ("d.yaml", "kind: mysql.database\nname: d\nspec: { name: kept }\n"),
        ("u.yaml", "kind: mysql.user\nname: u\nspec: { name: maker, host: localhost, plugin: unix_socket }\n"),
        ("k.yaml", "kind: mysql.role\nname: k\nspec: { name: keep }\n"),
    ]);
    site.apply();
    site.by_hand("CREATE DEFINER=maker@localhost VIEW kept.v AS SELECT 1; CREATE TABLE kept.t (i int)");
    site.remove("d.yaml");
    site.remove("u.yaml");
    site.commit("Neither");
    let plan = site.tidelock(["plan", "--full"]).run();
    let _ = plan.says("maker@localhost is the definer of view kept.v").never_says("DROP DATABASE").says("release");
    site.by_hand("DROP VIEW kept.v");
    site.apply();
    assert_eq!(site.by_hand("SELECT COUNT(*) FROM kept.t"), "0");
    assert_eq!(site.by_hand("SELECT COUNT(*) FROM mysql.global_priv WHERE User = 'maker'"), "0");
}

#[test]
fn a_role_has_the_admin_that_it_was_made_with() {
    let site = Databases::on_mariadb([(
        "r.yaml",
        "kind: mysql.user\nname: dba\nspec: { name: dba, host: localhost, plugin: unix_socket }\n---\n\
         kind: mysql.role\nname: made\nspec: { name: made, admin: { user: dba, host: localhost } }\n---\n\
         kind: mysql.role\nname: other\nspec: { name: other, admin: { role: made } }\n",
    )]);
    site.apply();
    let mapping = site.by_hand("SELECT Host, User, Role, Admin_option FROM mysql.roles_mapping ORDER BY 3");
    assert_eq!(mapping, "localhost\tdba\tmade\tY\n\tmade\tother\tY");
}

#[test]
fn a_password_is_the_secrets_and_stands_nowhere() {
    let site = everything();
    let signs_in = |password: &str| site.server().signs_in("web", password);
    let _ = site.apply().never_says(FIRST);
    assert!(signs_in(FIRST) && !signs_in("another"));
    site.by_hand("SET PASSWORD FOR web@'%' = PASSWORD('another')");
    let _ = site.tidelock(["plan", "--full", "--detailed-exitcode"]).run().exit(2).says("drift").never_says(FIRST);
    site.apply();
    assert!(signs_in(FIRST) && !signs_in("another"), "what was changed by hand is healed");
    site.world().secret("secrets/web", SECOND);
    let plan = site.tidelock(["plan", "--save", "plan.json", "--full", "--detailed-exitcode"]).run().exit(2);
    let _ = plan.says("a secret changed").never_says(SECOND);
    let _ = site.apply().never_says(SECOND);
    assert!(signs_in(SECOND) && !signs_in(FIRST));
    // Only the secret's own file has it, and neither the server's log of all statements, which has no hash of it either.
    for value in [FIRST, SECOND, &SECOND.replace('\\', "\\\\"), &FIRST.replace('\'', "''")] {
        let found = site.world().holding(value, &["secrets"]);
        assert!(found.is_empty(), "{value} is in {found:?}");
        assert!(!site.server().log().contains(value), "the server's log has {value}");
    }
    let log = site.server().log();
    assert!(log.contains("START TRANSACTION") || log.contains("SELECT"), "all statements are logged");
    assert!(!log.contains("IDENTIFIED VIA `mysql_native_password` USING"), "a hash proves a password as well");
}

#[test]
fn what_cannot_be_is_refused_with_the_field() {
    let site = Databases::on_mariadb([]);
    let config = site.world().read("tidelock.toml");
    site.world().write("tidelock.toml", format!("{config}\n{SECRET}"));
    site.world().secret("secrets/web", FIRST);
    for (spec, says) in [
        ("kind: mysql.user\nname: a\nspec: { name: a, host: LocalHost }\n", "write \"localhost\""),
        (
            "kind: mysql.user\nname: a\nspec: { name: a, plugin: ed25519, password: { $secret: web } }\n",
            "cannot be had with ed25519",
        ),
        ("kind: mysql.user\nname: a\nspec: { name: a, require: tls }\n", "unknown variant `tls`"),
        (
            "kind: mysql.user\nname: a\nspec: { name: a, default_role: x, member_of: [y] }\n",
            "the default role x is none of `member_of`",
        ),
        ("kind: mysql.database\nname: a\nspec: { name: a, charset: utf8mb5 }\n", "did you mean utf8mb3"),
        (
            "kind: mysql.database\nname: a\nspec: { name: a, charset: utf8mb4, collation: latin1_bin }\n",
            "is none of utf8mb4",
        ),
        ("kind: mysql.database\nname: a\nspec: { name: mysql }\n", "belongs to the server"),
        (
            "kind: mysql.grant\nname: a\nspec: { user: a, role: b, privileges: [SELECT] }\n",
            "either a `user`, with its `host`, or a `role`",
        ),
        ("kind: mysql.grant\nname: a\nspec: { user: a, database: b, privileges: [SELCT] }\n", "did you mean SELECT?"),
        (
            "kind: mysql.grant\nname: a\nspec: { user: a, databases_like: 'b\\_c', privileges: [SELECT] }\n",
            "write `database: \"b_c\"`",
        ),
    ] {
        site.write("a.yaml", spec);
        site.commit(says);
        let _ = site.tidelock(["plan"]).run().exit(1).says(says);
    }
}

#[test]
fn a_role_that_is_nowhere_is_waited_for_and_a_table_may_come_later_where_the_grantee_makes_it() {
    let site = Databases::on_mariadb([("a.yaml", "kind: mysql.user\nname: a\nspec: { name: a, member_of: [staf] }\n")]);
    site.by_hand("CREATE DATABASE shop");
    site.write("s.yaml", "kind: mysql.role\nname: s\nspec: { name: staff }\n");
    site.commit("A role of another name");
    let _ = site.tidelock(["plan"]).run().says("there is no role staf, and no spec of this plan makes it");
    let _ = site.tidelock(["apply", "--yes"]).run().exit(4);
    assert_eq!(site.by_hand("SELECT COUNT(*) FROM mysql.user WHERE User = 'a'"), "0", "nothing of it is begun");
    site.by_hand("CREATE ROLE staf WITH ADMIN admin@127.0.0.1");
    let grant = |privileges: &str| {
        let spec = format!("{{ user: a, database: shop, table: later, privileges: {privileges} }}");
        format!("kind: mysql.grant\nname: g\nspec: {spec}\n")
    };
    site.write("g.yaml", &grant("[CREATE, SELECT, INSERT]"));
    site.commit("A table that the grantee makes");
    site.apply();
    let held = || site.by_hand("SHOW GRANTS FOR a@'%'");
    assert!(held().contains("GRANT SELECT, INSERT, CREATE ON `shop`.`later`"), "{}", held());
    site.write("g.yaml", &grant("[CREATE, SELECT, INSERT, DROP]"));
    site.commit("More");
    let _ = site.tidelock(["plan"]).run().says("there is no table later in shop yet");
    site.by_hand("CREATE TABLE shop.later (i int)");
    site.apply();
}

#[test]
fn privileges_on_a_pattern_need_a_grant_on_every_database() {
    let site = Databases::on_mariadb([(
        "g.yaml",
        "kind: mysql.role\nname: r\nspec: { name: r }\n---\n\
         kind: mysql.grant\nname: g\nspec: { role: r, databases_like: 'app%', privileges: [SELECT] }\n",
    )]);
    let config = site.world().read("tidelock.toml");
    site.world().write("tidelock.toml", config.replace("databases = [\"*\"]", "databases = [\"app*\"]"));
    let plan = site.tidelock(["plan"]).run();
    let _ = plan.says("may not grant anything on all databases like app%").says("databases = [\"*\"]");
    site.world().write("tidelock.toml", config);
    site.apply();
}
