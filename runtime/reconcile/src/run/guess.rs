//! What files seem to hold, told from their lines and without rendering them: for hints and warnings.

use std::collections::BTreeSet;

use tidelock_model::error::{Diagnostic, Place, Severity};
use tidelock_model::name::Kind;
use tidelock_model::port::Tree;
use tidelock_model::stack::{Stack, resolve};

/// The most files that are looked through, and their greatest size, in bytes.
const LOOKED_THROUGH: (usize, u64) = (100, 1 << 20);
/// Files that a warning names, where they may be anywhere and where they lie in one stack.
const NAMED: (usize, usize) = (3, 10);

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
    let values = values_of(stacks);
    // Folders with a stack of their own are passed over.
    let files = tree.glob("", "**/*.{yaml,yml}").unwrap_or_default();
    let alone = files
        .into_iter()
        .filter(|file| !values.contains(file) && !modules.iter().any(|module| within(file, module)))
        .take(LOOKED_THROUGH.0);
    let found: Vec<String> = alone.filter(|file| holds_resources(tree, file)).collect();
    let first = found.first()?;
    let names = named(&found, NAMED.0);
    let message = match found.len() {
        1 => format!("{names} holds resources and belongs to no stack, so nobody looks after them"),
        number => format!("{number} files hold resources and belong to no stack, so nobody looks after them: {names}"),
    };
    let hint = "a stack is a folder with a stack.yaml in it or above it, or what the `from` of one names";
    Some(warning(message, first, hint.to_owned()))
}

/// Warns of files of resources that lie beside the `stack.yaml` of a stack that is rendered `from` elsewhere.
/// `stacks` are all that there are: what lies there may be the module of another.
pub(super) fn beside(tree: &dyn Tree, stack: &Stack, stacks: &[Stack]) -> Option<Diagnostic> {
    let module = stack.module();
    if stack.decl.from.is_none() || module == stack.dir {
        return None;
    }
    // A module above passes the folders of stacks over.
    let modules: Vec<String> =
        stacks.iter().map(Stack::module).filter(|it| *it == stack.dir || within(it, &stack.dir)).collect();
    let values = values_of(stacks);
    let found = resources_in(tree, &stack.dir, "**/*.{yaml,yml,yaml.j2,yml.j2}", |file| {
        *file != stack.file() && !values.contains(file) && !modules.iter().any(|it| within(file, it))
    });
    let first = found.first()?;
    let (these, them) = those(&found);
    let message = format!(
        "{these} resources, and stack {} is rendered from /{module}: nobody looks after {them}",
        stack.decl.name
    );
    let hint = format!("move {them} to /{module}, or take `from` out of {}", stack.file());
    Some(warning(message, first, hint))
}

/// Warns of files of resources in a stack's module that its renderer did not ask for; `asked` are those that it
/// did ask for, from the source's root. Its hint is the caller's, who can ask the renderer.
pub(super) fn passed_over(tree: &dyn Tree, stack: &Stack, asked: &BTreeSet<&str>) -> Option<Diagnostic> {
    let values = values_of(std::slice::from_ref(stack));
    let found = resources_in(tree, &stack.module(), "**/*.{yaml,yml}", |file| {
        *file != stack.file() && !values.contains(file) && !asked.contains(file.as_str())
    });
    unread(stack, &found, String::new())
}

/// Warns of templates in a stack whose renderer reads plain files alone.
pub(super) fn templates(tree: &dyn Tree, stack: &Stack) -> Option<Diagnostic> {
    let found = resources_in(tree, &stack.module(), "**/*.{yaml,yml}.j2", |_| true);
    unread(stack, &found, "templates are read with `renderer: jinja` in its stack.yaml".to_owned())
}

fn unread(stack: &Stack, found: &[String], hint: String) -> Option<Diagnostic> {
    let first = found.first()?;
    let (these, them) = those(found);
    let (renderer, name) = (&stack.decl.renderer, &stack.decl.name);
    let message = format!("{these} resources, and renderer {renderer} of stack {name} does not read {them}");
    Some(warning(message, first, hint))
}

/// Files of a folder that match a pattern, are `meant` and hold resources, from the source's root.
fn resources_in(tree: &dyn Tree, folder: &str, pattern: &str, meant: impl Fn(&String) -> bool) -> Vec<String> {
    let files = tree.glob(folder, pattern).unwrap_or_default();
    let whole = |file: String| if folder.is_empty() { file } else { format!("{folder}/{file}") };
    let meant = files.into_iter().map(whole).filter(meant).take(LOOKED_THROUGH.0);
    meant.filter(|file| holds_resources(tree, file)).collect()
}

fn warning(message: String, file: &str, hint: String) -> Diagnostic {
    let said = Diagnostic::error(message, Some(Place::file(file))).hint(hint);
    Diagnostic { severity: Severity::Warning, ..said }
}

/// Files that hold something, as a sentence begins with them, and what stands for them further on. One is the
/// file that the sentence is shown at.
fn those(found: &[String]) -> (String, &'static str) {
    match found {
        [_] => ("this file holds".to_owned(), "it"),
        several => (format!("{} hold", named(several, NAMED.1)), "them"),
    }
}

/// The first names of a list, and how many more there are.
fn named(files: &[String], most: usize) -> String {
    let mut names = files.iter().take(most).cloned().collect::<Vec<_>>().join(", ");
    if files.len() > most {
        names.push_str(&format!(" and {} more", files.len() - most));
    }
    names
}

/// The files of values that stacks name, but for those that differ from target to target.
fn values_of(stacks: &[Stack]) -> BTreeSet<String> {
    let of = |stack: &Stack| {
        let paths = stack.decl.values.iter().map(|path| resolve(&stack.dir, path.trim_end_matches('?')));
        paths.collect::<Vec<_>>()
    };
    stacks.iter().flat_map(of).collect()
}

/// Whether a file lies in a folder, however deep.
fn within(file: &str, folder: &str) -> bool {
    folder.is_empty() || file.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}

fn holds_resources(tree: &dyn Tree, file: &str) -> bool {
    let text = text_of(tree, file).unwrap_or_default();
    text.lines().any(|line| !line.starts_with([' ', '\t']) && kind_on(line).is_some())
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
