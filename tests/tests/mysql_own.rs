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
