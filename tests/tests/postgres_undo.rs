//! Undo of what a database server holds: what was granted is taken back, what was taken back is
//! granted again, and a password that did not change is in nobody's way.

use tidelock_tests::Databases;

const ROLE: &str = "kind: postgres.role\nname: app\nspec: { name: app, login: true, connection_limit: LIMIT, \
                    password: { $secret: SECRET } }\n";
const GRANT: &str = "kind: postgres.grant\nname: sales\nspec: { role: app, database: app, on: schema, schema: sales, \
                     privileges: [LIST] }\n";
const DEFAULTS: &str = "kind: postgres.default-privileges\nname: tables\nspec: { owner: postgres, database: app, \
                        schema: sales, on: tables, role: app, privileges: [LIST] }\n";

fn site() -> Databases {
    let site = Databases::with_files([]);
    site.by_hand("postgres", "CREATE DATABASE app");
    site.by_hand("app", "CREATE SCHEMA sales");
    let secrets = ["first", "second"].map(|name| {
        site.world().secret(&format!("secrets/{name}"), format!("the-{name}-one"));
        format!("\n[secrets.{name}]\nfile = \"secrets/{name}\"\n")
    });
    let config = site.world().read("tidelock.toml") + &secrets.concat();
    site.world().write("tidelock.toml", config);
    site
}

fn undo(site: &Databases, address: &str) {
    site.tidelock(["undo", address, "--reason", "a mistake", "--yes"]).run().ok();
    site.converged();
}

#[test]
fn what_was_granted_and_taken_back_is_as_it_was() {
    let site = site();
    site.write("app.yaml", &ROLE.replace("LIMIT", "5").replace("SECRET", "first"));
    let may = |privilege: &str| {
        site.by_hand("app", &format!("SELECT has_schema_privilege('app', 'sales', '{privilege}')")).trim() == "t"
    };
    let granted = || site.by_hand("app", "SELECT count(*) FROM pg_default_acl").trim() == "1";
    site.write("sales.yaml", &GRANT.replace("LIST", "USAGE"));
    site.write("tables.yaml", &DEFAULTS.replace("LIST", "SELECT"));
    site.commit("Before");
    site.apply();
    site.write("sales.yaml", &GRANT.replace("LIST", "USAGE, CREATE"));
    site.commit("More");
    site.apply();
    assert!(may("CREATE"));
    undo(&site, "postgres.grant/sales");
    assert!(may("USAGE") && !may("CREATE"));
    site.tidelock(["undo", "postgres.grant/sales", "--end"]).run().ok();
    site.apply();
    assert!(may("CREATE"));

    site.write("sales.yaml", &GRANT.replace("LIST", "USAGE"));
    site.commit("Less");
    site.apply();
    assert!(!may("CREATE"));
    undo(&site, "postgres.grant/sales");
    assert!(may("USAGE") && may("CREATE"));

    assert!(granted());
    site.repo().remove("db/tables.yaml").commit("Without the defaults");
    site.apply();
    assert!(!granted());
    undo(&site, "postgres.default-privileges/tables");
    assert!(granted());
}

#[test]
fn a_password_that_did_not_change_is_in_nobodys_way() {
    let site = site();
    let role = |limit: &str, secret: &str| {
        site.write("app.yaml", &ROLE.replace("LIMIT", limit).replace("SECRET", secret));
        site.commit("The role");
        site.apply();
    };
    let kept = || site.by_hand("postgres", "SELECT rolconnlimit, rolpassword FROM pg_authid WHERE rolname = 'app'");
    role("5", "first");
    let before = kept();
    role("7", "first");
    undo(&site, "postgres.role/app");
    assert_eq!(kept(), before);
    site.tidelock(["undo", "postgres.role/app", "--end"]).run().ok();
    role("7", "second");
    let now = kept();
    let refused = site.tidelock(["undo", "postgres.role/app", "--yes"]).run().exit(64);
    let _ = refused.says("the old value of /password is withheld");
    assert_eq!(kept(), now);
}
