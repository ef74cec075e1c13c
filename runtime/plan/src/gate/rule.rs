//! The operator's rules: when effects may be performed, and whose approval it takes.

use std::collections::BTreeMap;

use jiff::Timestamp;
use tidelock_model::plan::{LanePlan, Wait};
use tidelock_model::revision::{Revision, Signature};
use tidelock_model::run::Approval;
use tidelock_model::stack::Budget;
use tidelock_model::window::Window;

use super::Policy;
use crate::report;

/// One rule of the operator's, for a lane that it matches.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rule {
    /// What people call it.
    pub name: String,
    /// When effects may be performed: in one of them; always where there is none.
    pub windows: Vec<Window>,
    /// How many people have to approve.
    pub approvals: usize,
    /// Whose approval counts; anybody's where there is none.
    pub approvers: Vec<String>,
    /// What one plan may do without more being said.
    pub budget: Budget,
}

impl Rule {
    /// Why a lane with effects waits for it, before anybody's word is looked at.
    pub(super) fn waits(&self, now: Timestamp) -> Vec<Wait> {
        let shut = !self.windows.is_empty() && !self.windows.iter().any(|window| window.is_open(now));
        let window = shut.then(|| report::window(self, now));
        window.into_iter().chain((self.approvals > 0).then(|| report::approvals(self, &[], &[]))).collect()
    }

    /// What is missing after these words; `None` where enough was said.
    pub(super) fn missing(
        &self,
        people: &BTreeMap<String, Vec<String>>,
        revision: &Revision,
        words: &[&Approval],
    ) -> Option<Wait> {
        let (mut said, mut discounted) = (Vec::new(), Vec::new());
        for word in words.iter().filter(|word| word.yes) {
            let person = word.person();
            if word.how != Approval::BEFOREHAND {
                // The caller's own yes is not what the rule asks for.
            } else if wrote(person, people, revision) {
                discounted.push(format!("{person}, who wrote the commit"));
            } else if !self.approvers.is_empty() && !self.approvers.iter().any(|one| one == person) {
                discounted.push(format!("{person}, who is not among them"));
            } else {
                said.push(person);
            }
        }
        (said.len() < self.approvals).then(|| report::approvals(self, &said, &discounted))
    }
}

/// The waits of a lane with what was said taken into account: those for people are gone
/// where enough have approved, and tell who has where not.
pub(super) fn counted(
    waits: Vec<Wait>,
    part: &LanePlan,
    policy: &Policy,
    revision: &Revision,
    words: &[&Approval],
) -> Vec<Wait> {
    let (asked, mut waits): (Vec<Wait>, Vec<Wait>) = waits.into_iter().partition(|wait| wait.code == report::APPROVALS);
    if !asked.is_empty() {
        let rules = policy.lanes.get(&part.lane).map_or(&[][..], |lane| &lane.rules);
        waits.extend(rules.iter().filter_map(|rule| rule.missing(&policy.people, revision, words)));
    }
    waits
}

/// Whether a person is the author of a commit, or signed it: by what the operator calls
/// them, and by their user's name, which may stand for the author's name, mail address,
/// or what stands before its `@`. Rather one too many than one too few.
#[must_use]
pub fn wrote(person: &str, people: &BTreeMap<String, Vec<String>>, revision: &Revision) -> bool {
    let (name, mail) = revision.author.rsplit_once('<').unwrap_or((&revision.author, ""));
    let mail = mail.trim_end_matches('>');
    let local = mail.split('@').next().unwrap_or_default();
    let signer = match &revision.signature {
        Signature::Verified { signer, .. } => signer.as_str(),
        Signature::NotAsked | Signature::Worktree => "",
    };
    let authors = [name.trim(), mail, local, signer, signer.split('@').next().unwrap_or_default()];
    let called = people.get(person).into_iter().flatten().map(String::as_str).chain([person]);
    called.into_iter().any(|one| authors.iter().any(|author| !author.is_empty() && author.eq_ignore_ascii_case(one)))
}
