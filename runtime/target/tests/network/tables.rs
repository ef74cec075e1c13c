//! Tables of nftables: what a person may write comes back as it went.

use std::fs;

use tidelock_model::network::{NetworkEffect, Object, Table};

use crate::space::Space;

/// The links that the rulesets name.
const LINKS: [&str; 5] = ["wan0", "wan1", "lan0", "lan1", "dmz0"];

fn table_of(text: &str) -> (String, String) {
    let line = text.lines().find(|line| line.contains("table ")).unwrap();
    let mut words = line.split_whitespace().skip_while(|word| *word != "table").skip(1);
    (words.next().unwrap().to_owned(), words.next().unwrap().to_owned())
}

fn put(space: &Space, table: &Table) -> Result<(), tidelock_model::error::Fault> {
    space.network.perform(&NetworkEffect::Put { object: Object::Table(table.clone()) }, None)
}

#[test]
fn every_ruleset_is_seen_as_it_was_put() {
    let space = Space::with_links(&LINKS);
    let mut files: Vec<_> =
        fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/network/rulesets")).unwrap().flatten().collect();
    files.sort_by_key(fs::DirEntry::file_name);
    assert!(files.len() >= 60, "{} rulesets", files.len());
    for file in files {
        let (text, file) = (fs::read_to_string(file.path()).unwrap(), file.file_name());
        let (family, name) = table_of(&text);
        let wanted = space.network.normalise(&family, &name, &text).unwrap_or_else(|fault| panic!("{file:?}: {fault}"));
        let again = space.network.normalise(&family, &name, &wanted.ruleset).unwrap();
        assert_eq!(again, wanted, "{file:?}: its own spelling");
        // Twice: in place of nothing, and in place of itself.
        for _ in 0..2 {
            put(&space, &wanted).unwrap_or_else(|fault| panic!("{file:?}: {fault}"));
            let seen = space.see(&format!("nftables:{family}/{name}"));
            assert_eq!(seen, Some(Object::Table(wanted.clone())), "{file:?}");
        }
        space.remove(&format!("nftables:{family}/{name}")).unwrap();
        assert_eq!(space.see(&format!("nftables:{family}/{name}")), None);
    }
    assert_eq!(space.inside(&["nft", "list", "ruleset"]), "");
}

#[test]
fn what_packets_and_other_tools_made_is_left() {
    let space = Space::new();
    let text = "table inet t {\n set banned { type ipv4_addr; flags timeout; elements = { 10.0.0.1 } }\n \
                chain in { type filter hook input priority 0; ip saddr @banned counter drop; }\n}\n";
    let table = space.network.normalise("inet", "t", text).unwrap();
    put(&space, &table).unwrap();
    space.inside(&["nft", "add", "element", "inet", "t", "banned", "{ 10.0.0.9 timeout 1h }"]);
    space.inside(&["nft", "add", "table", "ip", "docker"]);
    assert_eq!(space.see("nftables:inet/t"), Some(Object::Table(table.clone())), "a ban is no drift");
    let more = space.network.normalise("inet", "t", &text.replace("10.0.0.1 }", "10.0.0.1, 10.0.0.2 }")).unwrap();
    put(&space, &more).unwrap();
    let listed = space.inside(&["nft", "list", "ruleset"]);
    assert!(listed.contains("10.0.0.9 timeout 1h expires 59m") && listed.contains("10.0.0.2"), "{listed}");
    assert!(listed.contains("table ip docker"), "{listed}");
    // An element of Git's that is gone is drift.
    space.inside(&["nft", "delete", "element", "inet", "t", "banned", "{ 10.0.0.1 }"]);
    assert_ne!(space.see("nftables:inet/t"), Some(Object::Table(more)));
}

#[test]
fn a_mistake_in_the_last_line_leaves_the_old_table() {
    let space = Space::with_links(&["wan0"]);
    let text = |last: &str| {
        format!(
            "table inet t {{\n chain in {{\n type filter hook input priority 0;\n tcp dport 22 accept\n {last}\n }}\n}}\n"
        )
    };
    let good = space.network.normalise("inet", "t", &text("counter")).unwrap();
    put(&space, &good).unwrap();
    let fault = space.network.normalise("inet", "t", &text("tcp dprot 5 drop")).unwrap_err();
    assert!(fault.code == "nft" && fault.message.contains("line 5"), "{fault}");
    // The link goes between the trial and the kernel: it refuses, and nothing changed.
    let worse = space.network.normalise("inet", "t", &text("iif \"wan0\" drop")).unwrap();
    space.ip(&["link", "delete", "wan0"]);
    assert!(put(&space, &worse).is_err());
    assert_eq!(space.see("nftables:inet/t"), Some(Object::Table(good)));
}

#[test]
fn a_text_says_one_table_and_nothing_else() {
    let space = Space::new();
    space.inside(&["nft", "add", "table", "ip", "docker"]);
    let normalise = |text: &str| space.network.normalise("inet", "t", text).unwrap_err();
    for text in ["table inet other { }", "table inet t { }\ntable ip docker { }", "", "table ip t { }"] {
        assert!(normalise(text).message.contains("and the resource is for table inet t alone"), "{text}");
    }
    assert_eq!(normalise("include \"/etc/shadow\"").code, "invalid");
    assert_eq!(
        normalise("table inet t {\n set s { type ipv4_addr; flags timeout; elements = { 10.0.0.1 timeout 1h } }\n}")
            .code,
        "invalid"
    );
    // What nft would not print back is refused where it would be performed, too.
    let clean = space.network.normalise("inet", "t", "table inet t { }").unwrap();
    for extra in
        ["flush ruleset\n", "delete table ip docker\n", "add table ip docker\n", "# remark\n", "include \"/etc/x\"\n"]
    {
        let dirty = Table { ruleset: format!("{extra}{}", clean.ruleset), ..clean.clone() };
        assert!(put(&space, &dirty).is_err_and(|fault| matches!(fault.code.as_str(), "invalid" | "nft")), "{extra}");
    }
    let listed = space.inside(&["nft", "list", "ruleset"]);
    assert_eq!(listed.trim(), "table ip docker {\n}");
}

#[test]
fn a_text_is_read_by_nft_only_where_it_is_about_tables() {
    let space = Space::new();
    let normalise = |text: &str| space.network.normalise("inet", "t", text);
    for (text, why) in [
        ("table inet t { }\nmonitor\n", "line 2: `monitor` is no part of a table"),
        ("list ruleset; table inet t { }", "line 1: `list ruleset` is no part of a table"),
        ("describe tcp dport", "line 1: `describe tcp` is no part of a table"),
    ] {
        let fault = normalise(text).unwrap_err();
        assert!(fault.code == "invalid" && fault.message == why, "{fault}");
    }
    let rule = |rule: &str| normalise(&format!("table inet t {{\n chain c {{\n  {rule}\n }}\n}}\n"));
    // Names of services say the same on every machine; those of its hosts and users do not.
    let known = rule("tcp dport { ssh, http } accept").unwrap();
    assert!(known.ruleset.contains("tcp dport { 22, 80 } accept"), "{}", known.ruleset);
    let fault = rule("ip saddr localhost accept").unwrap_err();
    assert!(fault.code == "nft" && fault.message.contains("line 3"), "{fault}");
    let fault = normalise(&format!("table inet t {{\n{}}}\n", "# much\n".repeat(2 << 20))).unwrap_err();
    assert_eq!(fault.code, "limit");
}
