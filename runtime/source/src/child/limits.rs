//! What the fetch child may take, set by itself before it reads a byte of a server.

use nix::sys::resource::{Resource, setrlimit};
use tidelock_model::port::SourceError;

/// Limits first, work second. The parent's clock is the real one; the others hold where
/// the parent is not looking.
pub(super) fn confine(memory: u64, file_size: u64, timeout: u64) -> Result<(), SourceError> {
    let failed = |what: &str, error: nix::Error| {
        SourceError::new("io", format!("the fetch cannot limit its own {what}: {error}"))
    };
    // An orphaned fetch would go on under no clock at all.
    die_with_parent().map_err(|error| failed("life", error))?;
    let set = |what: &str, resource, value: u64| {
        let (_, hard) = nix::sys::resource::getrlimit(resource).map_err(|error| failed(what, error))?;
        let value = value.min(hard);
        setrlimit(resource, value, value).map_err(|error| failed(what, error))
    };
    set("memory", Resource::RLIMIT_AS, memory)?;
    set("file size", Resource::RLIMIT_FSIZE, file_size)?;
    set("processor time", Resource::RLIMIT_CPU, timeout.saturating_mul(4).saturating_add(10))?;
    set("core files", Resource::RLIMIT_CORE, 0)
}

/// Has the kernel kill this process when the one that started it is gone.
pub(super) fn die_with_parent() -> nix::Result<()> {
    #[cfg(target_os = "linux")]
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)?;
    Ok(())
}
