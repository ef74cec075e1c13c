//! Elements that a new table takes over from the old one, as far as they fit: one that does not, such as
//! an address that the new table has within a network of its own, costs no other one.

use std::time::{Duration, Instant};

use tidelock_model::error::Fault;

use super::program;

/// For how long it is found out which elements do not fit. A table of 20,000 elements takes half a second
/// to be asked about.
const PATIENCE: Duration = Duration::from_secs(30);
/// Elements that are named of those that are lost.
const NAMED: usize = 10;

/// Elements of a set.
pub(super) type Elements = (String, Vec<String>);

/// Puts a table in place by `head`, with as many of the elements of its old one as fit. Gives those that do
/// not, by set.
///
/// # Errors
/// As [`program::load`], of the head alone.
pub(super) fn load(head: &str, of: &str, carried: Vec<Elements>) -> Result<Vec<Elements>, Fault> {
    if carried.is_empty() {
        return program::load(head).map(|()| vec![]);
    }
    match program::load(&batch(head, of, &carried)) {
        Err(fault) if fault.code == "nft" => {}
        loaded => return loaded.map(|()| vec![]),
    }
    let ends = Instant::now() + PATIENCE;
    let (fitting, mut lost) = divided(carried.clone(), |set, part| {
        if Instant::now() > ends {
            return Ok(None);
        }
        match program::check(&batch(head, of, &[(set.to_owned(), part.to_vec())])) {
            Err(fault) if fault.code == "nft" => Ok(Some(false)),
            checked => checked.map(|()| Some(true)),
        }
    })?;
    match program::load(&batch(head, of, &fitting)) {
        // Each fits alone, and they do not together.
        Err(fault) if fault.code == "nft" => {
            program::load(head)?;
            lost = carried;
        }
        loaded => loaded?,
    }
    Ok(lost)
}

fn batch(head: &str, of: &str, carried: &[Elements]) -> String {
    let mut batch = head.to_owned();
    for (set, elements) in carried {
        batch.push_str(&format!("add element {of} {set} {{ {} }}\n", elements.join(", ")));
    }
    batch
}

/// Elements that fit, and those that do not: of a part that does not fit each half is asked about. Where
/// there is no answer any more, a part is lost.
fn divided(
    carried: Vec<Elements>,
    mut fits: impl FnMut(&str, &[String]) -> Result<Option<bool>, Fault>,
) -> Result<(Vec<Elements>, Vec<Elements>), Fault> {
    let (mut fitting, mut lost) = (Vec::new(), Vec::new());
    for (set, elements) in carried {
        let (mut good, mut bad) = (Vec::new(), Vec::new());
        let mut open = vec![elements];
        while let Some(mut part) = open.pop() {
            match fits(&set, &part)? {
                Some(true) => good.append(&mut part),
                Some(false) if part.len() > 1 => {
                    let rest = part.split_off(part.len() / 2);
                    open.extend([rest, part]);
                }
                Some(false) | None => bad.append(&mut part),
            }
        }
        for (part, into) in [(good, &mut fitting), (bad, &mut lost)] {
            if !part.is_empty() {
                into.push((set.clone(), part));
            }
        }
    }
    Ok((fitting, lost))
}

/// What is said of elements that are lost: a sentence for each set.
pub(super) fn told(of: &str, lost: &[Elements]) -> Vec<String> {
    let told = |(set, elements): &Elements| {
        let count = elements.len();
        let what = if count == 1 { "an element".to_owned() } else { format!("{count} elements") };
        let more = if count > NAMED { ", ..." } else { "" };
        let named = elements.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
        format!("table {of}, set {set}: {what} could not be carried over to the new table: {named}{more}")
    };
    lost.iter().map(told).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn elements(set: &str, elements: impl IntoIterator<Item = u32>) -> Elements {
        (set.to_owned(), elements.into_iter().map(|number| number.to_string()).collect())
    }

    #[test]
    fn what_does_not_fit_costs_nothing_else() {
        let carried = vec![elements("ban", 0..1000), elements("seen", 0..3)];
        let mut asked = 0;
        let (fitting, lost) = divided(carried, |set, part| {
            asked += 1;
            Ok(Some(set != "ban" || !part.iter().any(|element| element == "7" || element == "900")))
        })
        .unwrap();
        assert_eq!(lost, [elements("ban", [7, 900])]);
        assert_eq!((fitting[0].1.len(), &fitting[1]), (998, &elements("seen", 0..3)));
        assert!(asked < 50, "{asked}");
        assert_eq!(
            told("inet t", &lost),
            ["table inet t, set ban: 2 elements could not be carried over to the new table: 7, 900"]
        );
        let (fitting, lost) = divided(vec![elements("ban", 0..9)], |_, _| Ok(None)).unwrap();
        assert_eq!((fitting, lost), (vec![], vec![elements("ban", 0..9)]));
    }
}
