//! What came of resources, and why: where a server is gone, not the same line for each of a thousand.

use std::collections::BTreeMap;

use tidelock_model::name::{Address, Lane};

use super::one_line;

/// Resources of a lane with one reason that are told one by one; more are told together.
const ONE_BY_ONE: usize = 3;

/// Lines that say `what` of resources, in the order in which their reasons came.
pub(crate) fn by_reason<'a>(what: &str, all: impl Iterator<Item = (&'a Address, &'a String)>) -> String {
    let mut groups: Vec<(Lane, &String, Vec<&Address>)> = Vec::new();
    let mut known: BTreeMap<(Lane, &String), usize> = BTreeMap::new();
    for (address, why) in all {
        let at = *known.entry((address.lane(), why)).or_insert(groups.len());
        match groups.get_mut(at) {
            Some((_, _, of)) => of.push(address),
            None => groups.push((address.lane(), why, vec![address])),
        }
    }
    let line = |(lane, why, of): (Lane, &String, Vec<&Address>)| {
        let why = one_line(why);
        match of.as_slice() {
            [first, more @ ..] if more.len() >= ONE_BY_ONE => {
                format!("{what} {first} and {} more of {lane}: {why}\n", more.len())
            }
            few => few.iter().map(|address| format!("{what} {address}: {why}\n")).collect(),
        }
    };
    groups.into_iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(all: &[(&str, &str)]) -> String {
        let all: Vec<(Address, String)> =
            all.iter().map(|(of, why)| (of.parse().unwrap(), (*why).to_owned())).collect();
        by_reason("skipped", all.iter().map(|(of, why)| (of, why)))
    }

    #[test]
    fn few_are_told_one_by_one_and_many_together() {
        let few = [("infra:db:fake.file/a@pg", "it is gone"), ("infra:db:fake.file/b@pg", "it is\ngone")];
        assert_eq!(
            told(&few),
            "skipped infra:db:fake.file/a@pg: it is gone\nskipped infra:db:fake.file/b@pg: it is gone\n"
        );
        let many: Vec<String> = (0..300).map(|n| format!("infra:db:fake.file/r{n}@pg")).collect();
        let mut many: Vec<(&str, &str)> = many.iter().map(|of| (of.as_str(), "it is gone")).collect();
        many.insert(1, ("infra:web:fake.file/a@pg", "it is gone"));
        assert_eq!(
            told(&many),
            "skipped infra:db:fake.file/r0@pg and 299 more of infra:db@pg: it is gone\n\
             skipped infra:web:fake.file/a@pg: it is gone\n"
        );
    }
}
