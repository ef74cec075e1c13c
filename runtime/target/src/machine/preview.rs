//! What an effect would look like to a person: a diff like git's for text, digests and
//! sizes for the rest. Reads only.

use similar::TextDiff;
use std::time::Duration;
use tidelock_model::digest::Digest;
use tidelock_model::effect::{Attributes, Effect, EffectBody, PathState, Precondition, shown};
use tidelock_model::error::{Fault, tame};
use tidelock_model::grant::Access;
use tidelock_model::plan::Preview;
use tidelock_model::port::Blobs;

use super::Machine;
use super::fault::fault;
use super::look::Looker;
use super::perform::tree;

/// Larger contents are shown by digest.
const TEXT_MAX: usize = 1 << 20;
/// A preview ends after this.
const SHOWN_MAX: usize = 64 << 10;

/// The content that the effect puts in place.
pub(super) fn content(effect: &Effect, blobs: &dyn Blobs) -> Result<Option<Vec<u8>>, Fault> {
    match &effect.body {
        EffectBody::PutFile { content, .. } => blobs.read(content).map(Some),
        _ => Ok(None),
    }
}

/// The content that the effect takes away, as its precondition tells of it.
pub(super) fn replaced_content(machine: &Machine, effect: &Effect, max: u64) -> Result<Option<Vec<u8>>, Fault> {
    let Some(Precondition::Path { path, state: PathState::File { digest: Some(digest), size, .. } }) =
        &effect.precondition
    else {
        return Ok(None);
    };
    let takes = match &effect.body {
        EffectBody::PutFile { .. } | EffectBody::Link { .. } | EffectBody::Remove { .. } => {
            effect.body.path() == Some(path)
        }
        EffectBody::SetAttributes { .. }
        | EffectBody::MakeDirectory { .. }
        | EffectBody::Exec { .. }
        | EffectBody::Sql(_)
        | EffectBody::Network(_)
        | EffectBody::Dns(_) => false,
    };
    let granted = machine.grant(&effect.plugin).is_some_and(|grant| grant.decide(Access::Read(path)).is_ok());
    if !takes || !granted || *size > max {
        return Ok(None);
    }
    Ok(machine.content(path, max)?.filter(|content| Digest::of(content) == *digest))
}

pub(super) fn preview(machine: &Machine, effect: &Effect, content: Option<&[u8]>) -> Result<Preview, Fault> {
    let mut lines = String::new();
    let here = |path: &str, digest| Looker::new(machine)?.stat(path, digest);
    // Every field is named: one that is added later is not left out in silence.
    match &effect.body {
        EffectBody::PutFile { path, content: digest, attributes, parents, backup, validate } => {
            let new = content.ok_or_else(|| fault("invalid", format!("the content of {path} is missing")))?;
            let before = here(path, true)?;
            let old = match &before.state {
                PathState::File { size, .. } if *size <= TEXT_MAX as u64 => machine.content(path, TEXT_MAX as u64)?,
                _ => None,
            };
            if let Some(argv) = validate {
                lines.push_str(&format!("runs first: {}\n", shown(argv)));
            }
            if let Some(suffix) = backup {
                lines.push_str(&format!("keeps the old file as {path}{suffix}\n"));
            }
            lines.push_str(parents_line(*parents));
            lines.push_str(&replaced(&before.state));
            lines.push_str(&attribute_lines(&before.state, attributes));
            lines.push_str(&contents(path, &before.state, old.as_deref(), digest, new));
        }
        EffectBody::SetAttributes { path, attributes } => {
            lines.push_str(&attribute_lines(&here(path, false)?.state, attributes));
        }
        EffectBody::MakeDirectory { path, attributes, parents } => {
            let state = here(path, false)?.state;
            lines.push_str(parents_line(*parents));
            if state == PathState::Absent {
                lines.push_str(&format!("+ {path}/\n"));
            }
            lines.push_str(&attribute_lines(&state, attributes));
        }
        EffectBody::Link { path, to } => {
            match here(path, false)?.state {
                PathState::Symlink { to } => lines.push_str(&format!("-{path} -> {to}\n")),
                other => lines.push_str(&replaced(&other)),
            }
            lines.push_str(&format!("+{path} -> {to}\n"));
        }
        EffectBody::Remove { path, tree } => lines.push_str(&removal(machine, path, *tree, &here(path, false)?.state)?),
        EffectBody::Exec { argv, cwd, env, timeout_ms } => {
            for (name, value) in env {
                lines.push_str(&format!("{name}={} ", shown(std::slice::from_ref(value))));
            }
            lines.push_str(&shown(argv));
            if let Some(cwd) = cwd {
                lines.push_str(&format!("\n  in {cwd}"));
            }
            lines.push_str(&format!("\n  for {timeout_ms} ms at most\n"));
        }
        EffectBody::Sql(_) | EffectBody::Dns(_) => return Err(not_here(effect)),
        EffectBody::Network(network) => {
            let before = match &effect.precondition {
                Some(Precondition::Network { object, .. }) => object.as_ref(),
                _ => None,
            };
            lines.push_str(&crate::network::difference(network, before));
        }
    }
    Ok(fit(&lines))
}

