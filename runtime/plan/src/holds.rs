//! Why a held lane waits, in words: who stopped or suspended it, when, why, and what
//! lifts it. Such a wait refuses nothing, and no yes ends it.

use tidelock_model::hold::{Hold, HoldKind, Pin, Scope};
use tidelock_model::name::{Lane, Name};
use tidelock_model::plan::Wait;
use tidelock_model::run::Status;

/// The code of a wait that a stop is behind.
const STOPPED: &str = "stopped";
/// The code of a wait that a suspension is behind.
const SUSPENDED: &str = "suspended";
/// The code of a wait that a pin is behind.
const PINNED: &str = "pinned";

/// Whether a person put this in the lane's way.
#[must_use]
pub fn is_hold(wait: &Wait) -> bool {
    [STOPPED, SUSPENDED, PINNED].contains(&wait.code.as_str())
}

/// The wait of a lane that a hold is on.
#[must_use]
pub fn wait(hold: &Hold) -> Wait {
    let code = match hold.kind {
        HoldKind::Stop => STOPPED,
        HoldKind::Suspend => SUSPENDED,
    };
    let hint = if hold.id == Hold::FILE {
        format!("to lift it, remove {}", hold.who)
    } else {
        format!("to lift it: `{}`", resume(&hold.scope))
    };
    Wait { until: hold.until, ..Wait::new(code, hold.to_string()).hint(hint) }
}

/// The wait of a lane that is to be destroyed and that a lane of another stack still needs;
/// `also` where that is destroyed with it.
#[must_use]
pub fn needed(stack: &Name, by: &Lane, also: bool) -> Wait {
    let message = format!("{stack} needs it, and {}@{} still owns something", by.stack, by.target);
    if also {
        return Wait { on: Some(by.clone()), ..Wait::new("needed", message).hint("that one goes first") };
    }
    Wait::new("needed", message).hint(format!("destroy it first, or both together: `tidelock destroy {stack} ...`"))
}

/// The wait of a lane whose stack is pinned to another revision than the one that is planned.
#[must_use]
pub fn pinned(pin: &Pin) -> Wait {
    let hint = format!("to end the pin: `{}`", unpin(pin));
    Wait { until: pin.until, ..Wait::new(PINNED, pin.to_string()).hint(hint) }
}

/// The command that ends a pin.
#[must_use]
pub fn unpin(pin: &Pin) -> String {
    let argv = ["tidelock", "rollback", pin.stack.as_str(), "--end"];
    tidelock_model::effect::shown(&argv.map(str::to_owned))
}

/// The command that ends a hold with this scope.
#[must_use]
pub fn resume(scope: &Scope) -> String {
    let mut argv = vec!["tidelock".to_owned(), "resume".to_owned()];
    argv.extend(scope.stack.iter().cloned());
    argv.extend(scope.target.iter().flat_map(|target| ["--target".to_owned(), target.clone()]));
    argv.extend(scope.source.iter().flat_map(|source| ["--source".to_owned(), source.to_string()]));
    if *scope == Scope::default() {
        argv.push("--all".to_owned());
    }
    tidelock_model::effect::shown(&argv)
}

/// Where a lane stands, given why it waits: one that is suspended is nothing else.
#[must_use]
pub fn status(waits: &[Wait], otherwise: Status) -> Status {
    if waits.iter().any(|wait| wait.code == SUSPENDED) {
        Status::Suspended
    } else if otherwise != Status::Converged && waits.iter().any(|wait| wait.code == STOPPED) {
        Status::Waiting
    } else {
        otherwise
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hold(kind: HoldKind, scope: Scope) -> Hold {
        Hold {
            id: 1,
            kind,
            scope,
            who: "ada".to_owned(),
            at: "2026-01-02T03:04:05Z".parse().unwrap(),
            until: None,
            reason: None,
        }
    }

    #[test]
    fn a_wait_says_who_when_why_and_what_lifts_it() {
        let scope = Scope { stack: Some("web*".into()), target: Some("prod-1".into()), source: None };
        let until = "2026-01-02T05:00:00Z".parse().ok();
        let said = wait(&Hold { until, reason: Some("a freeze".into()), ..hold(HoldKind::Suspend, scope) });
        assert_eq!(
            said.message,
            "ada suspended stack web* on target prod-1 at 2026-01-02 03:04:05Z, until 2026-01-02 05:00:00Z: a freeze"
        );
        assert_eq!(said.hint.as_deref(), Some("to lift it: `tidelock resume 'web*' --target prod-1`"));
        assert!(is_hold(&said) && !said.approvable);

        let all = wait(&hold(HoldKind::Stop, Scope::default()));
        assert_eq!(all.message, "ada stopped everything at 2026-01-02 03:04:05Z");
        assert_eq!(all.hint.as_deref(), Some("to lift it: `tidelock resume --all`"));
        let file = Hold { id: Hold::FILE, who: "the file /s/STOP".into(), ..hold(HoldKind::Stop, Scope::default()) };
        assert_eq!(wait(&file).hint.as_deref(), Some("to lift it, remove the file /s/STOP"));
    }

    #[test]
    fn a_suspended_lane_is_that_and_a_stopped_one_only_waits_if_it_would_do_something() {
        let of = |kind| vec![wait(&hold(kind, Scope::default()))];
        assert_eq!(status(&of(HoldKind::Suspend), Status::Converged), Status::Suspended);
        assert_eq!(status(&of(HoldKind::Stop), Status::Converged), Status::Converged);
        assert_eq!(status(&of(HoldKind::Stop), Status::Drifted), Status::Waiting);
        assert_eq!(status(&[], Status::Drifted), Status::Drifted);
    }
}
