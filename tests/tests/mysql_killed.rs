//! `kill -9` of Tidelock, and of the server, at any moment of an apply with many statements on
//! MariaDB, where none of them is part of a transaction: the next pass converges.
//!
//! Run with few rounds among the other tests; `cargo xtask soak` runs more.

#![expect(clippy::print_stdout, reason = "a person who runs it for long wants to see the counts")]

use std::time::{Duration, Instant};

use tidelock_tests::dice::{Dice, count};
use tidelock_tests::{Databases, MariaDb};

const USERS: usize = 40;

/// Accounts that all say the number of the round, with grants that are others in every second one.
fn resources(round: u64) -> String {
    let privileges = if round.is_multiple_of(2) { "[SELECT, UPDATE]" } else { "[INSERT, DELETE]" };
    (0..USERS)
        .map(|i| {
            format!(
                "kind: mysql.user\nname: u{i:02}\n\
                 spec: {{ name: u{i:02}, plugin: unix_socket, limits: {{ user_connections: {round} }} }}\n---\n\
                 kind: mysql.grant\nname: g{i:02}\n\
                 spec: {{ user: u{i:02}, database: app, privileges: {privileges} }}\n---\n"
            )
        })
        .collect()
}

fn commit(site: &Databases<MariaDb>, round: u64) {
    site.write("all.yaml", &resources(round));
    site.commit(&format!("Round {round}"));
}

/// How many accounts, and how many grants, are of a round.
fn of(site: &Databases<MariaDb>, round: u64) -> (usize, usize) {
    let (some, others) = if round.is_multiple_of(2) { ("Y", "N") } else { ("N", "Y") };
    let accounts = site.by_hand(&format!(
        "SELECT COUNT(*) FROM mysql.global_priv WHERE User LIKE 'u__' AND JSON_VALUE(Priv, '$.max_user_connections') = {round}"
    ));
    let grants = site.by_hand(&format!(
        "SELECT COUNT(*) FROM mysql.db WHERE User LIKE 'u__' AND Select_priv = '{some}' AND Update_priv = '{some}' \
         AND Insert_priv = '{others}' AND Delete_priv = '{others}'"
    ));
    (accounts.parse().expect("a number"), grants.parse().expect("a number"))
}

#[test]
fn whatever_is_killed_the_next_pass_converges() {
    let mut site = Databases::on_mariadb([("d.yaml", "kind: mysql.database\nname: app\nspec: { name: app }\n")]);
    commit(&site, 0);
    site.apply();
    // How long an undisturbed one takes from its first statement to its end.
    commit(&site, 1);
    let mut child = site.begins_to_write("ALTER USER");
    let start = Instant::now();
    assert!(child.wait().expect("the process").success());
    let whole = u64::try_from(start.elapsed().as_micros()).expect("no such long time");
    assert_eq!(of(&site, 1), (USERS, USERS));

    let mut dice = Dice::new();
    let rounds = count("TIDELOCK_SOAK_DATABASE_KILLS", 4);
    let (mut interrupted, mut halves) = (0, 0);
    for round in 2..2 + rounds {
        commit(&site, round);
        let child = site.begins_to_write("ALTER USER");
        std::thread::sleep(Duration::from_micros(dice.below(whole)));
        let the_server = !round.is_multiple_of(2);
        interrupted += u64::from(site.kill(child, the_server));
        let (accounts, grants) = of(&site, round);
        halves += u64::from((1..USERS).contains(&accounts) || (1..USERS).contains(&grants));
        site.apply();
        assert_eq!(of(&site, round), (USERS, USERS));
    }
    println!("{rounds} kills, {interrupted} of them before the end; {halves} left a part of the statements done");
    assert!(
        interrupted * 3 >= rounds,
        "of {rounds} moments only {interrupted} were in the middle: the test sees nothing"
    );
}
