//! What tells this system from another under the same name.
//!
//! `machine-id:<id>` from `etc/machine-id` below the root, and from nothing else where
//! the root holds one: two copies of a system's files count as one system. A root
//! without an id is told by this system's id and the root's path:
//! `machine-id:<id>+<path>`. Where this system has none either, `none` stands for it.
//!
//! A machine whose network namespace is not there is none that answers.

use tidelock_model::error::Fault;

use super::Machine;
use super::fault::fault;

const PATH: &str = "/etc/machine-id";

pub(super) fn read(machine: &Machine) -> Result<String, Fault> {
    let name = machine.name();
    machine.network().namespace().check().map_err(|fault| {
        let message = format!("target {name}: {}", fault.message);
        Fault { message, ..fault }.at(format!("targets.{name}.netns"))
    })?;
    if machine.below
        && let Some(id) = machine.content(PATH, 4096)?.as_deref().map(clean).transpose()?.flatten()
    {
        return Ok(format!("machine-id:{id}"));
    }
    // This system's own file, by the process's own right: no root leads there.
    let own = match std::fs::read(PATH) {
        Ok(id) => clean(&id)?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(super::fault::io("read", PATH, &error)),
    };
    if own.is_none() {
        tracing::warn!(target_name = %machine.name().as_str(), "no {PATH}: another system could take this one's place unnoticed");
    }
    let root = if machine.below { format!("+{}", machine.real.display()) } else { String::new() };
    Ok(format!("machine-id:{}{root}", own.as_deref().unwrap_or("none")))
}

/// The id in a file; `None` where the system has not been given one yet.
fn clean(bytes: &[u8]) -> Result<Option<String>, Fault> {
    let id = String::from_utf8_lossy(bytes);
    match id.trim() {
        "" | "uninitialized" => Ok(None),
        id if id.len() <= 64 && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') => {
            Ok(Some(id.to_owned()))
        }
        _ => Err(fault("invalid", format!("{PATH} does not hold a machine id"))
            .hint("it should hold 32 hexadecimal digits; systemd-machine-id-setup writes one")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_one_word() {
        assert_eq!(clean(b"0123abcd\n").unwrap().as_deref(), Some("0123abcd"));
        assert_eq!(clean(b"\n").unwrap(), None);
        assert_eq!(clean(b"uninitialized\n").unwrap(), None);
        assert_eq!(clean(b"two words").unwrap_err().code, "invalid");
    }
}
