//! What `[[gate]]`, `[groups]` and `[people]` say, checked when the config is read: a rule
//! that could never let anything pass, or asks for nothing, is told before it matters.

use std::collections::BTreeSet;

use tidelock_model::config::{Config, GateDecl};
use tidelock_model::stack::Budget;
use tidelock_model::window::{EXAMPLE, Window};

use super::check::check_globs;
use super::toml::{File, nearest};
use crate::error::CliError;

pub(super) fn check(file: &File<'_>, config: &Config) -> Result<(), CliError> {
    for (group, members) in &config.groups {
        for member in members {
            if member.starts_with('@') || member.trim().is_empty() {
                let message = format!("{member:?} is no user; a group holds users, and no groups");
                return Err(file.wrong(&["groups", group], message, Some(format!("write it as: {group} = [\"ada\"]"))));
            }
        }
    }
    for (i, gate) in config.gate.iter().enumerate() {
        check_gate(file, config, &i.to_string(), gate)?;
    }
    Ok(())
}

fn check_gate(file: &File<'_>, config: &Config, index: &str, gate: &GateDecl) -> Result<(), CliError> {
    let at = |key: &'static str| ["gate", index, key];
    check_globs(file, &at("stacks"), &gate.stacks.0, true)?;
    check_globs(file, &at("targets"), &gate.targets.0, false)?;
    for (i, window) in gate.window.0.iter().enumerate() {
        Window::parse(window).map_err(|message| {
            let i = i.to_string();
            file.wrong(&["gate", index, "window", &i], message, Some(format!("write it as: window = {EXAMPLE:?}")))
        })?;
    }
    let mut people = BTreeSet::new();
    for approver in &gate.approvers {
        let Some(group) = approver.strip_prefix('@') else {
            people.insert(approver.as_str());
            continue;
        };
        let Some(members) = config.groups.get(group) else {
            let known: Vec<&str> = config.groups.keys().map(String::as_str).collect();
            let hint = match nearest(group, &known) {
                Some(near) => format!("did you mean \"@{near}\"?"),
                None => format!("add it:\n[groups]\n{group} = [\"ada\", \"grace\"]"),
            };
            return Err(file.wrong(&at("approvers"), format!("there is no group {group:?}"), Some(hint)));
        };
        people.extend(members.iter().map(String::as_str));
    }
    let wanted = gate.wanted();
    if !gate.approvers.is_empty() && wanted == 0 {
        let message = "it names approvers and asks for none of them";
        return Err(file.wrong(&at("approvals"), message, Some("write it as: approvals = 1".to_owned())));
    }
    if !gate.approvers.is_empty() && wanted > people.len() {
        let message = format!("it asks for {wanted} approvals, and names {} whose count", people.len());
        let hint = "nothing would ever pass; name more approvers, or ask for fewer approvals";
        return Err(file.wrong(&at("approvals"), message, Some(hint.to_owned())));
    }
    if gate.window.0.is_empty() && wanted == 0 && gate.budget == Budget::default() {
        let hint = "give it a window, approvals or a budget, or take it out";
        return Err(file.wrong(&["gate", index], "this [[gate]] asks for nothing", Some(hint.to_owned())));
    }
    Ok(())
}
