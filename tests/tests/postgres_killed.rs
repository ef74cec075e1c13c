//! `kill -9` of Tidelock, and of the server, at any moment of an apply with many statements:
//! what is a transaction happened whole or not at all, and the next pass converges.
//!
//! Run with few rounds among the other tests; `cargo xtask soak` runs more.

#![expect(clippy::print_stdout, reason = "a person who runs it for long wants to see the counts")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tidelock_tests::Databases;
use tidelock_tests::dice::{Dice, count};

const ROLES: usize = 150;

/// Roles that all say the number of the round, and as many grants that are others in every
/// second one.
fn resources(round: u64) -> String {
    let privileges = if round.is_multiple_of(2) { "[SELECT, UPDATE]" } else { "[INSERT, DELETE]" };
    (0..ROLES)
        .map(|i| {
            format!(
                "kind: postgres.role\nname: r{i:03}\nspec: {{ name: r{i:03}, connection_limit: {round} }}\n---\n\
                 kind: postgres.grant\nname: g{i:03}\n\
                 spec: {{ role: r{i:03}, database: app, schema: public, on: table, names: [t], privileges: {privileges} }}\n---\n"
            )
        })
        .collect()
}

fn commit(site: &Databases, round: u64) {
    site.write("all.yaml", &resources(round));
    site.commit(&format!("Round {round}"));
}

/// Which round the roles and the grants are of. Panics where some are of another than the rest.
#[track_caller]
fn state(site: &Databases, round: u64) -> (bool, bool) {
    let roles = site.by_hand(
        "postgres",
        "SELECT count(*), count(DISTINCT rolconnlimit), min(rolconnlimit) FROM pg_roles WHERE rolname ~ '^r[0-9]{3}$'",
    );
    let grants = site.by_hand(
        "app",
        "SELECT string_agg(privilege_type || n, ',' ORDER BY privilege_type) FROM (SELECT privilege_type, count(*) AS n \
         FROM pg_class c, aclexplode(c.relacl) a WHERE c.relname = 't' AND a.grantee <> c.relowner GROUP BY 1) all_of_them",
    );
    let of = |round: u64| match round.is_multiple_of(2) {
        true => format!("SELECT{ROLES},UPDATE{ROLES}"),
        false => format!("DELETE{ROLES},INSERT{ROLES}"),
    };
    let limit = |round: u64| format!("{ROLES}|1|{round}");
    assert!(roles == limit(round) || roles == limit(round - 1), "half of the roles: {roles}, in round {round}");
    assert!(grants == of(round) || grants == of(round - 1), "half of the grants: {grants}, in round {round}");
    (roles == limit(round), grants == of(round))
}

#[test]
fn whatever_is_killed_the_next_pass_converges_and_nothing_is_half_granted() {
    let mut site = Databases::with_files([("none.yaml", "")]);
    site.by_hand("postgres", "CREATE DATABASE app");
    site.by_hand("app", "CREATE TABLE t (a int)");
    commit(&site, 0);
    site.apply();
    // How long an undisturbed one writes.
    commit(&site, 1);
    let before = site.server().log().len();
    let mut child = site.begins_to_write("ALTER ROLE");
    let start = Instant::now();
    let committed = || site.server().log()[before..].matches("statement: COMMIT").count();
    while committed() < 2 && child.try_wait().expect("the process").is_none() {
        std::thread::sleep(Duration::from_micros(500));
    }
    let whole = u64::try_from(start.elapsed().as_micros()).expect("no such long time") * 5 / 4;
    assert!(child.wait().expect("the process").success());
    assert_eq!(state(&site, 1), (true, true));

    let mut dice = Dice::new();
    let rounds = count("TIDELOCK_SOAK_DATABASE_KILLS", 6);
    let mut interrupted = 0;
    let mut found: BTreeMap<(&str, bool, bool), usize> = BTreeMap::new();
    for round in 2..2 + rounds {
        commit(&site, round);
        let child = site.begins_to_write("ALTER ROLE");
        std::thread::sleep(Duration::from_micros(dice.below(whole)));
        let the_server = !round.is_multiple_of(2);
        interrupted += u64::from(site.kill(child, the_server));
        let whom = if the_server { "the server" } else { "tidelock" };
        let (roles, grants) = state(&site, round);
        *found.entry((whom, roles, grants)).or_default() += 1;
        site.apply();
        assert_eq!(state(&site, round), (true, true));
    }
    println!(
        "{rounds} kills, {interrupted} of them before the end; whom, and whether roles and grants were done: {found:?}"
    );
    assert!(
        interrupted * 3 >= rounds,
        "of {rounds} moments only {interrupted} were in the middle: the test sees nothing"
    );
}
