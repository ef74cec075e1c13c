//! Accounts that a change names and that are nowhere: not on the server, and made by nothing of the
//! plan. The change waits, and says for whom.

use tidelock_sdk::{Action, Proposals, Step, nearest};

use crate::name::Who;

/// So many accounts are named that may have been meant.
const MOST_NEAR: usize = 3;

/// The step of a change that needs an account which is nowhere.
pub(crate) fn waits<'a>(who: &Who, known: impl Iterator<Item = &'a Who>, propose: &Proposals<'_>) -> Option<Step> {
    let account = who.identity()?;
    let known: Vec<&Who> = known.collect();
    if known.contains(&who) || is_made(who, propose) {
        return None;
    }
    Some(Step::Waits { on: account, why: nobody(who, &known) })
}

/// Whether this plan makes an account, or may: of one that the host had to split only a part is seen.
fn is_made(who: &Who, propose: &Proposals<'_>) -> bool {
    let account = who.identity();
    let mut all = propose.all_changes().iter();
    all.any(|other| other.part || (other.action != Action::Delete && account.as_ref() == Some(&other.identity)))
}

/// That an account is nobody, and who was likely meant: the same user from elsewhere, or a name like it.
fn nobody(who: &Who, known: &[&Who]) -> String {
    let word = if who.host.is_empty() { "role" } else { "account" };
    let mut near: Vec<String> =
        known.iter().filter(|other| other.name.eq_ignore_ascii_case(&who.name)).map(ToString::to_string).collect();
    if near.is_empty() {
        let alike: Vec<&&Who> = known.iter().filter(|other| other.host.is_empty() == who.host.is_empty()).collect();
        let name = nearest(&who.name, alike.iter().map(|other| other.name.as_str()));
        near.extend(alike.iter().filter(|other| Some(other.name.as_str()) == name).map(ToString::to_string));
    }
    let more = if near.len() > MOST_NEAR { ", ..." } else { "" };
    near.truncate(MOST_NEAR);
    let near = if near.is_empty() { String::new() } else { format!("; there is {}{more}", near.join(", ")) };
    format!("there is no {word} {who}, and no spec of this plan makes it{near}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_meant_is_named() {
        let who = |name: &str, host: &str| Who { name: name.into(), host: host.into() };
        let known = [who("app", "127.0.0.1"), who("app", "::1"), who("staff", ""), who("batch", "%")];
        let known: Vec<&Who> = known.iter().collect();
        let said = |name: &str, host: &str| nobody(&who(name, host), &known);
        assert_eq!(
            said("app", "%"),
            "there is no account app@%, and no spec of this plan makes it; there is app@127.0.0.1, app@::1"
        );
        assert!(said("bacth", "%").ends_with("; there is batch@%"), "{}", said("bacth", "%"));
        assert_eq!(said("staf", ""), "there is no role staf, and no spec of this plan makes it; there is staff");
        assert_eq!(said("reports", "%"), "there is no account reports@%, and no spec of this plan makes it");
    }
}
