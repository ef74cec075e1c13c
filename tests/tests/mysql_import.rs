//! `import` on a real MariaDB server: what is there becomes resources, a plan of them changes
//! nothing, and they bring it back where it was lost.

use tidelock_tests::{Databases, MariaDb};

/// What a server of some years has.
const GROWN: &str = r#"
CREATE DATABASE my_shop CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci COMMENT 'the shop''s';
CREATE DATABASE `Odd.d``b 50%` CHARACTER SET latin1;
CREATE ROLE staff;
CREATE ROLE `the "admins"`;
GRANT staff TO `the "admins"` WITH ADMIN OPTION;
CREATE USER web@'%' IDENTIFIED BY 'known to nobody' REQUIRE SSL WITH MAX_USER_CONNECTIONS 30 MAX_STATEMENT_TIME 2.5;
CREATE USER 'o''dd "x"'@'10.0.0.0/255.0.0.0' IDENTIFIED VIA unix_socket REQUIRE SUBJECT '/CN=odd' AND ISSUER '/CN=ca' ACCOUNT LOCK;
CREATE USER reports@localhost IDENTIFIED VIA unix_socket OR mysql_native_password USING PASSWORD('also known to nobody');
GRANT staff TO web@'%';
SET DEFAULT ROLE staff FOR web@'%';
GRANT PROCESS, REPLICATION CLIENT ON *.* TO reports@localhost;
GRANT ALL ON *.* TO 'o''dd "x"'@'10.0.0.0/255.0.0.0' WITH GRANT OPTION;
GRANT SELECT, INSERT, UPDATE ON `my\_shop`.* TO web@'%' WITH GRANT OPTION;
GRANT ALL ON my_shop.* TO staff;
GRANT SELECT ON `test\_%`.* TO reports@localhost;
GRANT ALL PRIVILEGES ON `Odd.d``b 50\%`.* TO `the "admins"`;
GRANT SHOW VIEW ON `my\_shop`.* TO PUBLIC;
"#;
const WITHIN: &str = r#"
CREATE TABLE my_shop.orders (id int, price int, `no te` text);
CREATE FUNCTION my_shop.total() RETURNS int RETURN 1;
CREATE PROCEDURE my_shop.tidy() SELECT 1;
GRANT DELETE, UPDATE (price, `no te`) ON my_shop.orders TO web@'%';
GRANT EXECUTE ON FUNCTION my_shop.total TO staff WITH GRANT OPTION;
GRANT EXECUTE, ALTER ROUTINE ON PROCEDURE my_shop.tidy TO reports@localhost;
"#;
const WHO: [&str; 6] =
    ["web@'%'", "'o''dd \"x\"'@'10.0.0.0/255.0.0.0'", "reports@localhost", "staff", "`the \"admins\"`", "PUBLIC"];

fn grown() -> Databases<MariaDb> {
    let site = Databases::on_mariadb([]);
    site.by_hand(GROWN);
    site.by_hand(WITHIN);
    site
}

/// Writes what is there into the stack, and commits it.
fn import(site: &Databases<MariaDb>) -> String {
    let ran = site.tidelock(["import", "my", "--into", "infra/db"]).run().ok();
    site.commit("What the server has");
    ran.stdout
}

/// What the server says of all accounts and databases, whatever the order in which privileges on
/// columns were granted.
fn said(site: &Databases<MariaDb>) -> String {
    let of = |who: &&str| {
        let line = |line: &str| {
            let mut words: Vec<&str> = line.split([' ', ',', '(', ')']).filter(|word| !word.is_empty()).collect();
            words.sort_unstable();
            words.join(" ")
        };
        let mut lines: Vec<String> = site.by_hand(&format!("SHOW GRANTS FOR {who}")).lines().map(line).collect();
        lines.sort();
        lines.join("\n")
    };
    let mut said: Vec<String> = WHO.iter().map(of).collect();
    said.push(site.by_hand("SHOW CREATE DATABASE my_shop; SHOW CREATE DATABASE `Odd.d``b 50%`"));
    for user in &WHO[..3] {
        said.push(site.by_hand(&format!("SHOW CREATE USER {user}")));
    }
    said.join("\n")
}

