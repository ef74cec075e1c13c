//! What is wrong with the files of a lane, with the lines that it is about, and without the secrets in them.

use std::collections::BTreeSet;

use serde_json::Value;
use tidelock_model::error::Diagnostic;
use tidelock_model::port::Fetched;
use tidelock_model::resource::RenderedDoc;
use tidelock_model::snippet::{self, Hidden};

use crate::error::RunError;
use crate::read::resource;
use crate::runtime::Runtime;
use crate::select::Selected;

/// Problems with the lines that they are about, of which values of `hidden` fields are left out.
pub(super) fn reject(mut problems: Vec<Diagnostic>, fetched: &Fetched, hidden: &Hidden) -> RunError {
    for problem in &mut problems {
        resource::with_snippet(problem, fetched.tree.as_ref(), hidden);
    }
    RunError::Rejected(problems)
}

/// The fields that are never shown, of all kinds that these documents may be of: some of them cannot be read,
/// so their plugins are asked for all that they know. One that cannot be asked says nothing.
pub(super) async fn hidden(runtime: &Runtime, selected: &Selected, docs: &[RenderedDoc]) -> Hidden {
    let kind = |doc: &RenderedDoc| {
        let document: Value = serde_json::from_str(&doc.document).ok()?;
        Some(document.get("kind")?.as_str()?.split('.').next()?.to_owned())
    };
    let plugins: BTreeSet<String> = docs.iter().filter_map(kind).collect();
    let mut hidden = Hidden::new();
    for plugin in plugins {
        let Ok(provider) = runtime.plugins.provider(&plugin, &selected.lane.target).await else { continue };
        if let Ok(info) = provider.describe().await {
            hidden.extend(info.kinds.iter().flat_map(snippet::hidden_by));
        }
    }
    hidden
}
