//! The account of MariaDB that Tidelock itself signs in as, changed from Git: tried before the old
//! one goes, and put back where it would keep us out.

use tidelock_tests::{Databases, MariaDb, mariadb};

const SECOND: &str = "battery-staple-2846";

const OWN: &str = "kind: mysql.user\nname: own\nspec:\n  name: admin\n  host: 127.0.0.1\n  plugin: mysql_native_password\n  \
    password: { $secret: own }\n  require: ssl\n";

/// A site whose stack has the very account that it signs in as, as it is.
fn own() -> Databases<MariaDb> {
    let site = Databases::on_mariadb([("own.yaml", OWN)]);
    let config = site.world().read("tidelock.toml");
    site.world().write("tidelock.toml", format!("{config}\n[secrets.own]\nfile = \"secrets/own\"\n"));
    site.world().secret("secrets/own", mariadb::PASSWORD);
    site.apply();
    site
}

#[test]
fn the_password_that_tidelock_signs_in_with_is_tried_before_the_old_one_goes() {
    let site = own();
    let signs_in = |password: &str| site.server().signs_in(mariadb::USER, password);
    site.world().secret("secrets/own", SECOND);
    site.write("role.yaml", "kind: mysql.role\nname: staff\nspec: { name: staff }\n");
    site.commit("A password that the target does not know, and a role");
    let plan = site.tidelock(["plan"]).run().ok();
    let _ = plan.says("own-access: Tidelock itself signs in as admin@127.0.0.1").never_says(SECOND);
    let refused = site.tidelock(["apply", "--yes"]).run().exit(4).never_says(SECOND);
    let _ = refused.says("tried and put back").says("Access denied").says("next_password = ");
    assert!(signs_in(mariadb::PASSWORD) && !signs_in(SECOND));
    assert_eq!(site.by_hand("SELECT COUNT(*) FROM mysql.user WHERE User = 'staff'"), "1", "the rest stands");

    // A target that has the new one too is let in with either.
    let config = site.world().read("tidelock.toml");
    let password = "password = { file = \"db.password\" }";
    let next = format!("{password}\nnext_password = {{ file = \"secrets/own\" }}");
    site.world().write("tidelock.toml", config.replace(password, &next));
    site.apply();
    assert!(signs_in(SECOND) && !signs_in(mariadb::PASSWORD));
    site.world().write("tidelock.toml", config.replace("db.password", "secrets/own"));
    site.converged();
    assert_eq!(site.world().holding(SECOND, &["secrets"]), Vec::<String>::new());
    assert!(!site.server().log().contains(SECOND));
}

#[test]
fn nobody_locks_tidelock_out_of_mariadb_by_a_commit() {
    let site = own();
    let is = "SELECT Priv FROM mysql.global_priv WHERE User = 'admin'";
    let shown = || site.by_hand("SHOW CREATE USER admin@127.0.0.1");
    let before = shown();
    assert!(!site.by_hand(is).is_empty());
    for (from, to, says) in
        [("require: ssl", "require: x509", "Access denied"), ("require: ssl", "locked: true", "account is locked")]
    {
        site.write("own.yaml", &OWN.replace(from, to));
        site.commit("Out");
        let refused = site.tidelock(["apply", "--yes"]).run().exit(1);
        let _ = refused.says("tried and put back").says(says).never_says("next_password");
        assert_eq!(shown(), before);
    }
    site.write("own.yaml", OWN);
    site.commit("As it was");
    site.converged();
    // Out of Git for good: it was there before, so it is let be.
    site.remove("own.yaml");
    site.write("role.yaml", "kind: mysql.role\nname: staff\nspec: { name: staff }\n");
    site.commit("Gone");
    site.apply();
    assert!(site.server().signs_in(mariadb::USER, mariadb::PASSWORD));
}

/// A site that signs in as an account of its own, which has what is given.
fn keeper(rights: &str) -> Databases<MariaDb> {
    let site = Databases::on_mariadb([]);
    site.by_hand(&format!(
        "CREATE DATABASE shop; CREATE ROLE keepers; CREATE USER web@'%'; \
         CREATE USER keeper@127.0.0.1 IDENTIFIED BY '{}' REQUIRE SSL; {rights}",
        mariadb::PASSWORD
    ));
    let config = site.world().read("tidelock.toml");
    let user = format!("user = {:?}", mariadb::USER);
    site.world().write("tidelock.toml", config.replace(&user, "user = \"keeper\""));
    site
}

fn grant(site: &Databases<MariaDb>, spec: &str) {
    site.write("g.yaml", &format!("kind: mysql.grant\nname: g\nspec: {{ {spec} }}\n"));
    site.commit("A grant");
}