#[test]
fn what_is_there_becomes_resources_and_a_plan_changes_nothing() {
    let site = grown();
    let before = said(&site);
    import(&site);
    let plan = site.tidelock(["plan", "--output", "json"]).run().ok().json();
    let groups = plan["groups"].as_array().unwrap();
    assert!(groups.iter().all(|group| group["effects"].as_array().unwrap().is_empty()), "{groups:#?}");
    site.apply();
    assert_eq!(said(&site), before, "taking it over changed something");
    // It is owned now, so there is nothing left to import, and drift is found.
    let again = site.tidelock(["import", "my", "--output", "json"]).run().ok().json();
    assert_eq!(again["resources"].as_array().unwrap().len(), 0, "{again}");
    site.by_hand("REVOKE SHOW VIEW ON `my\\_shop`.* FROM PUBLIC; REVOKE EXECUTE ON PROCEDURE my_shop.tidy FROM reports@localhost");
    let _ = site.tidelock(["plan", "--detailed-exitcode"]).run().exit(2).says("drift");
    site.apply();
    assert_eq!(said(&site), before);
}

#[test]
fn what_was_imported_brings_it_back_where_it_was_lost() {
    let site = grown();
    import(&site);
    site.apply();
    // What no spec can say, and nobody can read: until somebody gives it anew, nobody signs in.
    for user in ["reports@localhost", "web@'%'"] {
        site.by_hand(&format!("ALTER USER {user} IDENTIFIED VIA mysql_native_password USING 'invalid'"));
    }
    let before = said(&site);
    site.by_hand(
        "DROP DATABASE my_shop; DROP DATABASE `Odd.d``b 50%`; REVOKE ALL PRIVILEGES, GRANT OPTION FROM PUBLIC",
    );
    for user in &WHO[..3] {
        site.by_hand(&format!("DROP USER {user}"));
    }
    site.by_hand("DROP ROLE staff, `the \"admins\"`");
    // What is granted on tables and routines waits for them.
    let _ = site.tidelock(["apply", "--yes"]).run().says("there is no table orders in my_shop yet");
    site.by_hand(WITHIN.split("GRANT").next().unwrap_or_default());
    site.apply();
    assert_eq!(said(&site), before);
}

#[test]
fn it_writes_what_a_person_would() {
    let site = grown();
    let ran = site.tidelock(["import", "my", "--kind", "mysql.user"]).run().ok();
    let ran = ran.says("name: web").says("require: ssl").says("user_connections: 30").says("- staff").says("$secret");
    let ran = ran.says("in several ways").says("host: localhost").says("locked: true");
    let _ = ran.never_says("root").never_says("mariadb.sys").never_says("queries_per_hour").never_says("*");
    let ran = site.tidelock(["import", "my", "--kind", "mysql.grant"]).run().ok();
    let _ = ran
        .says("databases_like: my_shop")
        .says("database: my_shop")
        .says("- ALL")
        .says("role: public")
        .says("grant_option: true");
}

#[test]
fn who_needs_no_password_is_told_and_all_fields_find_what_is_changed_by_hand() {
    let site = grown();
    site.by_hand(
        "CREATE USER open@'%'; CREATE USER shut@'%' ACCOUNT LOCK; GRANT staff TO admin@'127.0.0.1' WITH ADMIN OPTION",
    );
    let ran = site.tidelock(["import", "my", "--kind", "mysql.user"]).run().ok();
    let ran = ran.says("mysql.user/open: it has no password: whoever reaches the server signs in as it");
    let _ = ran.says("--all-fields").never_says("shut: it has no password");
    let ran = site.tidelock(["import", "my", "--all-fields", "--into", "infra/db"]).run().ok();
    let _ = ran.never_says("--all-fields writes them");
    site.commit("All that the server has");
    let before = said(&site);
    let plan = site.tidelock(["plan", "--output", "json"]).run().ok().json();
    let groups = plan["groups"].as_array().unwrap();
    assert!(groups.iter().all(|group| group["effects"].as_array().unwrap().is_empty()), "{groups:#?}");
    site.apply();
    for by_hand in [
        "ALTER USER open@'%' REQUIRE X509",
        "ALTER USER open@'%' WITH MAX_USER_CONNECTIONS 1",
        "GRANT SUPER ON *.* TO reports@localhost",
        "GRANT staff TO open@'%'",
    ] {
        site.by_hand(by_hand);
        let _ = site.tidelock(["plan", "--detailed-exitcode"]).run().exit(2).says("drift");
        site.apply();
    }
    assert_eq!(said(&site), before);
}
