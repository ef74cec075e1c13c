//! What a lane waits for, told later from what was kept: the waits of its last look and
//! what people said since. It needs no plan, so it can be told while nothing else works.

use std::collections::BTreeMap;

use jiff::Timestamp;
use tidelock_model::digest::Digest;
use tidelock_model::name::Lane;
use tidelock_model::plan::{LanePlan, Wait};
use tidelock_model::revision::Revision;
use tidelock_model::run::Approval;

use super::{Rule, last_words};
use crate::holds::is_hold;
use crate::report;

/// What is still waited for of `waits`, the ones that a lane's last look left behind.
///
/// `approvals` are those of the digest that was looked at; `people` is what users are called
/// as authors. Holds are left out: who asks knows the ones in force.
#[must_use]
pub fn still(
    waits: &[Wait],
    (lane, digest): (&Lane, &Digest),
    revision: &Revision,
    people: &BTreeMap<String, Vec<String>>,
    approvals: &[Approval],
    now: Timestamp,
) -> Vec<Wait> {
    let words = last_words(lane, digest, approvals);
    let yes = words.iter().any(|word| word.yes);
    let mut out: Vec<Wait> = Vec::new();
    if let Some(no) = words.iter().find(|word| !word.yes) {
        out.push(Wait { since: Some(no.at), ..report::rejected(no) });
    }
    for wait in waits.iter().filter(|wait| !is_hold(wait) && wait.code != report::REJECTED) {
        match &wait.people {
            Some(asked) => {
                let rule = Rule {
                    name: asked.rule.clone(),
                    approvals: asked.wanted,
                    approvers: asked.of.clone(),
                    ..Rule::default()
                };
                let missing = rule.missing(people, revision, &words);
                out.extend(missing.map(|missing| Wait { since: wait.since, ..missing }));
            }
            None if wait.approvable && yes => {}
            None if wait.until.is_some_and(|until| until <= now) => {
                let message = format!("{}; that time has come, and nothing was looked at since", wait.message);
                let hint = "it goes on with the next look, where nothing else is in the way".to_owned();
                out.push(Wait { message, hint: Some(hint), ..wait.clone() });
            }
            None => out.push(wait.clone()),
        }
    }
    out
}

/// Writes into a lane's part of a plan who said yes to it beforehand, and takes out what that ends:
/// a plan that was approved does not ask for a yes.
pub fn say(
    part: &mut LanePlan,
    revision: &Revision,
    people: &BTreeMap<String, Vec<String>>,
    approvals: &[Approval],
    now: Timestamp,
) {
    // A caller's own yes was one to an apply that is over.
    let beforehand: Vec<Approval> =
        approvals.iter().filter(|word| !word.yes || word.how == Approval::BEFOREHAND).cloned().collect();
    let words: Vec<Approval> = last_words(&part.lane, &part.digest, &beforehand).into_iter().cloned().collect();
    if words.is_empty() {
        return;
    }
    let mut waits: Vec<Wait> = part.waits.iter().filter(|wait| is_hold(wait)).cloned().collect();
    waits.extend(still(&part.waits, (&part.lane, &part.digest), revision, people, &words, now));
    part.waits = waits;
    part.approved = words.into_iter().filter(|word| word.yes).collect();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::example::{lane, revision};

    fn rule() -> Rule {
        Rule {
            name: "the operator's gate".to_owned(),
            approvals: 2,
            approvers: vec!["ada".to_owned(), "grace".to_owned(), "alan".to_owned()],
            ..Rule::default()
        }
    }

    fn word(who: &str, yes: bool, at: i64) -> Approval {
        Approval {
            digest: Digest::of(b"plan"),
            yes,
            lane: lane("web"),
            who: who.to_owned(),
            at: Timestamp::from_second(at).unwrap(),
            how: Approval::BEFOREHAND.to_owned(),
            comment: None,
        }
    }

    fn told(waits: &[Wait], approvals: &[Approval], now: i64) -> Vec<Wait> {
        let (lane, digest) = (lane("web"), Digest::of(b"plan"));
        let now = Timestamp::from_second(now).unwrap();
        still(waits, (&lane, &digest), &revision(), &BTreeMap::new(), approvals, now)
    }

    #[test]
    fn approvals_that_came_since_are_counted() {
        let waits = [Wait { since: Some(Timestamp::UNIX_EPOCH), ..report::approvals(&rule(), &[], &[]) }];
        let one = told(&waits, &[word("grace", true, 1)], 2);
        assert_eq!(one[0].people.as_ref().unwrap().said, ["grace"]);
        assert!(one[0].message.ends_with("so far: grace"), "{one:?}");
        assert_eq!(one[0].since, Some(Timestamp::UNIX_EPOCH));
        // Ada wrote the commit, and kay is not among them.
        let more = told(&waits, &[word("grace", true, 1), word("ada", true, 2), word("kay", true, 2)], 3);
        assert!(more[0].message.contains("not counted: ada, who wrote the commit, kay"), "{more:?}");
        assert_eq!(told(&waits, &[word("grace", true, 1), word("alan", true, 2)], 3), []);
    }

    #[test]
    fn a_no_is_told_and_the_same_persons_yes_takes_it_back() {
        let asked = [report::first_contact(&lane("web"))];
        let no = told(&asked, &[word("kay", false, 5)], 6);
        assert_eq!((no[0].code.as_str(), no[0].since), ("rejected", Timestamp::from_second(5).ok()));
        assert_eq!(no.len(), 2);
        assert_eq!(told(&no, &[word("kay", false, 5), word("kay", true, 7)], 8), []);
        let other = Approval { digest: Digest::of(b"another"), ..word("kay", true, 7) };
        assert_eq!(told(&asked, &[other], 8), asked);
    }

    #[test]
    fn a_time_that_has_come_is_said_to_have() {
        let shut = Wait { until: Timestamp::from_second(10).ok(), ..Wait::new("window", "it is shut") };
        let shut = [shut];
        assert_eq!(told(&shut, &[], 9), shut);
        let opened = told(&shut, &[], 10);
        assert!(opened[0].message.contains("that time has come"), "{opened:?}");
    }

    #[test]
    fn holds_are_told_by_who_knows_the_ones_in_force() {
        assert_eq!(told(&[Wait::new("stopped", "ada stopped everything")], &[], 1), []);
    }
}
