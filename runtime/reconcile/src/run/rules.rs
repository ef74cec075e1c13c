//! The operator's `[[gate]]` rules that match a lane, ready for the gate to decide by.

use std::collections::BTreeSet;

use tidelock_model::config::{Config, GateDecl};
use tidelock_model::error::{Blame, Fault};
use tidelock_model::grant::glob;
use tidelock_model::name::Name;
use tidelock_model::window::Window;
use tidelock_plan::gate::Rule;

use crate::error::RunError;

/// The rules for a stack in this directory on this target.
pub(super) fn of(config: &Config, dir: &str, target: &Name) -> Result<Vec<Rule>, RunError> {
    let mut rules = Vec::new();
    for decl in &config.gate {
        if stack_matches(&decl.stacks.0, dir)? && target_matches(&decl.targets.0, target)? {
            rules.push(rule(config, decl)?);
        }
    }
    Ok(rules)
}

/// No pattern at all matches everything. `envs/**` means the directory `envs` too: a
/// stack must not slip out of its gate by lying one directory higher.
fn stack_matches(patterns: &[String], dir: &str) -> Result<bool, RunError> {
    let mut any = patterns.is_empty();
    for pattern in patterns {
        let glob = glob(pattern, true)?;
        any |= pattern == "**" || glob.is_match(dir) || glob.is_match(format!("{dir}/"));
    }
    Ok(any)
}

fn target_matches(patterns: &[String], target: &Name) -> Result<bool, RunError> {
    let mut any = patterns.is_empty();
    for pattern in patterns {
        any |= glob(pattern, false)?.is_match(target.as_str());
    }
    Ok(any)
}

fn rule(config: &Config, decl: &GateDecl) -> Result<Rule, RunError> {
    // Checked when the config was read; a rule that cannot be understood never lets anything pass.
    let wrong = |message: String| RunError::from(Fault::new("invalid", Blame::Host, format!("[[gate]]: {message}")));
    let windows = decl.window.0.iter().map(|text| Window::parse(text)).collect::<Result<_, _>>().map_err(wrong)?;
    let mut approvers = BTreeSet::new();
    for approver in &decl.approvers {
        match approver.strip_prefix('@') {
            None => approvers.extend([approver.clone()]),
            Some(group) => {
                let members = config.groups.get(group).ok_or_else(|| wrong(format!("there is no group {group:?}")))?;
                approvers.extend(members.iter().cloned());
            }
        }
    }
    let approvals = decl.wanted();
    if !decl.approvers.is_empty() && approvers.len() < approvals {
        return Err(wrong(format!("it asks for {approvals} approvals of {} people", approvers.len())));
    }
    let scope: Vec<&str> = decl.stacks.0.iter().chain(&decl.targets.0).map(String::as_str).collect();
    let name = if scope.is_empty() { String::new() } else { format!(" for {}", scope.join(", ")) };
    Ok(Rule {
        name: format!("the operator's gate{name}"),
        windows,
        approvals,
        approvers: approvers.into_iter().collect(),
        budget: decl.budget,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidelock_model::config::Texts;

    fn config() -> Config {
        let texts = |text: &str| Texts(vec![text.to_owned()]);
        let gate = |stacks: &str, targets: &str, approver: &str| GateDecl {
            stacks: texts(stacks),
            targets: texts(targets),
            approvers: vec![approver.to_owned(), "ada".to_owned()],
            ..GateDecl::default()
        };
        Config {
            gate: vec![gate("envs/prod/*", "*", "@dba"), gate("envs/*", "*", "alan"), gate("**", "web-*", "kay")],
            groups: [("dba".to_owned(), vec!["ada".to_owned(), "grace".to_owned()])].into(),
            ..Config::default()
        }
    }

    fn names(dir: &str, target: &str) -> Vec<(String, usize, Vec<String>)> {
        let rules = of(&config(), dir, &Name::new(target).unwrap()).unwrap();
        rules.into_iter().map(|rule| (rule.name, rule.approvals, rule.approvers)).collect()
    }

    #[test]
    fn every_rule_that_matches_both_stack_and_target_counts() {
        let prod = names("envs/prod/web", "db-1");
        let expected = ["ada".to_owned(), "grace".to_owned()].to_vec();
        assert_eq!(prod, [("the operator's gate for envs/prod/*, *".to_owned(), 1, expected)]);
        assert_eq!(names("envs/prod/web", "web-1").len(), 2);
        assert_eq!(names("envs/dev", "web-1").len(), 2);
        assert!(names("elsewhere", "db-1").is_empty());
    }

    #[test]
    fn a_stack_does_not_slip_out_by_lying_one_directory_higher() {
        let pattern = |text: &str, dir: &str| stack_matches(&[text.to_owned()], dir).unwrap();
        assert!(pattern("envs/prod/**", "envs/prod") && pattern("envs/prod/**", "envs/prod/web/eu"));
        assert!(pattern("**", "") && pattern("**", "a/b"));
        assert!(!pattern("envs/prod/**", "envs/production") && !pattern("envs/*", "envs/prod/web"));
        assert!(stack_matches(&[], "").unwrap());
    }

    #[test]
    fn a_rule_that_cannot_be_understood_lets_nothing_pass() {
        let mut config = config();
        config.groups.clear();
        assert!(of(&config, "envs/prod/web", &Name::new("db-1").unwrap()).is_err());
        config.gate[1].window = Texts(vec!["sometimes".to_owned()]);
        assert!(of(&config, "envs/dev", &Name::new("db-1").unwrap()).is_err());
    }
}
