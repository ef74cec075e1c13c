//! The plugin `sqlite` on a real file: tables and indexes are made, changed by hand and healed,
//! changed in Git, and removed; what it cannot do is refused, and its queries only look.

use std::process::Command;

use tidelock_tests::{Repo, TestEnvironment, Tidelock};

const TABLE: &str = "kind: sqlite.table\nname: orders\nspec:\n  sql: |\n    CREATE TABLE orders (\n      id INTEGER PRIMARY KEY,\n      \
    price INTEGER NOT NULL DEFAULT 0, -- in cents\n      \"the note\" TEXT DEFAULT 'it''s; (odd)',\n      CHECK (price >= 0)\n    ) STRICT\n";
const INDEX: &str = "kind: sqlite.index\nname: by-price\nspec:\n  sql: CREATE INDEX by_price ON orders (price DESC, \"the note\") WHERE price > 0\n";

struct Site {
    repo: Repo,
    world: TestEnvironment,
}

impl Site {
    fn new() -> Self {
        let world = TestEnvironment::stocked();
        let repo = world.repo("infra");
        world.write("shop.db", "");
        world.write(
            "tidelock.toml",
            "[sources.infra]\nurl = \"infra\"\n\n[[sources.infra.allow]]\ntargets = [\"shop\"]\nkinds = [\"sqlite.*\"]\n\n\
             [targets.shop]\ntype = \"sqlite\"\nfile = \"shop.db\"\n\n\
             [grants.sqlite]\ntargets = [\"shop\"]\ndatabases = [\"main\"]\nsql = [\"table:main/*\", \"index:main/*\"]\n",
        );
        let site = Self { repo, world };
        site.tidelock(["plugin", "accept", "--all"]).run().ok();
        site.stack("");
        site
    }

    fn stack(&self, more: &str) {
        let text = "name: db\ntargets: shop\non_commit: apply\non_drift: apply\n";
        self.repo.write("db/stack.yaml", format!("{text}{more}"));
    }

    fn commit(&self, files: &[(&str, &str)]) {
        for (name, text) in files {
            self.repo.write(&format!("db/{name}"), text);
        }
        self.repo.commit("Another one");
    }

    fn tidelock<I: IntoIterator<Item: AsRef<str>>>(&self, arguments: I) -> Tidelock {
        self.world.tidelock(arguments)
    }

    #[track_caller]
    fn apply(&self) {
        self.tidelock(["apply", "--yes"]).run().ok();
        self.tidelock(["plan", "--detailed-exitcode"]).run().ok();
    }

    #[track_caller]
    fn by_hand(&self, sql: &str) -> String {
        let mut command = Command::new("sqlite3");
        let output = command.arg("-bail").arg(self.world.path("shop.db")).arg(sql).output().expect("sqlite3");
        assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text").trim_end().to_owned()
    }
}

#[test]
fn tables_and_indexes_are_made_healed_and_changed() {
    let site = Site::new();
    site.commit(&[("a.yaml", INDEX), ("b.yaml", TABLE)]);
    let plan = site.tidelock(["plan", "--full", "--output", "json"]).run().ok().json();
    assert_eq!(plan["groups"].as_array().unwrap().len(), 1, "one transaction: {plan}");
    site.apply();
    site.by_hand("INSERT INTO orders (price) VALUES (7)");
    assert_eq!(site.by_hand("SELECT * FROM orders"), "1|7|it's; (odd)");

    for (by_hand, found) in [
        ("DROP INDEX by_price", "CREATE INDEX \"by_price\" ON \"orders\" (price DESC, \"the note\") WHERE price > 0"),
        ("DROP INDEX by_price; CREATE UNIQUE INDEX by_price ON orders (price)", "DROP INDEX \"by_price\""),
        (
            "DROP INDEX by_price; ALTER TABLE orders DROP COLUMN \"the note\"",
            "ADD COLUMN \"the note\" TEXT DEFAULT 'it''s; (odd)'",
        ),
        ("ALTER TABLE orders ADD COLUMN theirs TEXT", ""),
    ] {
        site.by_hand(by_hand);
        if !found.is_empty() {
            let plan = site.tidelock(["plan", "--full", "--detailed-exitcode"]).run().exit(2);
            let _ = plan.says(found).says("drift");
        }
        site.stack("budget: { destroy: 1 }\n");
        site.repo.commit("A budget");
        site.apply();
    }
    // What Git adds is added at its end, and what Git drops goes; what is another's stays.
    let more = TABLE.replace("      CHECK", "      paid INTEGER NOT NULL DEFAULT 0,\n      CHECK");
    site.commit(&[("b.yaml", &more)]);
    site.apply();
    assert_eq!(site.by_hand("SELECT price, theirs, paid FROM orders"), "7||0");
    site.stack("budget: { destroy: 0 }\n");
    site.commit(&[("b.yaml", TABLE)]);
    let plan = site.tidelock(["plan", "--full"]).run();
    let _ = plan.says("destroys in main: ALTER TABLE \"orders\" DROP COLUMN \"paid\"").says("budget");
    site.apply();
    assert_eq!(site.by_hand("SELECT name FROM pragma_table_info('orders')"), "id\nprice\nthe note\ntheirs");
}

