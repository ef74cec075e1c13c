//! What a pass that finds nothing asks of a server: as many queries for hundreds of roles,
//! passwords and grants as for a few.

use tidelock_tests::Databases;

/// A site with so many roles that have passwords, and grants to each on a database, a schema and
/// a table.
fn site(roles: usize) -> Databases {
    let site = Databases::with_files([]);
    let config = site.world().read("tidelock.toml");
    site.world().write("tidelock.toml", format!("{config}\n[secrets.app]\nfile = \"app.password\"\n"));
    site.world().secret("app.password", "one for all\n");
    site.by_hand("postgres", "CREATE DATABASE app");
    site.by_hand("app", "CREATE SCHEMA sales; CREATE TABLE sales.orders (id int)");
    let each = |i: usize| {
        let grant = |name: &str, on: &str| {
            format!("kind: postgres.grant\nname: {name}-{i}\nspec: {{ role: role {i}, database: app, {on} }}\n---\n")
        };
        format!(
            "kind: postgres.role\nname: role-{i}\n\
             spec: {{ name: role {i}, login: true, password: {{ $secret: app }}, settings: {{ work_mem: 64MB }} }}\n---\n{}{}{}",
            grant("database", "on: database, privileges: [CONNECT]"),
            grant("schema", "on: schema, schema: sales, privileges: [USAGE]"),
            grant("table", "on: table, schema: sales, names: [orders], privileges: [SELECT]"),
        )
    };
    site.write("all.yaml", &(0..roles).map(each).collect::<String>());
    site.commit("Roles and what they may do");
    site.apply();
    site
}

/// The statements that the server logs while nothing is to be done.
fn asked(site: &Databases) -> Vec<String> {
    let before = site.server().log().len();
    site.converged();
    let log = site.server().log();
    let said = |line: &&str| line.contains("LOG:  statement: ") || line.contains("LOG:  execute ");
    log[before..].lines().filter(said).map(|line| line.split_once("LOG:  ").unwrap_or_default().1.to_owned()).collect()
}

#[test]
fn a_pass_that_finds_nothing_asks_as_much_for_many_as_for_few() {
    let few = asked(&site(3));
    let many = asked(&site(200));
    assert!(few.iter().any(|query| query.contains("rolpassword")), "the test would not notice: {few:#?}");
    assert_eq!(few.len(), many.len(), "for 3 roles: {few:#?}\nfor 200: {many:#?}");
}