/// The directories that are not there and that effects write into without making them. One that cannot be
/// looked at is left to whoever writes.
pub(super) fn without_folder(machine: &Machine, effects: &[Effect]) -> Result<Vec<(usize, String)>, Fault> {
    let mut looker = Looker::new(machine)?;
    let mut missing = Vec::new();
    for (at, effect) in effects.iter().enumerate() {
        let path = match &effect.body {
            EffectBody::PutFile { path, parents: false, .. }
            | EffectBody::MakeDirectory { path, parents: false, .. }
            | EffectBody::Link { path, .. } => path,
            EffectBody::PutFile { .. }
            | EffectBody::MakeDirectory { .. }
            | EffectBody::SetAttributes { .. }
            | EffectBody::Remove { .. }
            | EffectBody::Exec { .. }
            | EffectBody::Sql(_)
            | EffectBody::Network(_)
            | EffectBody::Dns(_) => continue,
        };
        let Some((folder, _)) = path.rsplit_once('/').filter(|(folder, _)| !folder.is_empty()) else { continue };
        if looker.stat(folder, false).is_ok_and(|stat| stat.state == PathState::Absent) {
            missing.push((at, folder.to_owned()));
        }
    }
    Ok(missing)
}

/// An effect that is for another kind of target.
pub(super) fn not_here(effect: &Effect) -> Fault {
    fault("invalid", format!("`{}` is not for a machine", effect.body.summary()))
}

/// Cuts at the end of a line, with control sequences taken out.
fn fit(text: &str) -> Preview {
    let text = tame(text, usize::MAX);
    if text.len() <= SHOWN_MAX {
        return Preview { text, cut: false };
    }
    let mut end = SHOWN_MAX;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let end = text[..end].rfind('\n').map_or(end, |line| line + 1);
    Preview { text: text[..end].to_owned(), cut: true }
}

fn parents_line(parents: bool) -> &'static str {
    if parents { "makes missing directories above\n" } else { "" }
}

/// A line for what is not a file and gives way to one.
fn replaced(state: &PathState) -> String {
    match state {
        PathState::Symlink { to } => format!("- symbolic link to {to}\n"),
        PathState::Directory { .. } => "- directory\n".to_owned(),
        PathState::Other => "- device, socket or pipe\n".to_owned(),
        PathState::Absent | PathState::File { .. } => String::new(),
    }
}

fn attribute_lines(before: &PathState, attributes: &Attributes) -> String {
    let (mode, owner, group) = match before {
        PathState::File { mode, owner, group, .. } | PathState::Directory { mode, owner, group } => {
            (Some(format!("{mode:04o}")), Some(owner.clone()), Some(group.clone()))
        }
        _ => (None, None, None),
    };
    let wanted = [
        ("mode", mode, attributes.mode.map(|mode| format!("{mode:04o}"))),
        ("owner", owner, attributes.owner.clone()),
        ("group", group, attributes.group.clone()),
    ];
    let mut out = String::new();
    for (what, before, after) in wanted {
        match (before, after) {
            (Some(before), Some(after)) if before != after => out.push_str(&format!("{what} {before} -> {after}\n")),
            (None, Some(after)) => out.push_str(&format!("{what} {after}\n")),
            _ => {}
        }
    }
    out
}

fn contents(path: &str, before: &PathState, old: Option<&[u8]>, digest: &Digest, new: &[u8]) -> String {
    let (old_digest, old_size) = match before {
        PathState::File { digest: Some(old), .. } if old == digest => return String::new(),
        PathState::File { digest: Some(old), size, .. } => (Some(old.short()), *size),
        _ => (None, 0),
    };
    let old = match (&old_digest, old) {
        (None, _) => Some(""),
        (Some(_), bytes) => bytes.and_then(text),
    };
    let (Some(old), Some(new_text)) = (old, text(new)) else {
        let line = |sign: char, digest: &str, size: u64| format!("{sign} {digest} ({size} bytes)\n");
        let before = old_digest.as_ref().map(|old| line('-', old, old_size)).unwrap_or_default();
        return before + &line('+', &digest.short(), new.len() as u64);
    };
    let from = if old_digest.is_some() { format!("a{path}") } else { "/dev/null".to_owned() };
    // Bounds what two hostile contents can cost; a diff past it is right but not minimal.
    TextDiff::configure()
        .timeout(Duration::from_millis(500))
        .diff_lines(old, new_text)
        .unified_diff()
        .context_radius(3)
        .header(&from, &format!("b{path}"))
        .to_string()
}

/// Contents that a person can read.
fn text(bytes: &[u8]) -> Option<&str> {
    if bytes.len() > TEXT_MAX || bytes.contains(&0) { None } else { std::str::from_utf8(bytes).ok() }
}

fn removal(machine: &Machine, path: &str, tree: bool, state: &PathState) -> Result<String, Fault> {
    Ok(match state {
        PathState::Absent => String::new(),
        PathState::File { size, .. } => format!("- {path} ({size} bytes)\n"),
        PathState::Symlink { to } => format!("- {path} -> {to}\n"),
        PathState::Other => format!("- {path} (device, socket or pipe)\n"),
        PathState::Directory { .. } if tree => {
            let counts = tree::count(machine, path)?;
            format!(
                "- {path}/ with {} files, {} directories and {} other entries, {} bytes\n",
                counts.files, counts.directories, counts.others, counts.bytes
            )
        }
        PathState::Directory { .. } => format!("- {path}/\n"),
    })
}
