//! Accounts of a real MariaDB server: who may sign in, and who is granted nothing since nobody is meant.

use tidelock_tests::{Databases, MariaDb};

const CLEAR: &str = "a-clear-hunter-9417";

/// The accounts that are there beside the server's own.
fn accounts(site: &Databases<MariaDb>) -> String {
    site.by_hand(
        "SELECT User, Host FROM mysql.global_priv WHERE User NOT IN ('root', 'mariadb.sys', 'admin') ORDER BY 1, 2",
    )
}

fn status(site: &Databases<MariaDb>) -> String {
    let told = site.tidelock(["status", "--output", "json"]).run().ok().json();
    told["lanes"][0]["status"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn a_grant_to_nobody_makes_no_account() {
    let site = Databases::on_mariadb([]);
    site.by_hand("CREATE DATABASE shop; CREATE USER app@127.0.0.1 IDENTIFIED BY 'its own'");
    site.write(
        "grant.yaml",
        "kind: mysql.grant\nname: app\nspec: { user: app, database: shop, privileges: [SELECT] }\n",
    );
    site.commit("A grant to nobody");
    let before = accounts(&site);
    let meant = "there is no account app@%, and no spec of this plan makes it; there is app@127.0.0.1";
    let _ = site.tidelock(["plan"]).run().ok().says(meant);
    assert_eq!(status(&site), "waiting");
    let _ = site.tidelock(["apply", "--yes"]).run().says(meant);
    assert_eq!((accounts(&site), status(&site).as_str()), (before, "waiting"));
    let _ = site.tidelock(["status", "--detailed-exitcode"]).run().exit(2).says("is waiting").says(meant);
    let _ = site.tidelock(["why"]).run().ok().says(meant).never_says("nothing is in its way");
    // Whatever a session of ours sends, the server makes nobody.
    let log = site.server().log();
    assert!(log.contains("NO_AUTO_CREATE_USER"), "{log}");

    site.write(
        "grant.yaml",
        "kind: mysql.grant\nname: app\nspec: { user: app, host: 127.0.0.1, database: shop, privileges: [SELECT] }\n",
    );
    site.commit("To the one who is there");
    site.apply();
    assert_eq!(status(&site), "converged");
    assert!(site.by_hand("SHOW GRANTS FOR app@127.0.0.1").contains("GRANT SELECT ON `shop`.*"));
}

#[test]
fn what_is_granted_on_a_later_table_waits_without_an_alarm() {
    let site = Databases::on_mariadb([]);
    site.by_hand("CREATE DATABASE shop; CREATE USER app");
    let grant =
        "kind: mysql.grant\nname: app\nspec: { user: app, database: shop, table: orders, privileges: [SELECT] }\n";
    site.write("grant.yaml", grant);
    site.commit("A table that the application makes");
    let _ = site.tidelock(["apply", "--yes"]).run().says("there is no table orders in shop yet");
    let _ = site.tidelock(["status", "--detailed-exitcode"]).run().exit(2).says("no table orders in shop yet");
    assert_eq!(status(&site), "waiting");

    // Beside something that is done, too.
    site.write("role.yaml", "kind: mysql.role\nname: staff\nspec: { name: staff }\n");
    site.commit("A role");
    let _ = site.tidelock(["apply", "--yes"]).run().says("there is no table orders in shop yet");
    assert_eq!(status(&site), "waiting");

    // What cannot be done at all is a failure, whatever else waits.
    site.write("user.yaml", "kind: mysql.user\nname: odd\nspec: { name: odd, plugin: unix_sockt }\n");
    site.commit("A plugin that there is not");
    let _ = site
        .tidelock(["apply", "--yes"])
        .run()
        .says("the server has no plugin unix_sockt")
        .says("did you mean unix_socket?");
    assert_eq!(status(&site), "failed");
    site.remove("user.yaml");
    site.by_hand("CREATE TABLE shop.orders (id int)");
    site.commit("And not");
    site.apply();
    assert_eq!(status(&site), "converged");
}

#[test]
fn an_account_that_is_made_without_a_password_lets_nobody_in() {
    let site = Databases::on_mariadb([]);
    site.by_hand("INSTALL SONAME 'auth_ed25519'; CREATE USER app IDENTIFIED BY 'its own'");
    site.write("app.yaml", "kind: mysql.user\nname: app\nspec: { name: app }\n");
    let more = "kind: mysql.user\nname: edward\nspec: { name: edward, plugin: ed25519 }\n---\n\
        kind: mysql.user\nname: here\nspec: { name: here, host: localhost, plugin: unix_socket }\n";
    site.write("more.yaml", more);
    site.commit("Accounts");
    let _ = site.tidelock(["plan"]).run().ok().never_says("lets everybody in");
    site.apply();
    assert!(site.server().signs_in("app", "its own"));

    site.by_hand("DROP USER app");
    let _ = site.tidelock(["plan", "--full"]).run().ok().says("USING 'invalid'");
    site.apply();
    for user in ["app", "edward"] {
        for password in ["", "invalid", "its own"] {
            assert!(!site.server().signs_in(user, password), "{user} with {password:?}");
        }
    }
    site.tidelock(["plan", "--detailed-exitcode"]).run().ok();
    assert!(site.by_hand("SHOW CREATE USER here@localhost").ends_with("IDENTIFIED VIA unix_socket"));

    // Nor one that proved itself otherwise so far.
    site.write("more.yaml", &more.replace("plugin: unix_socket", "plugin: mysql_native_password"));
    site.commit("By a password");
    site.apply();
    let kept = "SELECT JSON_VALUE(Priv, '$.authentication_string') FROM mysql.global_priv WHERE User = 'here'";
    assert_eq!(site.by_hand(kept), "invalid");

    // What somebody sets by hand stays.
    site.by_hand("SET PASSWORD FOR app = PASSWORD('another')");
    site.tidelock(["plan", "--detailed-exitcode"]).run().ok();
    assert!(site.server().signs_in("app", "another"));
}

#[test]
fn a_default_role_is_one_that_the_account_has() {
    let site = Databases::on_mariadb([]);
    site.by_hand("CREATE ROLE staff; CREATE USER web");
    site.write("web.yaml", "kind: mysql.user\nname: web\nspec: { name: web, default_role: staff }\n");
    site.commit("A default role");
    let _ = site.tidelock(["plan"]).run().exit(4).says("web@% is no member of staff").says("member_of");
    // One that is not there yet has none, and keeps nobody else waiting.
    site.write("more.yaml", "kind: mysql.user\nname: new\nspec: { name: new, default_role: staff }\n");
    site.write("good.yaml", "kind: mysql.user\nname: good\nspec: { name: good, plugin: unix_socket }\n");
    site.commit("Another one");
    let planned = site.tidelock(["plan"]).run().exit(4).says("new@% is no member of staff").says("more.yaml");
    let _ = planned.says("mysql.user/good").never_says("broke the contract");
    site.write("more.yaml", "kind: mysql.user\nname: new\nspec: { name: new }\n");
    site.commit("Without it");
    site.by_hand("GRANT staff TO web");
    site.apply();
    assert!(site.by_hand("SHOW GRANTS FOR web").contains("SET DEFAULT ROLE `staff`"));
}

#[test]
fn a_clear_password_in_git_is_said_nowhere() {
    let site = Databases::on_mariadb([]);
    site.write("app.yaml", &format!("kind: mysql.user\nname: app\nspec: {{ name: app, password: {CLEAR} }}\n"));
    site.commit("By mistake");
    for command in [
        &["plan"][..],
        &["plan", "--output", "json"],
        &["apply", "--yes"],
        &["status"],
        &["why"],
        &["events"],
        &["doctor"],
    ] {
        let ran = site.tidelock(command).run().never_says(CLEAR);
        if command[0] == "plan" {
            let _ = ran.says("a secret does not stand in Git; write { $secret: NAME }");
        }
    }
    let mut found = site.world().holding(CLEAR, &["infra", "server"]);
    // What was rendered of Git is kept in the store as it stands there.
    found.retain(|file| !file.contains("tidelock.db"));
    assert!(found.is_empty(), "{found:?}");

    let config = site.world().read("tidelock.toml");
    site.world().write("tidelock.toml", format!("{config}\n[secrets.app]\nfile = \"secrets/app\"\n"));
    site.world().secret("secrets/app", "another");
    site.write("app.yaml", "kind: mysql.user\nname: app\nspec: { name: app, pasword: { $secret: app } }\n");
    site.commit("By another");
    let _ = site.tidelock(["plan"]).run().says("unknown key `pasword`").says("did you mean `password`?");
}

#[test]
fn who_holds_something_on_everything_is_joined_by_nobody_that_may_not_grant_it() {
    let site = Databases::on_mariadb([("web.yaml", "kind: mysql.user\nname: w\nspec: { name: app_web }\n")]);
    site.apply();
    site.by_hand(
        "CREATE ROLE app_super; GRANT ALL ON *.* TO app_super; CREATE ROLE app_dba; GRANT app_super TO app_dba; GRANT app_super TO admin@127.0.0.1 WITH ADMIN OPTION; GRANT app_dba TO admin@127.0.0.1 WITH ADMIN OPTION",
    );
    let config = site.world().read("tidelock.toml");
    let (before, _) = config.split_once("sql = [").unwrap();
    let narrow = |more: &str| {
        let sql = format!("sql = [\"role:app_*\", \"user:app_*@*\", \"membership:app_*/app_*\"{more}]\n");
        site.world().write("tidelock.toml", format!("{before}{sql}"));
    };
    narrow("");
    let held = || site.by_hand("SELECT COUNT(*) FROM mysql.roles_mapping WHERE User = 'app_web'");
    for of in ["app_super", "app_dba"] {
        let user = format!("kind: mysql.user\nname: w\nspec: {{ name: app_web, member_of: [{of}] }}\n");
        site.write("web.yaml", &user);
        site.commit("More than it has");
        let _ = site.tidelock(["plan"]).run().says("sql = [\"grant:app_super//system\"]");
        let _ = site.tidelock(["apply", "--yes"]).run();
        assert_eq!(held(), "0", "{of}");
    }
    narrow(", \"grant:app_super//system\"");
    site.apply();
    assert_eq!(held(), "1");
}
