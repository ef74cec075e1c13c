//! What is kept in the same way whoever keeps the links: settings and tables of nftables.

use super::{Files, Unkept, header, plain_word};

/// Settings are read from here in the order of the names, and the last one counts: after
/// `99-sysctl.conf`, which stands for /etc/sysctl.conf.
const SYSCTL: &str = "/etc/sysctl.d/99-tidelock-";
/// Included by /etc/nftables.conf, which is the operator's to write.
const NFTABLES: &str = "/etc/nftables.d/tidelock-";

/// The file of a setting.
pub(crate) fn sysctl(name: &String, value: &str) -> Result<Files, Unkept> {
    plain_word("/name", Some(name))?;
    let text = format!("{}{name} = {value}\n", header(&format!("sysctl:{name}")));
    Ok(Files::from([(format!("{SYSCTL}{}.conf", name.replace('/', ",")), text)]))
}

/// The file of a table, which puts it in place of one that is there already.
pub(crate) fn table(family: &str, name: &str, ruleset: &str) -> Result<Files, Unkept> {
    if let Some(word) = needs_links(ruleset) {
        let why = format!(
            "`{word}` needs its link to be there, which it is not when rulesets are loaded at the start; \
             write `iifname` or `oifname`"
        );
        return Err(Unkept { field: "/ruleset", why });
    }
    let head = header(&format!("nftables:{family}/{name}"));
    let text = format!("{head}table {family} {name}\ndelete table {family} {name}\n{}\n", ruleset.trim_end());
    Ok(Files::from([(format!("{NFTABLES}{family}-{name}.nft"), text)]))
}

/// The first word of a ruleset that means a link by its number. Without its links a ruleset is
/// refused as a whole, with all that is loaded beside it.
fn needs_links(ruleset: &str) -> Option<&'static str> {
    const WORDS: [&str; 4] = ["iif", "oif", "device", "devices"];
    ruleset.lines().find_map(|line| {
        // Between quotes stand names and comments.
        let bare = line.split('"').step_by(2).collect::<Vec<_>>().join(" ");
        // `lo` is always there.
        let lo = |word: &str| line.contains(&format!("{word} \"lo\""));
        let words: Vec<&str> = bare.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').collect();
        WORDS.into_iter().find(|word| words.contains(word) && !lo(word))
    })
}
