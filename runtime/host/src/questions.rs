//! What goes to a provider: lists, split so that no call carries too much, and the
//! model's nouns in the words of `wit/provider`.

use std::collections::BTreeMap;
use std::ops::Range;

use serde_json::Value;
use tidelock_model::kind::ProviderInfo;
use tidelock_model::limits::Limits;
use tidelock_model::observation::Subject;
use tidelock_model::plan::Action;
use tidelock_model::port::{Declared, StepRequest};

use crate::bindings::provider::exports::tidelock::provider::provider as wit;

/// The most JSON that one call carries into a guest. A single item may be larger.
const MAX_BYTES: usize = 4 << 20;

/// Something that a list of questions is made of.
pub(crate) trait Question {
    /// Bytes that it takes in a call, roughly.
    fn size(&self) -> usize;
}

/// About the length of a value as JSON, without writing it.
pub(crate) fn json_size(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 8,
        Value::String(text) => text.len() + 3,
        Value::Array(items) => items.iter().map(json_size).sum::<usize>() + 2,
        Value::Object(map) => map.iter().map(|(key, item)| key.len() + 4 + json_size(item)).sum::<usize>() + 2,
    }
}

/// Cuts a list into calls: at most `limits.batch` items and [`MAX_BYTES`] each.
pub(crate) fn split<Q: Question>(items: &[Q], limits: &Limits) -> Vec<Range<usize>> {
    let batch = usize::try_from(limits.batch).unwrap_or(usize::MAX).max(1);
    let mut calls = Vec::new();
    let (mut start, mut bytes) = (0, 0);
    for (index, item) in items.iter().enumerate() {
        let size = item.size();
        if index > start && (index - start == batch || bytes + size > MAX_BYTES) {
            calls.push(start..index);
            (start, bytes) = (index, 0);
        }
        bytes += size;
    }
    if start < items.len() {
        calls.push(start..items.len());
    }
    calls
}

/// Cuts subjects into calls, as places in the list. A kind that needs its whole
/// target at once has a call of its own, however long.
pub(crate) fn split_subjects(subjects: &[Subject], info: &ProviderInfo, limits: &Limits) -> Vec<Vec<usize>> {
    let mut whole: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    let mut rest = Vec::new();
    for (place, subject) in subjects.iter().enumerate() {
        match info.kind(subject.kind.short()) {
            Some(kind) if kind.whole_target => whole.entry(&kind.name).or_default().push(place),
            _ => rest.push(Placed { place, subject }),
        }
    }
    let ranges = split(&rest, limits);
    let mut calls: Vec<Vec<usize>> =
        ranges.into_iter().map(|range| rest[range].iter().map(|placed| placed.place).collect()).collect();
    calls.extend(whole.into_values());
    calls
}

struct Placed<'a> {
    place: usize,
    subject: &'a Subject,
}

impl Question for Placed<'_> {
    fn size(&self) -> usize {
        self.subject.size()
    }
}

pub(crate) fn declared(resources: &[Declared]) -> Vec<wit::Declared> {
    resources
        .iter()
        .map(|declared| wit::Declared {
            address: declared.address.clone(),
            kind: declared.kind.to_string(),
            spec: declared.spec.to_string(),
        })
        .collect()
}

pub(crate) fn subject(subject: &Subject) -> wit::Subject {
    wit::Subject {
        identity: subject.identity.to_string(),
        kind: subject.kind.to_string(),
        handle: subject.handle.clone(),
        fields: subject.fields.clone(),
    }
}

/// Changes of one call. The id is the place in the call: the host knows each by it,
/// and a guest can name no other. Where it is a `part` of a plan, they say so: what is in no change of
/// the call may be in another.
pub(crate) fn changes(requests: &[StepRequest], part: bool) -> Vec<wit::Change> {
    let extras = if part { vec![("part".to_owned(), "true".to_owned())] } else { vec![] };
    (0_u32..)
        .zip(requests)
        .map(|(id, request)| wit::Change {
            id,
            address: request.address.resource.to_string(),
            identity: request.identity.to_string(),
            kind: request.kind.to_string(),
            action: action(request.action),
            desired: request.desired.as_ref().map(Value::to_string),
            observed: request.observed.as_ref().map(Value::to_string),
            last: request.last.as_ref().map(Value::to_string),
            handle: request.handle.clone(),
            fields: request.fields.clone(),
            seen: request.seen.clone(),
            trigger: request.trigger.clone(),
            extras: extras.clone(),
        })
        .collect()
}

/// Actions without effects are never asked about; they read as the nearest one that
/// changes nothing by itself.
fn action(action: Action) -> wit::Action {
    match action {
        Action::Create => wit::Action::Create,
        Action::Update | Action::Adopt | Action::Move | Action::Release | Action::None | Action::Deferred => {
            wit::Action::Update
        }
        Action::Replace => wit::Action::Replace,
        Action::Delete => wit::Action::Delete,
        Action::TakeOver => wit::Action::TakeOver,
        Action::Trigger => wit::Action::Trigger,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tidelock_model::kind::KindInfo;
    use tidelock_model::name::Identity;

    use super::*;

    struct Sized(usize);
    impl Question for Sized {
        fn size(&self) -> usize {
            self.0
        }
    }

    fn limits(batch: u64) -> Limits {
        Limits { batch, ..Limits::default() }
    }

    #[test]
    fn lists_are_cut_by_number_and_by_bytes() {
        let items: Vec<Sized> = (0..5).map(|_| Sized(1)).collect();
        assert_eq!(split(&items, &limits(2)), [0..2, 2..4, 4..5]);
        assert_eq!(split(&items, &limits(0)).len(), 5);
        assert!(split::<Sized>(&[], &limits(2)).is_empty());
        let items = [Sized(MAX_BYTES + 1), Sized(1), Sized(MAX_BYTES), Sized(1)];
        assert_eq!(split(&items, &limits(100)), [0..1, 1..2, 2..3, 3..4]);
    }

    #[test]
    fn a_kind_that_needs_its_whole_target_is_seen_in_one_call() {
        let kind = |name: &str, whole_target| KindInfo {
            name: name.into(),
            doc: String::new(),
            schema: json!({}),
            fields: vec![],
            holds_data: false,
            whole_target,
            settle_ms: 0,
            triggers: vec![],
        };
        let info = ProviderInfo {
            name: "net".into(),
            version: "1".into(),
            summary: String::new(),
            kinds: vec![kind("rule", true), kind("file", false)],
        };
        let subjects: Vec<Subject> = ["net.rule", "net.file", "net.rule", "net.file", "net.file", "net.rule"]
            .iter()
            .map(|kind| Subject {
                identity: Identity::new("x"),
                kind: kind.parse().unwrap(),
                handle: None,
                fields: vec![],
                commands: vec![],
            })
            .collect();
        assert_eq!(split_subjects(&subjects, &info, &limits(2)), [vec![1, 3], vec![4], vec![0, 2, 5]]);
    }
}
