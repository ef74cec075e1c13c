//! Directories that leave Git and hold more than leaves with them.
//!
//! A directory goes only when it is empty. One that still holds something that this plan
//! does not remove is let go instead, and the plan says what lies in it: a package manager
//! does the same, and nobody learns of it half-way through an apply.

use std::collections::BTreeSet;

use tidelock_model::effect::EffectBody;
use tidelock_model::error::{Diagnostic, Severity};
use tidelock_model::plan::Action;

use crate::draft::Draft;

/// Names that are told; of more, only the number.
const TOLD: usize = 3;

/// Turns deletions that could only fail into releases, and forgets what was only seen for that.
pub(crate) fn release_what_holds_more(draft: &mut Draft) {
    let mut going: BTreeSet<String> = draft
        .items
        .iter()
        .flat_map(|item| &item.effects)
        .filter(|effect| matches!(effect.body, EffectBody::Remove { .. }))
        .filter_map(|effect| effect.body.path().map(str::to_owned))
        .collect();
    let mut directories: Vec<(String, usize)> = Vec::new();
    for (i, item) in draft.items.iter_mut().enumerate() {
        let path = item.identity.path().filter(|_| item.action == Action::Delete).map(str::to_owned);
        let mut holds = false;
        for effect in &mut item.effects {
            holds |= effect.body.path() == path.as_deref() && !effect.inside.is_empty();
            if effect.body.path() != path.as_deref() {
                effect.inside.clear();
            }
        }
        if let Some(path) = path.filter(|_| holds) {
            directories.push((path, i));
        }
    }
    // What lies deeper first: a directory that stays keeps the one above it.
    directories.sort_by_key(|(path, _)| std::cmp::Reverse(path.matches('/').count()));
    for (path, i) in directories {
        let item = &mut draft.items[i];
        let inside: Vec<String> =
            item.effects.iter_mut().flat_map(|effect| std::mem::take(&mut effect.inside)).collect();
        let stays: Vec<&String> = inside.iter().filter(|name| !going.contains(&format!("{path}/{name}"))).collect();
        if stays.is_empty() {
            continue;
        }
        for effect in item.effects.drain(..) {
            going.remove(effect.body.path().unwrap_or_default());
        }
        let held = told(&stays);
        item.action = Action::Release;
        item.reason = Some(format!("it is no longer in Git, but holds {held}, so it stays on the target"));
        let message = format!("{} left Git and stays on the target: {path} holds {held}", item.address.resource);
        let hint = "nobody here removes that; remove the directory by hand once nothing in it is wanted";
        let warning = Diagnostic::error(message, None).hint(hint);
        draft.warnings.push(Diagnostic { severity: Severity::Warning, ..warning });
    }
}

fn told(names: &[&String]) -> String {
    let shown: Vec<&str> = names.iter().take(TOLD).map(|name| name.as_str()).collect();
    match names.len().saturating_sub(TOLD) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
