//! Tables of nftables, through the system's own `nft`: its language is large, and whatever
//! else read or wrote it would be a second opinion of it.
//!
//! A table is a text as nft prints it (`listing`). What a person wrote is loaded into a
//! throw-away namespace and printed there (`trial`), and so is every text once more before
//! it goes to the target: only one that nft prints back byte for byte is let through, and
//! such a text says nothing but the one table. nft's JSON would be the other way; the
//! versions in use lose comments, merged intervals and devices in it. What nft is asked to read
//! at all is looked through first (`statements`), and it runs where it finds nothing but its
//! input (`program`), until what it lists is whole (`whole`). What it makes of a text is remembered (`kept`).

mod carry;
mod kept;
mod listing;
mod program;
mod statements;
pub(super) mod trial;
mod whole;

use std::path::Path;

use tidelock_model::error::Fault;
use tidelock_model::network::Table;

use self::listing::Listing;
use super::fault;

/// What is there under a family and name, in the namespace of this thread.
pub(super) fn list(family: &str, name: &str) -> Result<Option<Table>, Fault> {
    Ok(whole::listed(|| printed(&["-s"], family, name))?.map(|text| Table {
        family: family.to_owned(),
        name: name.to_owned(),
        ruleset: Listing::read(&text).lasting(),
    }))
}

/// Puts a table in place of what is there under its name, `now`, as one transaction of the kernel.
/// Elements that run out by themselves, or that packets added, go over to sets of the same
/// name and type, and those of `before`, as [`remembered`] gave it, into sets that are not there now; what is said of
/// those that cannot is given. `links` are those that are there, and `answers`
/// is where those of trials are kept.
pub(super) fn replace(
    table: &Table,
    now: Option<&Table>,
    before: Option<&str>,
    links: &[String],
    answers: Option<&Path>,
) -> Result<Vec<String>, Fault> {
    trial::proven(table, links).inspect_err(|_| {
        // One from before nft was replaced; the next plan asks anew.
        if let Some(folder) = answers {
            kept::forget(folder);
        }
    })?;
    let Table { family, name, ruleset } = table;
    let wanted = Listing::read(ruleset);
    let (mut carried, mut lost) = match now.filter(|now| listing::may_run_out(&now.ruleset)) {
        Some(_) => Listing::read(&printed(&[], family, name)?.unwrap_or_default()).carried_over_to(&wanted),
        None => (vec![], vec![]),
    };
    if let Some(before) = before {
        // Sets that are there by now know better.
        let is_there = |set: &str| now.is_some_and(|now| Listing::read(&now.ruleset).has_set(set));
        let (old, _) = Listing::read(before).carried_over_to(&wanted);
        carried.extend(old.into_iter().filter(|(set, _)| !is_there(set)));
    }
    // `add` makes `delete` succeed where there is none yet.
    let head = format!("add table {family} {name}\ndelete table {family} {name}\n{ruleset}\n");
    let of = format!("{family} {name}");
    let loaded = carry::load(&head, &of, carried).map_err(|fault| match fault.message.contains(trial::NO_LINK) {
        true => {
            fault.hint("have the link made, or name it by `iifname` and `oifname`, which ask for no link that is there")
        }
        false => fault,
    });
    lost.extend(loaded?);
    Ok(carry::told(&of, &lost))
}

/// A table with the elements that run out and those that packets added, to be brought back with it; `None` where it
/// has no sets of that sort.
///
/// # Errors
/// It cannot be listed.
pub(super) fn remembered(table: &Table) -> Result<Option<String>, Fault> {
    if listing::may_run_out(&table.ruleset) { printed(&[], &table.family, &table.name) } else { Ok(None) }
}

/// Removes a table; nothing to do where it is not there.
pub(super) fn remove(family: &str, name: &str) -> Result<(), Fault> {
    program::load(&format!("add table {family} {name}\ndelete table {family} {name}\n"))
}

/// A table as nft prints it: with `-s` without counters and what is left of time-outs.
fn printed(options: &[&str], family: &str, name: &str) -> Result<Option<String>, Fault> {
    tidelock_model::network::table_name(family, name).map_err(|why| fault("invalid", why))?;
    program::print(options, family, name)
}
