//! Panics: the host is told message and place before the plugin traps, for a trap
//! alone says only `unreachable`.

use std::sync::Once;

use super::bindings::provider::tidelock::log::log;

/// Installs the hook. Called at the top of every export.
pub(super) fn hook() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        std::panic::set_hook(Box::new(|info| {
            let message = info.payload_as_str().unwrap_or("a panic without a message");
            match info.location() {
                Some(place) => log::panicked(message, place.file(), place.line()),
                None => log::panicked(message, "", 0),
            }
        }));
    });
}