#[test]
fn what_tidelock_holds_itself_is_not_taken_by_a_commit() {
    let site =
        keeper("GRANT ALL ON *.* TO keeper@127.0.0.1 WITH GRANT OPTION; GRANT ALL ON shop.* TO keeper@127.0.0.1");
    let held = || site.by_hand("SHOW GRANTS FOR keeper@127.0.0.1");
    let before = held();
    for (spec, says) in [
        ("user: keeper, host: 127.0.0.1, privileges: [SELECT], owns: all", "which it could not give back to itself"),
        (
            "user: keeper, host: 127.0.0.1, privileges: [ALL], owns: all",
            "takes GRANT OPTION on everything (*.*) from it",
        ),
    ] {
        grant(&site, spec);
        let _ = site.tidelock(["plan"]).run().exit(4).says("Tidelock signs in as keeper@127.0.0.1").says(says);
        let _ = site.tidelock(["apply", "--yes"]).run().exit(4);
        assert_eq!(held(), before);
    }
    // What it has everywhere it does not lose with a part.
    grant(&site, "user: keeper, host: 127.0.0.1, database: shop, privileges: [SELECT], owns: all");
    site.apply();
    assert!(held().contains("GRANT SELECT ON `shop`.*"), "{}", held());
    grant(&site, "user: keeper, host: 127.0.0.1, privileges: [ALL], grant_option: true, owns: all");
    site.apply();
}

#[test]
fn nor_is_what_it_holds_by_the_role_that_its_sessions_begin_with() {
    let site = keeper(
        "GRANT ALL ON *.* TO keepers WITH GRANT OPTION; GRANT keepers TO keeper@127.0.0.1 WITH ADMIN OPTION; \
         CREATE ROLE others; GRANT others TO keeper@127.0.0.1 WITH ADMIN OPTION; \
         SET DEFAULT ROLE keepers FOR keeper@127.0.0.1",
    );
    let user =
        |spec: &str| format!("kind: mysql.user\nname: keeper\nspec: {{ name: keeper, host: 127.0.0.1, {spec} }}\n");
    for (text, says) in [
        (
            "kind: mysql.grant\nname: x\nspec: { role: keepers, privileges: [SELECT], owns: all }\n".to_owned(),
            "from its role keepers",
        ),
        (user("member_of: [others], owns: all"), "takes the role keepers from it"),
        (user("default_role: \"\""), "takes the default role keepers from it"),
    ] {
        site.write("x.yaml", &text);
        site.commit("Less");
        let _ = site.tidelock(["plan"]).run().exit(4).says(says).says("take it away by hand");
    }
    site.write("x.yaml", &user("member_of: { keepers: { admin: true } }, owns: all"));
    site.commit("Without the other role");
    site.apply();
    site.write("x.yaml", "kind: mysql.role\nname: keepers\nspec: { name: keepers }\n");
    site.commit("The role itself");
    site.apply();
    site.remove("x.yaml");
    site.write("y.yaml", "kind: mysql.role\nname: staff\nspec: { name: staff }\n");
    site.commit("Gone");
    site.tidelock(["apply", "--yes"]).run();
    assert!(site.by_hand("SHOW GRANTS FOR keeper@127.0.0.1").contains("SET DEFAULT ROLE `keepers`"));
}

#[test]
fn what_tidelock_may_not_give_away_is_told_with_what_gives_it_the_right() {
    let reads = "GRANT SELECT ON mysql.* TO keeper@127.0.0.1; GRANT CREATE USER ON *.* TO keeper@127.0.0.1";
    let site = keeper(&format!("{reads}; GRANT SELECT, INSERT ON shop.* TO keeper@127.0.0.1"));
    for (spec, says) in [
        (
            "user: web, database: shop, privileges: [SELECT, DELETE]",
            "GRANT DELETE ON `shop`.* TO 'keeper'@'127.0.0.1' WITH GRANT OPTION",
        ),
        (
            "user: web, database: shop, privileges: [SELECT]",
            "GRANT USAGE ON `shop`.* TO 'keeper'@'127.0.0.1' WITH GRANT OPTION",
        ),
        ("user: web, privileges: [PROCESS]", "GRANT PROCESS ON *.* TO 'keeper'@'127.0.0.1' WITH GRANT OPTION"),
    ] {
        grant(&site, spec);
        let _ = site.tidelock(["plan"]).run().exit(4).says("Tidelock signs in as keeper@127.0.0.1").says(says);
    }
    site.by_hand("GRANT USAGE ON shop.* TO keeper@127.0.0.1 WITH GRANT OPTION");
    grant(&site, "user: web, database: shop, privileges: [SELECT]");
    site.apply();
    // Roles that others made are theirs to give.
    site.write("g.yaml", "kind: mysql.user\nname: web\nspec: { name: web, member_of: [keepers] }\n");
    site.commit("A member");
    let plan = site.tidelock(["plan"]).run().exit(4);
    let _ = plan.says("GRANT `keepers` TO 'keeper'@'127.0.0.1' WITH ADMIN OPTION");
}
