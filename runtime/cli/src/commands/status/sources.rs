//! The sources of a `status`: what is in force, and what keeps the newest from being followed.

use serde_json::{Value, json};
use tidelock_model::error::Diagnostic;
use tidelock_model::name::Name;
use tidelock_model::port::Store;
use tidelock_model::revision::{Revision, Signature, SourceNotice, Stale};

use crate::config::Loaded;
use crate::error::CliError;
use crate::output::table::{Cell, Look};
use crate::output::{Output, one_line, time};

/// Problems of stacks that are shown in full.
pub(in crate::commands) const SHOWN: usize = 10;

/// A source, the revision in force, since when it cannot be asked, and what else is wrong with it.
pub(super) struct InForce {
    pub(super) name: Name,
    pub(super) revision: Option<Revision>,
    pub(super) stale: Option<Stale>,
    pub(super) notices: Vec<SourceNotice>,
    pub(super) problems: Vec<Diagnostic>,
    /// What the config names by now, where that is not what was in force when somebody asked.
    pub(super) named: Option<String>,
}

impl InForce {
    /// That the config names something else by now, which nobody asked for yet.
    pub(super) fn not_asked(&self) -> Option<String> {
        let named = self.named.as_ref()?;
        let was = self.revision.as_ref().map_or("", |revision| revision.wanted.as_str());
        Some(format!("source {}: the config names {named} by now, and what is in force was {was}", self.name))
    }
}

pub(super) fn in_force(loaded: &Loaded, store: &dyn Store) -> Result<Vec<InForce>, CliError> {
    let one = |name: &Name| {
        let revision = store.revision(name)?;
        let decl = &loaded.config.sources[name];
        let named = decl.branch.as_ref().or(decl.tag.as_ref()).or(decl.commit.as_ref());
        let named = named.map_or("main", String::as_str);
        let other = revision.as_ref().is_some_and(|revision| revision.wanted != named);
        Ok(InForce {
            name: name.clone(),
            revision,
            stale: store.stale(name)?,
            notices: store.trouble(name)?.notices,
            problems: tidelock_reconcile::problems(store, name)?,
            named: other.then(|| named.to_owned()),
        })
    };
    loaded.config.sources.keys().map(one).collect()
}

pub(super) fn never_fetched(name: &Name) -> InForce {
    InForce { name: name.clone(), revision: None, stale: None, notices: vec![], problems: vec![], named: None }
}

/// Why a source, or stacks of it, are not followed, and what mends it.
pub(super) fn wrong(out: &Output, source: &InForce) -> Result<(), CliError> {
    let InForce { name, stale, notices, problems, .. } = source;
    let mut text = String::new();
    let mut told = |what: &str, hint: Option<&str>| {
        text.push_str(&format!("{}\n", out.paint.warn(&one_line(what))));
        text.extend(hint.map(|hint| format!("  {}\n", one_line(hint))));
    };
    if let Some(Stale { since, why }) = stale {
        told(&format!("source {name} is stale since {}: {why}", time(*since)), None);
    }
    if let Some(why) = source.not_asked() {
        told(&why, None);
    }
    for notice in notices {
        told(&format!("source {name}: {notice}"), notice.hint(name).as_deref());
    }
    text.push_str(&wrong_in_git(out, problems));
    if text.is_empty() { Ok(()) } else { out.text(&format!("{text}\n")) }
}

/// Problems of stacks, the first few in full.
pub(in crate::commands) fn wrong_in_git(out: &Output, problems: &[Diagnostic]) -> String {
    let mut text = String::new();
    for problem in problems.iter().take(SHOWN) {
        text.push_str(&format!("{} {}\n", out.paint.warn("wrong in Git:"), one_line(&placed(problem))));
        text.extend(problem.hint.as_ref().map(|hint| format!("  {}\n", one_line(hint))));
    }
    if let Some(more) = problems.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        text.push_str(&format!("  and {more} more; `tidelock plan` shows them all\n"));
    }
    text
}

/// A problem with its place in one line.
pub(in crate::commands) fn placed(problem: &Diagnostic) -> String {
    match &problem.place {
        Some(place) => format!("{place}: {}", problem.message),
        None => problem.message.clone(),
    }
}

pub(super) fn row(InForce { name, revision, .. }: &InForce) -> Vec<Cell> {
    let Some(revision) = revision else {
        return vec![Cell::plain(name.as_str()), Cell::dim("never fetched")];
    };
    let (signature, look) = match &revision.signature {
        Signature::Verified { signer, .. } => (format!("signed by {signer}"), Look::Good),
        Signature::NotAsked => ("unsigned".to_owned(), Look::Warn),
        Signature::Worktree => ("work tree".to_owned(), Look::Warn),
    };
    vec![
        Cell::plain(name.as_str()),
        Cell::plain(format!("{} {}", revision.wanted, revision.short())),
        Cell::dim(time(revision.at)),
        Cell::new(signature, look),
        Cell::plain(&revision.subject),
    ]
}

pub(super) fn as_json(InForce { name, revision, stale, notices, problems, .. }: &InForce) -> Value {
    json!({ "source": name, "revision": revision, "stale": stale, "notices": notices, "problems": problems })
}