#[test]
fn a_table_that_is_made_destroys_nothing_whatever_its_keys_do_later() {
    let site = Site::new();
    let lines = "kind: sqlite.table\nname: lines\nspec:\n  sql: CREATE TABLE lines (id INTEGER PRIMARY KEY ON CONFLICT REPLACE, \
        of INTEGER REFERENCES orders (id) ON DELETE CASCADE ON UPDATE CASCADE{more})\n";
    site.commit(&[("a.yaml", TABLE), ("b.yaml", &lines.replace("{more}", ""))]);
    site.stack("budget: { destroy: 0 }\n");
    site.commit(&[]);
    let _ = site.tidelock(["plan", "--full"]).run().ok().says("ON DELETE CASCADE").never_says("destroys");
    site.apply();
    let more = ", other INTEGER REFERENCES orders (id) ON DELETE CASCADE";
    site.commit(&[("b.yaml", &lines.replace("{more}", more))]);
    let _ = site.tidelock(["plan", "--full"]).run().ok().says("ADD COLUMN").never_says("destroys");
    site.apply();
}

#[test]
fn what_leaves_git_is_released_protected_or_dropped_as_it_says() {
    let site = Site::new();
    let deleted = TABLE.replace("name: orders\n", "name: orders\non_remove: delete\nprotect: true\n");
    let released = "kind: sqlite.table\nname: log\nspec: { sql: CREATE TABLE log (line) }\n";
    site.stack("budget: { destroy: 5 }\n");
    site.commit(&[("a.yaml", INDEX), ("b.yaml", &deleted), ("c.yaml", released)]);
    site.apply();
    for file in ["db/a.yaml", "db/c.yaml"] {
        site.repo.remove(file);
    }
    site.repo.commit("Neither");
    site.apply();
    assert_eq!(site.by_hand("SELECT name FROM sqlite_schema ORDER BY 1"), "log\norders", "a table holds data");
    site.repo.remove("db/b.yaml");
    site.commit(&[("d.yaml", "kind: sqlite.table\nname: d\nspec: { sql: CREATE TABLE d (i) }\n")]);
    let _ = site.tidelock(["plan"]).run().says("protect");
    site.commit(&[("b.yaml", &deleted.replace("protect: true", "protect: false"))]);
    site.apply();
    site.repo.remove("db/b.yaml");
    site.repo.commit("Not any more");
    let _ = site.tidelock(["plan", "--full"]).run().ok().says("destroys in main: DROP TABLE \"orders\"");
    site.apply();
    assert_eq!(site.by_hand("SELECT name FROM sqlite_schema ORDER BY 1"), "d\nlog");
}

#[test]
fn what_sqlite_cannot_change_is_refused_with_the_field() {
    let site = Site::new();
    site.commit(&[("b.yaml", TABLE)]);
    site.apply();
    for (from, to, says) in [
        ("price INTEGER", "price TEXT", "the column price is INTEGER NOT NULL DEFAULT 0 and would be TEXT"),
        ("price >= 0", "price > 0", "the constraints of orders would be others"),
        (") STRICT", ")", "the options of orders would be others"),
        ("      CHECK", "      code TEXT UNIQUE,\n      CHECK", "the new column code would be a key"),
        ("      CHECK", "      code TEXT NOT NULL,\n      CHECK", "would have no value in rows that are there"),
        ("CREATE TABLE", "CREATE TEMP TABLE", "it is no CREATE TABLE"),
        (") STRICT", ") STRICT; DROP TABLE orders", "more than one statement"),
    ] {
        site.commit(&[("b.yaml", &TABLE.replace(from, to))]);
        let _ = site.tidelock(["plan"]).run().says(says);
        let ran = site.tidelock(["apply", "--yes"]).run();
        assert_ne!(ran.code, 0, "{}", ran.story());
    }
    assert_eq!(site.by_hand("SELECT COUNT(*) FROM pragma_table_info('orders')"), "3");
}

#[test]
fn what_is_there_is_imported_and_a_file_in_its_place_is_another_target() {
    let site = Site::new();
    site.by_hand("CREATE TABLE People (\"Name\" text primary key, Age int) WITHOUT ROWID; CREATE UNIQUE INDEX [by age] ON People (Age)");
    site.tidelock(["import", "shop", "--into", "infra/db"]).run().ok();
    site.repo.commit("What is there");
    let plan = site.tidelock(["plan", "--output", "json"]).run().ok().json();
    assert!(
        plan["groups"].as_array().unwrap().iter().all(|group| group["effects"].as_array().unwrap().is_empty()),
        "{plan}"
    );
    site.apply();
    let before = site.by_hand("SELECT lower(name), type FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY 1");
    site.by_hand("DROP INDEX \"by age\"; DROP TABLE People");
    site.apply();
    assert_eq!(site.by_hand("SELECT lower(name), type FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY 1"), before);
    std::fs::copy(site.world.path("shop.db"), site.world.path("copy.db")).unwrap();
    std::fs::rename(site.world.path("copy.db"), site.world.path("shop.db")).unwrap();
    let _ = site.tidelock(["plan"]).run().says("target accept");
}

#[test]
fn a_config_without_a_file_or_with_our_own_is_refused() {
    let site = Site::new();
    site.commit(&[("b.yaml", TABLE)]);
    let config = site.world.read("tidelock.toml");
    let with = |line: &str| {
        site.world.write("tidelock.toml", config.replace("file = \"shop.db\"\n", line));
        site.tidelock(["doctor", "--offline"]).run().exit(1)
    };
    let _ = with("").says("is a database in a file, and names none");
    let _ = with("file = \"shop.db\"\nhost = \"db\"\n").says("is no database server");
    let _ = with("file = \"tidelock.db\"\n").says("holds Tidelock's own files");
    let _ = with("file = \"missing.db\"\n").says("touch ");
    site.world.write("tidelock.toml", config.replace("type = \"sqlite\"\n", "type = \"machine\"\n"));
    let _ = site.tidelock(["doctor", "--offline"]).run().exit(1).says("is no database in a file");
}
