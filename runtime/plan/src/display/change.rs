//! The lines of one change: sign, address, why, fields, and what its effects look like.

use tidelock_model::effect::EffectBody;
use tidelock_model::plan::{Action, Cause, Change, FieldChange, PlannedEffect};
use tidelock_model::sql::Act;

use super::value::{plain, side, tamed_lines};
use super::{Alike, Ink, Names, Style};

/// Lines of a preview that are shown unless all are asked for.
const PREVIEW_LINES: usize = 24;

/// Lines that are shown even if all are asked for: a terminal has an end too.
const ALL_LINES: usize = 20_000;

pub(super) fn lines(alike: &Alike<'_>, names: &Names, style: &Style) -> String {
    let change = alike.change;
    let renamed = renamed_from(change, &alike.effects);
    let (sign, ink) = if renamed.is_some() { (">", Ink::Cyan) } else { sign(change.action) };
    let mut out = format!(
        "  {} {}",
        style.paint(ink, &format!("{sign:>3}")),
        names.short(&change.address, &alike.targets, style)
    );
    let renamed = renamed.map(|old| format!("(renamed from {})", plain(old, 200)));
    for why in renamed.into_iter().chain(why(change)) {
        out.push_str(&format!("  {}", style.paint(Ink::Dim, &why)));
    }
    out.push('\n');
    let previewed = |planned: &&PlannedEffect| !planned.preview.text.trim().is_empty();
    for field in &change.fields {
        out.push_str(&field_line(field, style));
    }
    for path in &change.unknown {
        out.push_str(&format!("          {}: {}\n", plain(name(path), 200), style.paint(Ink::Yellow, "not verified")));
    }
    for planned in &alike.effects {
        // A field line or a diff says it better than the effect's own words.
        if style.full || (change.fields.is_empty() && !previewed(planned)) || is_command(planned) {
            let mark = if planned.destructive { style.paint(Ink::Red, "destroys") + " " } else { String::new() };
            out.push_str(&format!("          {mark}{}\n", plain(&planned.summary, 1_000)));
        }
        if previewed(planned) {
            out.push_str(&preview(planned, style));
        }
    }
    out
}

/// The old name of what gets another one: it is made under its identity, and is there already.
pub(super) fn renamed_from<'e>(change: &Change, effects: &[&'e PlannedEffect]) -> Option<&'e str> {
    let old = |planned: &&'e PlannedEffect| match &planned.effect.body {
        EffectBody::Sql(statement) => match &statement.act {
            Act::Rename { object, .. } => object.own_name(),
            _ => None,
        },
        _ => None,
    };
    effects.iter().filter(|_| change.action == Action::Create).find_map(old)
}

fn sign(action: Action) -> (&'static str, Ink) {
    match action {
        Action::Create => ("+", Ink::Green),
        Action::Update => ("~", Ink::Yellow),
        Action::Replace => ("-/+", Ink::Red),
        Action::Delete => ("-", Ink::Red),
        Action::Adopt => ("=", Ink::Cyan),
        Action::TakeOver => ("!", Ink::Red),
        Action::Move => (">", Ink::Cyan),
        Action::Release => ("o", Ink::Cyan),
        Action::Trigger => ("*", Ink::Yellow),
        Action::Deferred => ("?", Ink::Yellow),
        Action::None => (" ", Ink::Dim),
    }
}

/// The reason; a cause that is not simply "Git says so" is said too.
fn why(change: &Change) -> Option<String> {
    let cause = match change.cause {
        Some(Cause::Drift) => Some("drift"),
        Some(Cause::Plugin) => Some("the plugin changed"),
        Some(Cause::Secret) => Some("a secret changed"),
        Some(Cause::Config) => Some("the config changed"),
        Some(Cause::Rollback) => Some("rollback"),
        Some(Cause::Undo) => Some("undo"),
        Some(Cause::Revision) | None => None,
    };
    let cause = cause.filter(|_| change.action != Action::Deferred);
    let reason = change.reason.as_deref().map(|reason| plain(reason, 1_000));
    match (cause, reason) {
        (Some(cause), Some(reason)) => Some(format!("({cause}: {reason})")),
        (Some(text), None) => Some(format!("({text})")),
        (None, Some(text)) => Some(format!("({text})")),
        (None, None) => None,
    }
}

fn field_line(field: &FieldChange, style: &Style) -> String {
    let name = plain(name(&field.path), 200);
    let room = style.width.saturating_sub(name.chars().count() + 18).max(24) / 2;
    let arrow = |a: String, b: String| format!("{} -> {}", style.paint(Ink::Red, &a), style.paint(Ink::Green, &b));
    let sides = if field.sensitive && field.before == field.after {
        "differs (sensitive, not shown)".to_owned()
    } else {
        arrow(side(field.before.as_ref(), room), side(field.after.as_ref(), room))
    };
    format!("          {name}: {sides}\n")
}

/// `/mode` as `mode`; deeper pointers keep their slashes.
fn name(path: &str) -> &str {
    path.strip_prefix('/').unwrap_or(path)
}

fn is_command(planned: &PlannedEffect) -> bool {
    planned.effect.body.path().is_none()
}

fn preview(planned: &PlannedEffect, style: &Style) -> String {
    let lines = tamed_lines(&planned.preview.text, 4 << 20);
    let limit = if style.full { ALL_LINES } else { PREVIEW_LINES };
    let mut out = String::new();
    for line in lines.iter().take(limit) {
        let ink = match line.as_bytes().first() {
            Some(b'+') => Some(Ink::Green),
            Some(b'-') => Some(Ink::Red),
            Some(b'@') => Some(Ink::Cyan),
            _ => None,
        };
        let line = ink.map_or_else(|| line.clone(), |ink| style.paint(ink, line));
        out.push_str(format!("          {line}").trim_end());
        out.push('\n');
    }
    let more = lines.len().saturating_sub(limit);
    if more > 0 {
        let hint = if style.full { "" } else { "; --full shows them" };
        out.push_str(&format!("          {}\n", style.paint(Ink::Dim, &format!("… {more} more lines{hint}"))));
    } else if planned.preview.cut {
        out.push_str(&format!("          {}\n", style.paint(Ink::Dim, "… (cut)")));
    }
    out
}
