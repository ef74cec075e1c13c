//! What files seem to hold, told from their lines and without rendering them: for hints and warnings.

use std::collections::BTreeSet;

use tidelock_model::error::{Diagnostic, Place, Severity};
use tidelock_model::name::Kind;
use tidelock_model::port::Tree;
use tidelock_model::stack::{Stack, resolve};

/// The most files that are looked through, and their greatest size, in bytes.
const LOOKED_THROUGH: (usize, u64) = (100, 1 << 20);
/// Files that a warning names.
const NAMED: usize = 3;

/// The kinds that files of a stack's module name, sorted: a guess, since nothing is rendered that
/// is not allowed.
pub(super) fn kinds_in(tree: &dyn Tree, stack: &Stack) -> Vec<String> {
    let module = stack.module();
    let files = tree.glob(&module, "**/*.{yaml,yml,j2,jinja,json}").unwrap_or_default();
    let mut kinds = BTreeSet::new();
    for file in files.iter().take(LOOKED_THROUGH.0) {
        let path = if module.is_empty() { file.clone() } else { format!("{module}/{file}") };
        let text = text_of(tree, &path).unwrap_or_default();
        kinds.extend(text.lines().filter_map(kind_on).map(|kind| kind.to_string()));
    }
    kinds.into_iter().collect()
}

/// Warns, once for all, of files of resources that no stack renders: whoever wrote one waits for it in vain.
pub(super) fn outside(tree: &dyn Tree, stacks: &[Stack]) -> Option<Diagnostic> {
    let modules: Vec<String> = stacks.iter().map(Stack::module).collect();
    let values: BTreeSet<String> = stacks
        .iter()
        .flat_map(|stack| stack.decl.values.iter().map(|path| resolve(&stack.dir, path.trim_end_matches('?'))))
        .collect();
    let within = |file: &str, folder: &str| {
        folder.is_empty() || file.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
    };
    // Folders with a stack of their own are passed over.
    let files = tree.glob("", "**/*.{yaml,yml}").unwrap_or_default();
    let alone = files
        .into_iter()
        .filter(|file| !values.contains(file) && !modules.iter().any(|module| within(file, module)))
        .take(LOOKED_THROUGH.0);
    let is_resource = |file: &String| {
        let text = text_of(tree, file).unwrap_or_default();
        text.lines().any(|line| !line.starts_with([' ', '\t']) && kind_on(line).is_some())
    };
    let found: Vec<String> = alone.filter(is_resource).collect();
    let first = found.first()?;
    let more = found.len().saturating_sub(NAMED);
    let mut names = found.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    if more > 0 {
        names.push_str(&format!(" and {more} more"));
    }
    let message = match found.len() {
        1 => format!("{names} holds resources and belongs to no stack, so nobody looks after them"),
        number => format!("{number} files hold resources and belong to no stack, so nobody looks after them: {names}"),
    };
    let hint = "a stack is a folder with a stack.yaml in it or above it, or what the `from` of one names";
    let said = Diagnostic::error(message, Some(Place::file(first))).hint(hint);
    Some(Diagnostic { severity: Severity::Warning, ..said })
}

fn text_of(tree: &dyn Tree, path: &str) -> Option<String> {
    let (_, size) = tree.digest(path).ok()??;
    let bytes = if size > LOOKED_THROUGH.1 { None } else { tree.read(path).ok()? };
    bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// The kind that a line says a resource is of.
fn kind_on(line: &str) -> Option<Kind> {
    let line = line.trim_start().trim_start_matches("- ").trim_start_matches(['"', '{', ' ']);
    let rest = line.strip_prefix("kind")?.trim_start_matches(['"', ' ']).strip_prefix(':')?;
    let word = rest.trim_start_matches([' ', '"', '\'']).split([' ', '"', '\'', ',', '}']).next()?;
    Kind::new(word).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_says_a_kind_is_told_from_others() {
        for (line, kind) in [
            ("kind: server.file", Some("server.file")),
            ("- kind: \"server.file\"", Some("server.file")),
            ("{\"kind\":\"server.file\",\"name\":\"a\"}", Some("server.file")),
            ("kind: Deployment", None),
            ("kinds: [server.file]", None),
            ("# kind: server.file", None),
        ] {
            assert_eq!(kind_on(line).map(|kind| kind.to_string()).as_deref(), kind, "{line}");
        }
    }
}
